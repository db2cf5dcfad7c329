#!/usr/bin/env python3
"""Reads a form, multipart or url-encoded, and shows its fields and, of each file, name, size, type, SHA-256 and the
beginning. Nothing is stored: files are counted and hashed as they stream in, so memory stays small however large they
are. With `Accept: application/json` the answer is JSON.

    POST multipart/form-data, POST application/x-www-form-urlencoded, GET with a query
"""

import hashlib
import html
import json
import os
import re
import sys
from urllib.parse import parse_qsl, unquote

MAX_REQUEST = 64 * 1024 * 1024  # bytes of a multipart request; upload.html states it
MAX_FORM = 1024 * 1024          # bytes of a url-encoded request, which is held in memory
MAX_FILES = 20                  # upload.html states it
MAX_FIELDS = 200
MAX_FIELD = 64 * 1024           # bytes of one field's value
MAX_PART_HEAD = 8 * 1024        # bytes of one part's header lines
PREVIEW = 2 * 1024              # bytes of a text file that are shown
CHUNK = 64 * 1024               # bytes read at once


class BadForm(Exception):
    """The request cannot be read as a form: a status and a sentence for the sender."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status, self.why = status, why


def main():
    try:
        fields, files = read_form()
    except BadForm as problem:
        answer(problem.status, [], [], problem.why)
    else:
        answer("200 OK", fields, files, "")


def read_form():
    """All fields as (name, value), and all files as dictionaries, in the order sent."""
    method = os.environ.get("REQUEST_METHOD", "GET")
    if method in ("GET", "HEAD"):
        return urlencoded(os.environb.get(b"QUERY_STRING", b"")), []
    if method != "POST":
        raise BadForm("405 Method Not Allowed", "Only GET and POST are known here.")
    length = os.environ.get("CONTENT_LENGTH") or "0"
    if not re.fullmatch(r"[0-9]{1,15}", length):
        raise BadForm("400 Bad Request", "The length of the request is not a number.")
    kind = os.environ.get("CONTENT_TYPE", "")
    media = kind.partition(";")[0].strip().lower()
    if media == "application/x-www-form-urlencoded":
        if int(length) > MAX_FORM:
            raise BadForm("413 Content Too Large", "A url-encoded form may have at most %d bytes." % MAX_FORM)
        return urlencoded(sys.stdin.buffer.read(int(length))), []
    if media == "multipart/form-data":
        if int(length) > MAX_REQUEST:
            raise BadForm("413 Content Too Large", "A request may have at most %d MiB." % (MAX_REQUEST >> 20))
        boundary = dict(parameters(kind)).get("boundary", "")
        if not re.fullmatch(r"[\x20-\x7e]{1,70}", boundary):
            raise BadForm("400 Bad Request", "The boundary between the parts is missing.")
        return multipart(Body(sys.stdin.buffer, int(length)), boundary.encode("ascii"))
    raise BadForm("415 Unsupported Media Type", "Only forms are read here.")


def urlencoded(data):
    try:
        return parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise BadForm("400 Bad Request", "A form may have at most %d fields." % MAX_FIELDS) from None


# --- multipart/form-data (RFC 7578, RFC 2046 §5.1.1) -----------------------------------------------------------------

class Body:
    """The request body as a stream that is cut at marks, with never more than about a chunk in memory."""

    def __init__(self, stream, length):
        self.stream, self.left = stream, length
        self.held = bytearray(b"\r\n")  # so that the first boundary begins like all others

    def until(self, mark):
        """Yields the bytes before `mark` and takes the mark away; a body that ends before it is refused."""
        while True:
            at = self.held.find(mark)
            if at >= 0:
                yield bytes(self.held[:at])
                del self.held[:at + len(mark)]
                return
            ready = len(self.held) - len(mark) + 1  # what follows could be the beginning of the mark
            if ready > 0:
                yield bytes(self.held[:ready])
                del self.held[:ready]
            chunk = self.stream.read(min(CHUNK, self.left))
            if not chunk:
                raise BadForm("400 Bad Request", "The form ends in the middle of a part.")
            self.left -= len(chunk)
            self.held += chunk

    def short(self, mark, limit, what):
        """Everything before `mark`, refused when it is longer than `limit` bytes."""
        kept = bytearray()
        for piece in self.until(mark):
            kept += piece
            if len(kept) > limit:
                raise BadForm("413 Content Too Large", "%s is longer than %d bytes." % (what, limit))
        return bytes(kept)

    def put_back(self, data):
        self.held[:0] = data


def multipart(body, boundary):
    fields, files = [], []
    delimiter = b"\r\n--" + boundary
    for _ in body.until(delimiter):
        pass  # a preamble is to be ignored
    while not closes(body):
        if body.short(b"\r\n", 256, "A boundary line").strip(b" \t"):
            raise BadForm("400 Bad Request", "A boundary line is malformed.")
        # The line end goes back so that a part without header lines, and below one without a body, is found as well.
        body.put_back(b"\r\n")
        head = body.short(b"\r\n\r\n", MAX_PART_HEAD, "The head of a part")
        body.put_back(b"\r\n")
        name, filename, media = part_head(head)
        content = without_first_line_end(body.until(delimiter))
        if filename is None:
            if len(fields) >= MAX_FIELDS:
                raise BadForm("400 Bad Request", "A form may have at most %d fields." % MAX_FIELDS)
            fields.append((name, small(content)))
        else:
            if len(files) >= MAX_FILES:
                raise BadForm("400 Bad Request", "At most %d files may be sent at once." % MAX_FILES)
            files.append(digest(name, filename, media, content))
    return fields, files  # an epilogue is to be ignored


def closes(body):
    """Whether the delimiter just taken is the last: two hyphens follow it, and perhaps nothing else."""
    while len(body.held) < 2:
        chunk = body.stream.read(min(2, body.left))
        if not chunk:
            raise BadForm("400 Bad Request", "The form ends in the middle of a part.")
        body.left -= len(chunk)
        body.held += chunk
    return body.held.startswith(b"--")


def without_first_line_end(pieces):
    """Takes the two bytes put back before a part's body away again; they may come in two pieces."""
    skip = 2
    for piece in pieces:
        yield piece[skip:]
        skip -= min(skip, len(piece))


