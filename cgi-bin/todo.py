#!/usr/bin/env python3
"""The to-do list behind /api/items, kept in SQLite.

    GET  /api/items     200, the list, oldest first: [{"id": 1, "item": "buy milk", "created": "2026-11-21T07:08:52Z"}]
    POST /api/items     201, the item as it was stored, in the same shape

A POST carries a JSON object {"item": "text"} (old clients say "text" or "name" instead of "item", and may send no
Content-Type) or the form field item=text. A missing or empty item and broken JSON get 400, another method 405, and
every refusal says {"error": "why"}.

Nothing is lost when many post at once: each insert takes SQLite's write lock at its start (BEGIN IMMEDIATE) and waits
for it up to LOCK_WAIT. A lock that a transaction has to upgrade half-way could be refused at once instead.
"""

import json
import os
import re
import sqlite3
import stat
import sys
from datetime import datetime, timezone
from urllib.parse import parse_qs

MAX_BODY = 64 * 1024    # bytes of one request
MAX_ITEM = 1000         # characters of one item
MAX_ITEMS = 10_000      # items in the list; a GET answers all of them, so this bounds the answer too
LOCK_WAIT = 20.0        # seconds to wait for other writers

TABLE = """create table if not exists items (
    id integer primary key autoincrement, item text not null, created text not null)"""


class Refusal(Exception):
    """An answer other than success: status, sentence, and further header lines."""

    def __init__(self, status, error, *headers):
        super().__init__(error)
        self.status, self.error, self.headers = status, error, headers


def main():
    os.umask(0o077)
    try:
        method = os.environ.get("REQUEST_METHOD", "GET")
        if method in ("GET", "HEAD"):
            answer("200 OK", all_items())
        elif method == "POST":
            refuse_other_sites()
            answer("201 Created", add_item(item_of(read_body())))
        else:
            raise Refusal("405 Method Not Allowed", "only GET and POST are known here", "Allow: GET, HEAD, POST")
    except Refusal as refusal:
        answer(refusal.status, {"error": refusal.error}, *refusal.headers)
    except (OSError, sqlite3.Error) as problem:
        # The cause is for the server's log; the client learns no path.
        print("todo: %s: %s" % (type(problem).__name__, problem), file=sys.stderr)
        answer("500 Internal Server Error", {"error": "the list cannot be reached"})


def answer(status, document, *headers):
    lines = ["Status: " + status, "Content-Type: application/json", "Cache-Control: no-store",
             "X-Content-Type-Options: nosniff", *headers, "", json.dumps(document, ensure_ascii=False), ""]
    sys.stdout.buffer.write("\n".join(lines).encode("utf-8"))  # bytes, because the locale may be any


# --- the request -----------------------------------------------------------------------------------------------------

def refuse_other_sites():
    """A form on a foreign page must not add items (CSRF). Clients that are no browsers send neither header."""
    site = os.environ.get("HTTP_SEC_FETCH_SITE")
    origin = os.environ.get("HTTP_ORIGIN", "null")
    host = os.environ.get("HTTP_HOST", "")
    foreign = site not in ("same-origin", "none") if site else origin not in ("null", "http://" + host, "https://" + host)
    if foreign:
        raise Refusal("403 Forbidden", "items are only accepted from pages of this site")


def read_body():
    length = os.environ.get("CONTENT_LENGTH", "")
    if not re.fullmatch(r"[0-9]{1,15}", length):
        return b""
    if int(length) > MAX_BODY:
        raise Refusal("413 Content Too Large", "a request may have at most %d bytes" % MAX_BODY)
    return sys.stdin.buffer.read(int(length))


def item_of(body):
    kind = os.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8")
        if kind == "application/x-www-form-urlencoded" and not text.lstrip().startswith("{"):
            fields = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=50).items()}
        else:
            # curl -d calls everything a form, so a body that opens like JSON is read as JSON.
            fields = json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal("400 Bad Request", "the body is neither JSON nor a form") from None
    if not isinstance(fields, dict):
        raise Refusal("400 Bad Request", 'a JSON object is expected: {"item": "text"}')
    item = next((fields[name] for name in ("item", "text", "name") if name in fields), None)
    if not isinstance(item, str) or not item.strip():
        raise Refusal("400 Bad Request", "item is missing or empty")
    if len(item) > MAX_ITEM:
        raise Refusal("400 Bad Request", "an item may have at most %d characters" % MAX_ITEM)
    # JSON can spell half of a surrogate pair (\ud800), which no UTF-8 text can hold.
    return item.strip().encode("utf-8", "replace").decode("utf-8")


# --- the store -------------------------------------------------------------------------------------------------------

def all_items():
    store = open_store()
    try:
        rows = store.execute("select id, item, created from items order by id").fetchall()
    except sqlite3.OperationalError as problem:
        if "no such table" not in str(problem):
            raise
        rows = []  # nobody has added anything yet
    finally:
        store.close()
    return [{"id": number, "item": item, "created": created} for number, item, created in rows]


def add_item(item):
    created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    store = open_store()
    try:
        store.execute("begin immediate")
        store.execute(TABLE)
        if store.execute("select count(*) from items").fetchone()[0] >= MAX_ITEMS:
            raise Refusal("507 Insufficient Storage", "the list is full")
        number = store.execute("insert into items (item, created) values (?, ?)", (item, created)).lastrowid
        store.execute("commit")
    finally:
        store.close()  # takes back what was not committed
    return {"id": number, "item": item, "created": created}


def open_store():
    # The rollback journal, not WAL: turning WAL on is itself a race when many first requests arrive together.
    return sqlite3.connect(os.path.join(state_folder(), "todo.sqlite3"), timeout=LOCK_WAIT, isolation_level=None)


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
