#!/usr/bin/env python3
"""Answers each line with itself. The server makes each line a WebSocket message, and starts one of these for each
connection."""

import sys

for line in sys.stdin.buffer:
    # Output that goes to a pipe is gathered until it is flushed.
    sys.stdout.buffer.write(b"ECHO! " + line)
    sys.stdout.buffer.flush()
