#!/usr/bin/env python3
"""Answers every URL that ends in .zzz, file or no file: shows the URL path and today's date.

On a suffix route (`path = "*.zzz"`, `script = "cgi-bin/zzz.py"`) PATH_INFO is the whole path of the URL. Where a file
of that name exists, PATH_TRANSLATED names it; this script only says so and never shows what is in it.
"""

import html
import os
import sys
from datetime import date
from urllib.parse import unquote

PAGE = """Content-Type: text/html; charset=utf-8
Cache-Control: no-store
X-Content-Type-Options: nosniff
Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{path} · cgiserve</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
</head>
<body>
<header class="bar"><a class="home" href="/">cgiserve</a><nav aria-label="Site"><a href="/">All demonstrations</a></nav></header>
<main>
<h1>A dynamic page</h1>
<p class="big">You asked for <span id="path" class="mono">{path}</span></p>
<p class="big">Today is <time id="today" datetime="{iso}">{long}</time></p>
<p>In short: <code>{iso}</code>. {file}</p>
<p><a href="/another/{day}.zzz">/another/{day}.zzz</a> works as well, and so does any address ending in <code>.zzz</code>.</p>
</main>
</body>
</html>
"""


def main():
    path = os.environ.get("PATH_INFO", "")
    if not path:  # another server, or called by its own name
        path = unquote(os.environ.get("REQUEST_URI", "/").partition("?")[0], errors="surrogateescape")
    translated = os.environ.get("PATH_TRANSLATED", "")
    exists = bool(translated) and os.path.isfile(translated)
    today = date.today()
    page = PAGE.format(
        path=html.escape(shown(path)),
        iso=today.isoformat(),
        long=today.strftime("%A, %d %B %Y").replace(" 0", " "),
        day=today.strftime("%A").lower(),
        file="A file stands behind this address." if exists else "No file stands behind this address, and none is needed.",
    )
    sys.stdout.buffer.write(page.encode("utf-8"))


def shown(text):
    """The text with bytes that are no UTF-8, and characters that are not to be seen, made visible."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


if __name__ == "__main__":
    main()
