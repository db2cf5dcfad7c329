#!/bin/sh
# Fails on purpose: its answer begins with a greeting where the header belongs. Whoever asks from this machine is shown
# why, and what to do; everybody else only that it failed.
echo "about to greet" >&2
echo "Hello, world!"
