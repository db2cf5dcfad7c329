#!/usr/bin/env python3
"""A guestbook as a CGI script in Python: the standard library only.

GET shows the newest entries and a form; POST adds an entry and answers 303 to the same page, so that a reload does not
post again. An entry is one line of JSON, added under a lock.
"""

import fcntl
import html
import json
import os
import re
import stat
import sys
from datetime import datetime, timezone
from urllib.parse import parse_qs, quote

MAX_BODY = 16 * 1024        # bytes of one request
MAX_NAME = 60               # characters
MAX_MESSAGE = 500           # characters
MAX_BOOK = 1024 * 1024      # bytes of the whole book; then it is full
SHOWN = 50                  # entries on the page

HEAD = """Status: %s
Content-Type: text/html; charset=utf-8
Cache-Control: no-store
X-Content-Type-Options: nosniff
Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook in Python · cgiserve</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
</head>
<body>
<header class="bar"><a class="home" href="/">cgiserve</a><nav aria-label="Site"><a href="/">All demonstrations</a></nav></header>
<main>
<h1>Guestbook in Python</h1>
%s<form method="post">
<div class="field"><label for="name">Name</label><input id="name" name="name" maxlength="60" required autocomplete="name"></div>
<div class="field"><label for="message">Message</label><textarea id="message" name="message" maxlength="500" required></textarea></div>
<button type="submit">Sign</button>
</form>
<h2>Entries</h2>
<ol id="entries" class="entries">
"""
ENTRY = '<li class="card"><p class="who">%s<time>%s</time></p><p class="what">%s</p></li>\n'
FOOT = "</ol>\n</main>\n</body>\n</html>\n"


def main():
    os.umask(0o077)
    method = os.environ.get("REQUEST_METHOD", "GET")
    book = os.path.join(state_folder(), "guestbook-py.jsonl")
    if method == "POST":
        status, error = sign(book)
        if not error:
            here = quote(os.environb.get(b"SCRIPT_NAME", b"/"))  # percent-encoded: nothing in it can end the line
            sys.stdout.write("Status: 303 See Other\nLocation: %s\n\n" % here)
            return
    elif method in ("GET", "HEAD"):
        status, error = "200 OK", ""
    else:
        sys.stdout.write("Status: 405 Method Not Allowed\nAllow: GET, HEAD, POST\nContent-Type: text/plain\n\nonly GET and POST\n")
        return
    note = '<p class="alarm" role="alert">%s</p>\n' % error if error else ""
    out = [HEAD % (status, note)]
    for entry in newest(book):
        out.append(ENTRY % tuple(html.escape(entry[part]) for part in ("name", "time", "message")))
    out.append(FOOT)
    sys.stdout.buffer.write("".join(out).encode("utf-8"))


def sign(book):
    """Adds the entry in the request; a status and a sentence where it must not be added."""
    if from_another_site():
        return "403 Forbidden", "Please sign on the page itself."
    length = os.environ.get("CONTENT_LENGTH", "")
    if not re.fullmatch("[0-9]{1,15}", length):
        return "400 Bad Request", "The request has no length."
    if int(length) > MAX_BODY:
        return "413 Content Too Large", "That is too long."
    try:
        fields = parse_qs(sys.stdin.buffer.read(int(length)).decode("utf-8", "replace"), max_num_fields=50)
    except ValueError:
        return "400 Bad Request", "The form has too many fields."
    name, message = (one_line(fields.get(part, [""])[0]) for part in ("name", "message"))
    if not name or not message:
        return "400 Bad Request", "A name and a message are needed."
    if len(name) > MAX_NAME or len(message) > MAX_MESSAGE:
        return "400 Bad Request", "A name may have %d characters, a message %d." % (MAX_NAME, MAX_MESSAGE)
    entry = {"time": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "name": name, "message": message}
    with open(book, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
        if os.fstat(file.fileno()).st_size > MAX_BOOK:
            return "507 Insufficient Storage", "The book is full."
        file.write(json.dumps(entry) + "\n")
    return "", ""


def newest(book):
    """At most SHOWN entries, the newest first. A line that is no entry is passed over."""
    try:
        with open(book, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            lines = file.readlines()[-SHOWN:]
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            yield json.loads(line)
        except ValueError:
            continue


def one_line(text):
    """Line ends and control characters become spaces."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def from_another_site():
    """A form on a foreign page must not sign for its reader (CSRF). Clients that are no browsers send neither header."""
    site = os.environ.get("HTTP_SEC_FETCH_SITE")
    if site:
        return site not in ("same-origin", "none")
    origin, host = os.environ.get("HTTP_ORIGIN", "null"), os.environ.get("HTTP_HOST", "")
    return origin not in ("null", "http://" + host, "https://" + host)


def state_folder():
    """Where the server lets scripts keep things, outside everything served; the rest is for other servers."""
    folder = os.environ.get("CGISERVE_STATE")
    if not folder and os.environ.get("XDG_STATE_HOME"):
        folder = os.path.join(os.environ["XDG_STATE_HOME"], "cgiserve")
    if folder:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder
    folder = "/var/tmp/cgiserve-%d" % os.getuid()
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    seen = os.lstat(folder)  # anybody may have made it first, or put a link there
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise PermissionError(folder + " must be a folder of this user with mode 0700")
    return folder


if __name__ == "__main__":
    main()
