#!/bin/sh
# A guestbook as a CGI script in POSIX shell, with tools that every Unix has: awk, cat, date, dd, find, tail, tr.
#
# GET shows the newest entries and a form; POST adds an entry and answers 303 to the same page, so that a reload does
# not post again. An entry is one line, "time TAB name TAB message". It is short
# and written in one piece to a file opened for appending, so simultaneous entries cannot mix and no lock is needed.
#
# What a visitor sends is only ever data: every expansion is quoted, nothing is evaluated, and no text is used as a
# format of printf or as a program of awk.

set -eu
LC_ALL=C # bytes are bytes
export LC_ALL
umask 077

MAX_BODY=16384    # bytes of one request
MAX_NAME=60       # characters
MAX_MESSAGE=500   # characters: with the name at most 2,300 bytes of UTF-8
MAX_BOOK=1048576  # bytes of the whole book; then it is full
SHOWN=50          # entries on the page

main() {
    state_folder
    book=$folder/guestbook-sh.txt
    case ${REQUEST_METHOD:-GET} in
    GET | HEAD) show '200 OK' '' ;;
    POST) sign ;;
    *) printf 'Status: 405 Method Not Allowed\nAllow: GET, HEAD, POST\nContent-Type: text/plain\n\nonly GET and POST\n' ;;
    esac
}

sign() {
    if from_another_site; then show '403 Forbidden' 'Please sign on the page itself.'; return; fi
    case ${CONTENT_LENGTH:-} in
    '' | *[!0-9]*) show '400 Bad Request' 'The request has no length.'; return ;;
    ??????*) show '413 Content Too Large' 'That is too long.'; return ;;
    esac
    if [ "$CONTENT_LENGTH" -gt "$MAX_BODY" ]; then show '413 Content Too Large' 'That is too long.'; return; fi

    # dd counts reads, and a read of a pipe may be short: one byte at a time is the portable way to take exactly this many.
    # A url-encoded form is printable ASCII; whatever else comes is dropped.
    body=$(dd bs=1 count="$CONTENT_LENGTH" 2>/dev/null | tr -cd '!-~')
    name=$(field name "$MAX_NAME")
    message=$(field message "$MAX_MESSAGE")
    case $name/$message in
    too-long/* | */too-long) show '400 Bad Request' "A name may have $MAX_NAME characters, a message $MAX_MESSAGE."; return ;;
    /* | */) show '400 Bad Request' 'A name and a message are needed.'; return ;;
    esac
    if [ -f "$book" ] && [ -n "$(find "$book" -size +"$((MAX_BOOK / 512))")" ]; then
        show '507 Insufficient Storage' 'The book is full.'
        return
    fi
    # %b reads \0ooo, and `field` writes nothing else, so this one printf writes one whole line.
    printf '%s\t%b\t%b\n' "$(date -u '+%Y-%m-%d %H:%M UTC')" "$name" "$message" >>"$book"

    # A Location is only ever made of harmless characters; SCRIPT_NAME names this file, so it usually is.
    here=${SCRIPT_NAME:-/}
    case $here in *[!A-Za-z0-9/._~-]*) here=/ ;; esac
    printf 'Status: 303 See Other\nLocation: %s\n\n' "$here"
}

# Prints the first field $1 of the form in $body as octal escapes (\0141\0142…), or "too-long" where it has more than $2
# characters. Escapes, because a shell variable and awk's printf cannot be trusted with every byte; line ends, tabs and
# other control characters become spaces, spaces around the text go.
field() {
    printf '%s\n' "$body" | awk -v wanted="$1" -v limit="$2" '
        BEGIN { for (i = 0; i < 256; i++) hex[sprintf("%02X", i)] = i; for (i = 33; i < 127; i++) code[sprintf("%c", i)] = i }
        {
            pairs = split($0, pair, "&")
            for (i = 1; i <= pairs; i++) {
                at = index(pair[i], "=")
                if (at == 0 || substr(pair[i], 1, at - 1) != wanted) continue
                value = substr(pair[i], at + 1)
                for (j = 1; j <= length(value); j++) {
                    c = substr(value, j, 1)
                    escape = toupper(substr(value, j + 1, 2))
                    if (c == "+") byte = 32
                    else if (c == "%" && (escape in hex)) { byte = hex[escape]; j += 2 }
                    else byte = code[c]
                    if (byte < 32 || byte == 127) byte = 32
                    if (byte == 32) { if (out != "") gap = gap "\\0040"; continue }
                    if (byte < 128 || byte > 191) characters += 1 # the others continue a character of UTF-8
                    characters += length(gap) / 5
                    if (characters > limit || ++bytes > 4 * limit) { print "too-long"; exit }
                    out = out gap sprintf("\\0%03o", byte)
                    gap = ""
                }
                print out
                exit
            }
        }'
}

show() {
    printf 'Status: %s\n' "$1"
    cat <<'HEAD'
Content-Type: text/html; charset=utf-8
Cache-Control: no-store
X-Content-Type-Options: nosniff
Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook in POSIX shell · cgiserve</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
</head>
<body>
<header class="bar"><a class="home" href="/">cgiserve</a><nav aria-label="Site"><a href="/">All demonstrations</a></nav></header>
<main>
<h1>Guestbook in POSIX shell</h1>
HEAD
    if [ -n "$2" ]; then printf '<p class="alarm" role="alert">%s</p>\n' "$2"; fi
    cat <<'FORM'
<form method="post">
<div class="field"><label for="name">Name</label><input id="name" name="name" maxlength="60" required autocomplete="name"></div>
<div class="field"><label for="message">Message</label><textarea id="message" name="message" maxlength="500" required></textarea></div>
<button type="submit">Sign</button>
</form>
<h2>Entries</h2>
<ol id="entries" class="entries">
FORM
    if [ -f "$book" ]; then
        tail -n "$SHOWN" "$book" | awk -F '\t' '
            function escaped(text) {
                gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text)
                gsub(/"/, "\\&quot;", text); gsub(/\047/, "\\&#39;", text)
                return text
            }
            NF == 3 {
                entry[++n] = "<li class=\"card\"><p class=\"who\">" escaped($2) "<time>" escaped($1) \
                    "</time></p><p class=\"what\">" escaped($3) "</p></li>"
            }
            END { for (; n > 0; n--) print entry[n] }'
    fi
    printf '</ol>\n</main>\n</body>\n</html>\n'
}

# A form on a foreign page must not sign for its reader (CSRF). Clients that are no browsers send neither header.
from_another_site() {
    case ${HTTP_SEC_FETCH_SITE:-} in
    same-origin | none) return 1 ;;
    ?*) return 0 ;;
    esac
    case ${HTTP_ORIGIN:-null} in
    null | "http://${HTTP_HOST:-}" | "https://${HTTP_HOST:-}") return 1 ;;
    esac
    return 0
}

# Sets $folder: where the server lets scripts keep things, outside everything served; the rest is for other servers.
state_folder() {
    folder=${CGISERVE_STATE:-${XDG_STATE_HOME:+$XDG_STATE_HOME/cgiserve}}
    if [ -n "$folder" ]; then
        mkdir -p "$folder"
        return
    fi
    user=$(id -u)
    folder=/var/tmp/cgiserve-$user
    mkdir "$folder" 2>/dev/null || :
    # Anybody may have made it first, or put a link there; find does not follow one.
    if [ -z "$(find "$folder" -prune -type d -user "$user" -perm 0700)" ]; then
        printf '%s must be a folder of this user with mode 0700\n' "$folder" >&2
        exit 1
    fi
}

main
