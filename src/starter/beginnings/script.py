"""A CGI script: it greets whoever gives a name."""
import html
import os
import sys
from urllib.parse import parse_qs

if os.environ["REQUEST_METHOD"] == "POST":
    length = int(os.environ.get("CONTENT_LENGTH") or 0)
    form = parse_qs(sys.stdin.buffer.read(length).decode())
else:
    form = parse_qs(os.environ["QUERY_STRING"])
name = form.get("name", ["world"])[0]

# Header first, then an empty line, then the page.
print("Content-Type: text/html; charset=utf-8")
print()
print(f"""<!DOCTYPE html>
<title>Hello</title>
<h1>Hello, {html.escape(name)}!</h1>
<form method="post"><input name="name" placeholder="Your name"> <button>Say it</button></form>""")