def part_head(head):
    """Field name, file name (None for a field that is no file) and media type of a part."""
    lines = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        lines[name.strip().lower()] = value.strip()
    disposition = lines.get("content-disposition", "")
    given = dict(parameters(disposition))
    if disposition.partition(";")[0].strip().lower() != "form-data" or "name" not in given:
        raise BadForm("400 Bad Request", "A part of the form has no name.")
    filename = given.get("filename")
    if "filename*" in given:
        # RFC 5987: charset'language'percent-encoded. RFC 7578 forbids it, some clients send it anyway.
        charset, _, encoded = given["filename*"].partition("'")
        encoded = encoded.partition("'")[2]
        filename = unquote(encoded, "iso-8859-1" if charset.lower() == "iso-8859-1" else "utf-8", "replace")
    if filename is not None:
        filename = re.split(r"[/\\]", filename)[-1]  # some browsers sent whole paths
    return given["name"], filename, lines.get("content-type", "")


def parameters(value):
    """The parameters of a header value, names in lower case, quoted strings unquoted.

    Browsers write a quote in a name as %22 and line ends as %0D and %0A (HTML, "multipart form data"), older clients
    write backslash and quote; a backslash before anything else is part of a Windows path."""
    found = re.findall(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', value)
    for name, quoted, plain in found:
        unquoted = re.sub(r'\\(["\\])', r"\1", quoted)
        for code, character in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
            unquoted = unquoted.replace(code, character)
        yield name.lower(), plain or unquoted


def small(content):
    kept = bytearray()
    for piece in content:
        kept += piece
        if len(kept) > MAX_FIELD:
            raise BadForm("413 Content Too Large", "A field may have at most %d bytes." % MAX_FIELD)
    return kept.decode("utf-8", "replace")


def digest(name, filename, media, content):
    size, sha256, start = 0, hashlib.sha256(), b""
    for piece in content:
        size += len(piece)
        sha256.update(piece)
        if len(start) < PREVIEW:
            start += piece[:PREVIEW - len(start)]
    return {"field": name, "name": filename, "size": size, "type": media, "sha256": sha256.hexdigest(),
            "preview": preview(start, size)}


def preview(start, size):
    """The beginning as text, or None where it is no UTF-8 text. A character cut in two at the end is no fault."""
    if b"\0" in start:
        return None
    for cut in range(4 if size > len(start) else 1):
        try:
            return start[:len(start) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


# --- the answer ------------------------------------------------------------------------------------------------------

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What arrived · cgiserve</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
</head>
<body>
<header class="bar"><a class="home" href="/">cgiserve</a><nav aria-label="Site"><a href="/">All demonstrations</a></nav></header>
<main>
<h1>What arrived</h1>
"""


def answer(status, fields, files, error):
    if "application/json" in os.environ.get("HTTP_ACCEPT", ""):
        kind = "application/json"
        document = {"error": error} if error else {"fields": fields, "files": files}
        body = json.dumps(document) + "\n"
    else:
        kind = "text/html; charset=utf-8"
        body = page(fields, files, error)
    allow = "Allow: GET, HEAD, POST\n" if status.startswith("405") else ""
    head = ("Status: %s\nContent-Type: %s\n%sCache-Control: no-store\nX-Content-Type-Options: nosniff\n"
            "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'\n\n")
    sys.stdout.buffer.write((head % (status, kind, allow) + body).encode("utf-8", "replace"))


def page(fields, files, error):
    out = [HEAD]
    if error:
        out.append('<p id="error" class="lead alarm">%s</p>\n' % escape(error))
    elif not fields and not files:
        out.append('<p class="lead">Nothing. A form without a field is an unusual thing.</p>\n')
    if fields:
        out.append('<h2>Fields</h2>\n<table id="fields">\n')
        out += ['<tr><th scope="row">%s</th><td>%s</td></tr>\n' % (escape(name), escape(value)) for name, value in fields]
        out.append("</table>\n")
    if files:
        out.append('<h2>Files</h2>\n')
    for file in files:
        rows = (("Name", file["name"] or "(no file was chosen)"), ("Field", file["field"]),
                ("Size", "%d bytes" % file["size"]), ("Type", file["type"] or "(not stated)"), ("SHA-256", file["sha256"]))
        out.append('<table class="file">\n')
        out += ['<tr><th scope="row">%s</th><td>%s</td></tr>\n' % (name, escape(value)) for name, value in rows]
        out.append("</table>\n")
        if file["preview"]:
            out.append('<pre class="preview">%s</pre>\n' % escape(file["preview"]))
    out.append('<p><a href="/upload.html">Upload a file</a> · <a href="/form.html">Fill in a form</a></p>\n')
    return "".join(out) + "</main>\n</body>\n</html>\n"


def escape(value):
    """Markup made harmless, and characters that are not to be seen made visible (line ends stay)."""
    return html.escape("".join(c if c.isprintable() or c in "\t\r\n" else "\ufffd" for c in value))


if __name__ == "__main__":
    main()
