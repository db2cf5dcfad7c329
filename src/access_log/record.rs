//! What a log line says, and how.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::stamps::Stamps;

/// How a request line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As `python -m http.server` writes it.
    Python,
    /// NCSA's.
    Common,
    /// NCSA's with Referer and User-Agent.
    Combined,
    /// One JSON object a line.
    Json,
}

/// What is known of a request when its answer is over. Nothing here is a secret: no Cookie, no Authorization.
#[derive(Debug)]
pub struct Record<'a> {
    /// The client's address; `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// REMOTE_USER, where checked.
    pub user: Option<&'a str>,
    /// The request line as sent, in pieces with a blank between each two.
    pub line: [&'a [u8]; 3],
    /// Status sent; 499 where the client left before the answer was complete.
    pub status: u16,
    /// Octets of the body.
    pub octets: u64,
    /// From the head's arrival to the end of the answer.
    pub took: Duration,
    /// `Referer` and `User-Agent`.
    pub referer: Option<&'a [u8]>,
    /// See `referer`.
    pub agent: Option<&'a [u8]>,
    /// The request's id.
    pub id: &'a str,
    /// Why it failed, if it did: the slug and Python's sentence.
    pub failure: Option<(&'static str, &'a str)>,
}

/// A record as one JSON object.
#[derive(Serialize)]
struct Object<'a> {
    time: &'a str,
    client: String,
    user: Option<&'a str>,
    request: String,
    status: u16,
    octets: u64,
    ms: f64,
    id: &'a str,
    failure: Option<&'static str>,
    referer: Option<String>,
    agent: Option<String>,
}

impl Record<'_> {
    /// Writes the line, newline included. `colour` is for people at terminals, in Python's format only.
    pub(super) fn write(&self, format: Format, colour: bool, stamps: &Stamps, to: &mut Vec<u8>) {
        match format {
            Format::Python => self.python(colour, &stamps.python, to),
            Format::Common | Format::Combined => {
                self.client(to);
                to.extend_from_slice(b" - ");
                escape(self.user.unwrap_or("-").as_bytes(), to);
                to.extend_from_slice(b" [");
                to.extend_from_slice(stamps.common.as_bytes());
                to.extend_from_slice(b"] \"");
                self.line(to);
                to.extend_from_slice(b"\" ");
                number(self.status.into(), to);
                to.push(b' ');
                number(self.octets, to);
                if format == Format::Combined {
                    for field in [self.referer, self.agent] {
                        to.extend_from_slice(b" \"");
                        escape(field.unwrap_or(b"-"), to);
                        to.push(b'"');
                    }
                }
                to.push(b'\n');
            }
            Format::Json => {
                let mut client = Vec::new();
                self.client(&mut client);
                let mut line = Vec::new();
                self.line(&mut line);
                let object = Object {
                    time: &stamps.iso,
                    client: text(client),
                    user: self.user,
                    request: text(line),
                    status: self.status,
                    octets: self.octets,
                    ms: self.took.as_secs_f64() * 1e3,
                    id: self.id,
                    failure: self.failure.map(|(slug, _)| slug),
                    referer: self.referer.map(escaped),
                    agent: self.agent.map(escaped),
                };
                // Writing to memory cannot fail, nor can anything in the object.
                let _ = serde_json::to_writer(&mut *to, &object);
                to.push(b'\n');
            }
        }
    }

    fn python(&self, colour: bool, stamp: &str, to: &mut Vec<u8>) {
        if let Some((_, message)) = self.failure {
            self.client(to);
            to.extend_from_slice(b" - - [");
            to.extend_from_slice(stamp.as_bytes());
            to.extend_from_slice(b"] code ");
            number(self.status.into(), to);
            to.extend_from_slice(b", message ");
            escape(message.as_bytes(), to);
            to.push(b'\n');
        }
        self.client(to);
        to.extend_from_slice(b" - - [");
        to.extend_from_slice(stamp.as_bytes());
        to.extend_from_slice(b"] \"");
        self.line(to);
        to.extend_from_slice(b"\" ");
        let paint: Option<&[u8]> = colour.then_some(match self.status {
            ..300 => b"\x1b[32m",
            300..400 => b"\x1b[36m",
            400..500 => b"\x1b[33m",
            _ => b"\x1b[31m",
        });
        to.extend_from_slice(paint.unwrap_or_default());
        number(self.status.into(), to);
        to.extend_from_slice(if colour { b"\x1b[0m" } else { b"" });
        to.extend_from_slice(b" -\n");
    }

    fn client(&self, to: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = match self.client {
            Some(address) => write!(to, "{}", address.to_canonical()),
            None => write!(to, "-"),
        };
    }

    fn line(&self, to: &mut Vec<u8>) {
        let mut pieces = self.line.iter().filter(|piece| !piece.is_empty());
        if let Some(first) = pieces.next() {
            escape(first, to);
        }
        for piece in pieces {
            to.push(b' ');
            escape(piece, to);
        }
    }
}

