# A CGI script: it tells what it was asked.
set -u

# What comes from outside is text, never markup and never a command.
escape() { printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'; }

if [ "$REQUEST_METHOD" = POST ]; then
    form=$(head -c "${CONTENT_LENGTH:-0}")
else
    form=$QUERY_STRING
fi

# Header first, then an empty line, then the page.
printf 'Content-Type: text/html; charset=utf-8\n\n'
cat <<PAGE
<!DOCTYPE html>
<title>Hello</title>
<h1>Hello, world!</h1>
<p>You asked by $(escape "$REQUEST_METHOD"): <code>$(escape "$form")</code></p>
<form method="post"><input name="name" placeholder="Your name"> <button>Say it</button></form>
PAGE
