# A CGI script: it greets whoever gives a name.
use strict;
use warnings;

my $form = $ENV{QUERY_STRING};
if ($ENV{REQUEST_METHOD} eq 'POST') {
    read(STDIN, $form, $ENV{CONTENT_LENGTH} || 0);
}
my %form = map {
    my ($key, $value) = split /=/, $_, 2;
    $value = '' unless defined $value;
    tr/+/ /, s/%([0-9A-Fa-f]{2})/chr(hex($1))/ge for $key, $value;
    ($key => $value)
} split /&/, $form;
my $name = length($form{name} || '') ? $form{name} : 'world';
my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;');
$name =~ s/([&<>"])/$entity{$1}/g;

# Header first, then an empty line, then the page.
print "Content-Type: text/html; charset=utf-8\n\n";
print <<"PAGE";
<!DOCTYPE html>
<title>Hello</title>
<h1>Hello, $name!</h1>
<form method="post"><input name="name" placeholder="Your name"> <button>Say it</button></form>
PAGE
