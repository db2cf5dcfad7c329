#!/usr/bin/env perl
# A guestbook as a CGI script in Perl: core modules only.
#
# GET shows the newest entries and a form; POST adds an entry and answers 303 to the same page, so that a reload does
# not post again. An entry is one line, "time TAB name TAB message", added under a lock.

use strict;
use warnings;
use Encode qw(decode encode);
use Fcntl qw(:flock :mode SEEK_END);
use POSIX qw(strftime);

my $MAX_BODY    = 16 * 1024;      # bytes of one request
my $MAX_NAME    = 60;             # characters
my $MAX_MESSAGE = 500;            # characters
my $MAX_BOOK    = 1024 * 1024;    # bytes of the whole book; then it is full
my $SHOWN       = 50;             # entries on the page

umask 0077;
binmode STDIN;
binmode STDOUT, ':encoding(UTF-8)';

my $method = $ENV{REQUEST_METHOD} // 'GET';
my $book   = state_folder() . '/guestbook-pl.txt';

if ($method eq 'POST') {
    my ($status, $error) = sign();
    if ($error) { show($status, $error) }
    else        { print "Status: 303 See Other\nLocation: ", here(), "\n\n" }
}
elsif ($method eq 'GET' || $method eq 'HEAD') { show('200 OK', '') }
else { print "Status: 405 Method Not Allowed\nAllow: GET, HEAD, POST\nContent-Type: text/plain\n\nonly GET and POST\n" }

# Adds the entry in the request; returns a status and a sentence where it must not be added.
sub sign {
    return ('403 Forbidden', 'Please sign on the page itself.') if from_another_site();
    my $length = $ENV{CONTENT_LENGTH} // '';
    return ('400 Bad Request', 'The request has no length.') unless $length =~ /\A[0-9]{1,15}\z/;
    return ('413 Content Too Large', 'That is too long.') if $length > $MAX_BODY;
    my $body = '';
    while (length $body < $length) {
        read(STDIN, $body, $length - length $body, length $body) or last;
    }
    my %form;
    for my $pair (split /&/, $body) {
        my ($key, $value) = map { unescape($_) } split /=/, $pair, 2;
        $form{$key} //= $value if defined $value;
    }
    my ($name, $message) = map { one_line($form{$_} // '') } qw(name message);
    return ('400 Bad Request', 'A name and a message are needed.') if $name eq '' || $message eq '';
    return ('400 Bad Request', "A name may have $MAX_NAME characters, a message $MAX_MESSAGE.")
        if length $name > $MAX_NAME || length $message > $MAX_MESSAGE;

    my $time = strftime('%Y-%m-%d %H:%M UTC', gmtime);
    open my $file, '>>:raw', $book or die "guestbook: $!\n";
    flock $file, LOCK_EX or die "guestbook: $!\n";    # given back when the file is closed
    seek $file, 0, SEEK_END;
    return ('507 Insufficient Storage', 'The book is full.') if tell($file) > $MAX_BOOK;
    print {$file} encode('UTF-8', "$time\t$name\t$message\n");
    close $file or die "guestbook: $!\n";
    return;
}

sub show {
    my ($status, $error) = @_;
    my $note = $error ? qq(<p class="alarm" role="alert">$error</p>\n) : '';
    print <<"HEAD";
Status: $status
Content-Type: text/html; charset=utf-8
Cache-Control: no-store
X-Content-Type-Options: nosniff
Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guestbook in Perl \x{b7} cgiserve</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
</head>
<body>
<header class="bar"><a class="home" href="/">cgiserve</a><nav aria-label="Site"><a href="/">All demonstrations</a></nav></header>
<main>
<h1>Guestbook in Perl</h1>
$note<form method="post">
<div class="field"><label for="name">Name</label><input id="name" name="name" maxlength="60" required autocomplete="name"></div>
<div class="field"><label for="message">Message</label><textarea id="message" name="message" maxlength="500" required></textarea></div>
<button type="submit">Sign</button>
</form>
<h2>Entries</h2>
<ol id="entries" class="entries">
HEAD
    for my $line (newest()) {
        my ($time, $name, $message) = map { escape($_) } split /\t/, $line, 3;
        print qq(<li class="card"><p class="who">$name<time>$time</time></p><p class="what">$message</p></li>\n)
            if defined $message;
    }
    print "</ol>\n</main>\n</body>\n</html>\n";
}

# At most $SHOWN lines of the book, the newest first.
sub newest {
    open my $file, '<:raw', $book or return;    # nobody has signed yet
    flock $file, LOCK_SH;
    my @lines;
    while (my $line = <$file>) {
        chomp $line;
        push @lines, decode('UTF-8', $line);
        shift @lines if @lines > $SHOWN;
    }
    return reverse @lines;
}

sub unescape {
    my ($text) = @_;
    $text =~ tr/+/ /;
    $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    return decode('UTF-8', $text);    # bytes that are no UTF-8 become U+FFFD
}

# Line ends, tabs and other control or invisible formatting characters become spaces.
sub one_line {
    my ($text) = @_;
    $text =~ s/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/ /g;
    $text =~ s/\A\s+|\s+\z//g;
    return $text;
}

sub escape {
    my ($text) = @_;
    my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', "'" => '&#39;');
    $text =~ s/([&<>"'])/$entity{$1}/g;
    return $text;
}

# The URL path of this script, percent-encoded: nothing in it can end the header line.
sub here {
    my $path = $ENV{SCRIPT_NAME} // '/';
    $path =~ s{([^A-Za-z0-9/._~-])}{sprintf '%%%02X', ord $1}ge;
    return $path;
}

# A form on a foreign page must not sign for its reader (CSRF). Clients that are no browsers send neither header.
sub from_another_site {
    my $site = $ENV{HTTP_SEC_FETCH_SITE} // '';
    return $site ne 'same-origin' && $site ne 'none' if $site ne '';
    my $origin = $ENV{HTTP_ORIGIN} // 'null';
    my $host   = $ENV{HTTP_HOST}   // '';
    return !grep { $origin eq $_ } 'null', "http://$host", "https://$host";
}

# Where the server lets scripts keep things, outside everything served; the rest is for other servers.
sub state_folder {
    my $folder = $ENV{CGISERVE_STATE};
    $folder = "$ENV{XDG_STATE_HOME}/cgiserve" if !$folder && $ENV{XDG_STATE_HOME};
    if ($folder) {
        mkdir $folder, 0700;
        return $folder;
    }
    $folder = "/var/tmp/cgiserve-$<";
    mkdir $folder, 0700;
    my @seen = lstat $folder;    # anybody may have made it first, or put a link there
    die "guestbook: $folder must be a folder of this user with mode 0700\n"
        unless @seen && S_ISDIR($seen[2]) && $seen[4] == $< && !($seen[2] & 077);
    return $folder;
}