/// Only ever called with what [`escape`] made, which is ASCII.
fn text(ascii: Vec<u8>) -> String {
    String::from_utf8(ascii).unwrap_or_default()
}

fn escaped(bytes: &[u8]) -> String {
    let mut to = Vec::with_capacity(bytes.len());
    escape(bytes, &mut to);
    text(to)
}

/// As Python writes it: control characters as `\xNN`, a backslash doubled; a quote and 8-bit octets as well, so that a
/// line can be taken apart again (CVE-2024-47252) and says nothing to a terminal (CVE-2009-4487).
fn escape(bytes: &[u8], to: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = bytes;
    loop {
        let plain = rest.iter().take_while(|&&b| matches!(b, 0x20..=0x7e) && !matches!(b, b'\\' | b'"')).count();
        to.extend_from_slice(&rest[..plain]);
        match rest[plain..] {
            [] => return,
            [b, ..] if matches!(b, b'\\' | b'"') => to.extend_from_slice(&[b'\\', b]),
            [b, ..] => to.extend_from_slice(&[b'\\', b'x', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
        }
        rest = &rest[plain + 1..];
    }
}

fn number(mut n: u64, to: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(target: &'a [u8]) -> Record<'a> {
        Record {
            client: Some("::ffff:127.0.0.1".parse().unwrap()),
            user: None,
            line: [b"GET", target, b"HTTP/1.1"],
            status: 404,
            octets: 70,
            took: Duration::from_millis(2),
            referer: None,
            agent: Some(b"curl"),
            id: "x",
            failure: Some(("not-found", "File not found")),
        }
    }

    fn line(record: &Record<'_>, format: Format, colour: bool) -> String {
        let mut to = Vec::new();
        record.write(format, colour, Stamps::default().now(), &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn lines_have_their_shapes() {
        let python = line(&record(b"/\x1b\"\\\xff\r"), Format::Python, false);
        let lines: Vec<_> = python.lines().collect();
        assert!(lines[0].starts_with("127.0.0.1 - - ["), "{python}");
        assert!(lines[0].ends_with("] code 404, message File not found"), "{python}");
        assert!(lines[1].ends_with(r#"] "GET /\x1b\"\\\xff\x0d HTTP/1.1" 404 -"#), "{python}");
        let common = line(&record(b"/"), Format::Common, false);
        assert!(common.starts_with("127.0.0.1 - - [") && common.ends_with("] \"GET / HTTP/1.1\" 404 70\n"), "{common}");
        let combined = line(&record(b"/"), Format::Combined, false);
        assert!(combined.ends_with("\"GET / HTTP/1.1\" 404 70 \"-\" \"curl\"\n"), "{combined}");
        let json: serde_json::Value = serde_json::from_str(&line(&record(b"/"), Format::Json, false)).unwrap();
        assert_eq!((&json["failure"], &json["request"]), (&"not-found".into(), &"GET / HTTP/1.1".into()));
        assert_eq!((&json["client"], &json["octets"]), (&"127.0.0.1".into(), &70.into()));
    }

    #[test]
    fn a_line_that_was_refused_is_one_piece() {
        let refused = Record { line: [b"GET  /", b"", b""], client: None, ..record(b"") };
        let common = line(&refused, Format::Common, false);
        assert!(common.starts_with("- - - [") && common.contains("\"GET  /\" "), "{common}");
    }

    #[test]
    fn the_status_is_painted_for_people_only() {
        assert!(line(&record(b"/"), Format::Python, true).ends_with("\" \x1b[33m404\x1b[0m -\n"));
        assert!(!line(&record(b"/"), Format::Combined, true).contains('\x1b'));
    }

    #[test]
    fn numbers() {
        for n in [0, 7, 10, 404, u64::MAX] {
            let mut to = Vec::new();
            number(n, &mut to);
            assert_eq!(to, n.to_string().as_bytes());
        }
    }
}
