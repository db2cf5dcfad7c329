#!/usr/bin/env python3
"""A chat room. One of these serves everybody at its URL; each path below it is another room.

A client sends "NAME,text", the first comma splits, and everybody else hears "NAME says: text"."""

import json
import sys


def say(to, text, **more):
    print(json.dumps({"to": to, "data": text, **more}), flush=True)


for line in sys.stdin:
    event = json.loads(line)
    if event["event"] != "message":
        continue
    client = event["client"]
    name, comma, text = event["data"].partition(",")
    if comma and name.strip() and not event.get("binary"):
        say("*", f"{name} says: {text}", **{"except": client})
    else:
        say(client, "Write NAME,text, for instance: Ada,good morning")
