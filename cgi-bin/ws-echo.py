#!/usr/bin/env python3
"""Answers each line with itself. The server makes each line a WebSocket message, and starts one of these for each
connection."""

import sys

# For the server's log; the console shows it in another colour, on the server's own machine only.
print("ws-echo: somebody is here", file=sys.stderr, flush=True)

for line in sys.stdin.buffer:
    # Output that goes to a pipe is gathered until it is flushed.
    sys.stdout.buffer.write(b"ECHO! " + line)
    sys.stdout.buffer.flush()
