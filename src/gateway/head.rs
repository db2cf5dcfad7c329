//! The header block of a script's answer (RFC 3875 §6), read strictly: what is not CGI never reaches a client.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::settings::HeadLimits;

/// A header block, understood.
#[derive(Debug, Default)]
pub struct Head {
    /// From `Status`, or from a status line of its own; `None` when the script gave none.
    pub status: Option<u16>,
    /// The reason phrase, where the script gave a clean one.
    pub reason: Option<Vec<u8>>,
    /// `Location`, as given.
    pub location: Option<Vec<u8>>,
    /// `Content-Length`, octets.
    pub content_length: Option<u64>,
    /// The body comes in chunks that have to be taken off before the server puts on its own.
    pub chunked: bool,
    /// `X-Sendfile`.
    pub sendfile: Option<Vec<u8>>,
    /// Every other field, hop-by-hop ones removed.
    pub fields: HeaderMap,
    /// What was passed over, for the log.
    pub remarks: Vec<String>,
}

/// What the octets so far amount to.
#[derive(Debug)]
pub enum Progress {
    /// The block is not complete.
    More,
    /// An interim answer of `usize` octets (RFC 9110 §15.2); another block follows.
    Interim(Head, usize),
    /// The final block, and how many octets it took.
    Final(Head, usize),
}

/// Why a header block is refused; a 502, and no octet of it reaches the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// More octets or fields than allowed.
    TooLarge,
    /// The first line is blank: there are no fields.
    Blank,
    /// A line that is not a field; its first octets, control characters shown.
    NotAField(String),
    /// A line that continues the one before it (§6.3 forbids that).
    Folded,
    /// A control character in a value: somebody tries to split the answer (CVE-2023-38709, CVE-2024-24795).
    ControlByte(String),
    /// `Status` is not a number from 200 to 599.
    BadStatus(String),
    /// A field that may stand once stands twice with different values.
    Conflict(&'static str),
    /// `Content-Length` is not a number.
    BadLength(String),
    /// `Transfer-Encoding` is anything but exactly `chunked`.
    TransferEncoding(String),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the header block is over the limit (head-size, head-fields)"),
            Self::Blank => f.write_str("the answer begins with a blank line: it has no header"),
            Self::NotAField(line) => write!(f, "a line of the header is not \"Name: value\": \"{line}\""),
            Self::Folded => f.write_str("a line of the header begins with a blank: folded fields are not CGI"),
            Self::ControlByte(name) => write!(f, "the value of \"{name}\" holds a control character"),
            Self::BadStatus(value) => write!(f, "\"Status: {value}\" is not a status from 200 to 599"),
            Self::Conflict(name) => write!(f, "\"{name}\" stands twice with different values"),
            Self::BadLength(value) => write!(f, "\"Content-Length: {value}\" is not a number"),
            Self::TransferEncoding(value) => write!(f, "\"Transfer-Encoding: {value}\" cannot be undone"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Longest piece of a script's line that is quoted in the log, octets.
const QUOTED: usize = 80;

/// Reads the block at the start of `buffer`.
pub fn parse(buffer: &[u8], limits: HeadLimits) -> Result<Progress, HeadError> {
    let mut head = Head::default();
    let mut fields = 0;
    let mut at = 0;
    loop {
        let Some(length) = buffer[at..].iter().position(|&b| b == b'\n') else {
            return if buffer.len() > limits.octets { Err(HeadError::TooLarge) } else { Ok(Progress::More) };
        };
        let line = &buffer[at..at + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let first = at == 0;
        at += length + 1;
        if at > limits.octets {
            return Err(HeadError::TooLarge);
        }
        if line.is_empty() {
            if first {
                return Err(HeadError::Blank);
            }
            break;
        }
        if first && line.starts_with(b"HTTP/") {
            head.status_line(line)?;
            continue;
        }
        fields += 1;
        if fields > limits.fields {
            return Err(HeadError::TooLarge);
        }
        head.line(line)?;
    }
    head.remove_nominated();
    Ok(match head.status {
        Some(100..200) => Progress::Interim(head, at),
        _ => Progress::Final(head, at),
    })
}

impl Head {
    /// `HTTP/1.1 404 Not Found`, by `nph-` scripts and by others that think they are (lighttpd and busybox take it).
    fn status_line(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let rest = line.iter().position(|&b| b == b' ').map(|at| line[at + 1..].trim_ascii_start());
        self.status(rest.ok_or_else(|| HeadError::BadStatus(quoted(line)))?)
    }

    fn status(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let bad = || HeadError::BadStatus(quoted(value));
        let (digits, reason) = value.split_at_checked(3).ok_or_else(bad)?;
        let status: u16 = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or_else(bad)?;
        if !digits.iter().all(u8::is_ascii_digit) || !(reason.is_empty() || reason.starts_with(b" ")) {
            return Err(bad());
        }
        // 100 is the server's to send and 101 would hand over the connection.
        if !(102..600).contains(&status) {
            return Err(bad());
        }
        if reason.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
            return Err(HeadError::ControlByte("Status".into()));
        }
        if self.status.is_some_and(|earlier| earlier != status) {
            self.remarks.push("\"Status\" stands twice; the last one counts".into());
        }
        self.status = Some(status);
        let reason = reason.trim_ascii();
        self.reason = (!reason.is_empty()).then(|| reason.to_vec());
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), HeadError> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(HeadError::Folded);
        }
        let colon = line.iter().position(|&b| b == b':').ok_or_else(|| HeadError::NotAField(quoted(line)))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.ends_with(b" ") || name.ends_with(b"\t") {
            return Err(HeadError::NotAField(quoted(line)));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| HeadError::ControlByte(quoted(name)))?;
        let Ok(name) = HeaderName::from_bytes(name) else {
            // Python's cgitb prints `<!--: spam` first, on purpose.
            self.remarks.push(format!("field dropped, its name is not a token: \"{}\"", quoted(name)));
            return Ok(());
        };
        self.field(name, value)
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), HeadError> {
        match name.as_str() {
            "status" if value.is_empty() => {}
            "status" => self.status(value.as_bytes())?,
            "location" if value.is_empty() => {}
            "location" => once("Location", &mut self.location, value.as_bytes().to_vec())?,
            "content-length" if value.is_empty() => {}
            "content-length" => {
                let digits = value.as_bytes();
                let number = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
                let number = number.filter(|_| digits.iter().all(u8::is_ascii_digit));
                let number = number.ok_or_else(|| HeadError::BadLength(quoted(digits)))?;
                once("Content-Length", &mut self.content_length, number)?;
            }
            "content-type" if value.is_empty() => {}
            "content-type" => match self.fields.get(header::CONTENT_TYPE) {
                Some(earlier) if *earlier != value => return Err(HeadError::Conflict("Content-Type")),
                _ => drop(self.fields.insert(header::CONTENT_TYPE, value)),
            },
            "transfer-encoding" => {
                if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding(quoted(value.as_bytes())));
                }
                self.chunked = true;
            }
            "x-sendfile" => self.sendfile = Some(value.as_bytes().to_vec()),
            // One of each (RFC 3875 §6.3.4 lets the server resolve conflicts); the first counts.
            "date" | "server" if self.fields.contains_key(&name) => {}
            "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {}
            other if other.starts_with("proxy-auth") => {}
            _ => drop(self.fields.append(name, value)),
        }
        Ok(())
    }

    /// Hop-by-hop fields end here, those that `Connection` names included (RFC 9110 §7.6.1).
    fn remove_nominated(&mut self) {
        if !self.fields.contains_key(header::CONNECTION) {
            return;
        }
        let nominated: Vec<HeaderName> = self
            .fields
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|v| v.as_bytes().split(|&b| b == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .collect();
        self.fields.remove(header::CONNECTION);
        for name in nominated {
            self.fields.remove(name);
        }
    }

    /// The path of a local redirect (§6.2.2): `Location` is the only field, there is no status, and it is a path
    /// but not `//host/x`, which is a network-path reference and means another host.
    pub fn local_redirect(&self) -> Option<&[u8]> {
        let alone = self.status.is_none() && self.fields.is_empty() && self.content_length.is_none() && !self.chunked;
        let location = self.location.as_deref().filter(|_| alone)?;
        (location.starts_with(b"/") && !location.starts_with(b"//")).then_some(location)
    }

    /// Status code of the answer: 200 where the script does not say (§6.2.1), 302 with `Location` alone (§6.2.3).
    pub fn final_status(&self) -> u16 {
        self.status.unwrap_or(if self.location.is_some() { 302 } else { 200 })
    }
}

fn once<T: PartialEq>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), HeadError> {
    if slot.as_ref().is_some_and(|earlier| *earlier != value) {
        return Err(HeadError::Conflict(name));
    }
    *slot = Some(value);
    Ok(())
}

/// The first octets of a script's line with everything unprintable escaped.
pub fn quoted(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(QUOTED)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> HeadLimits {
        HeadLimits { octets: 256, fields: 8 }
    }

    fn done(text: &str) -> Head {
        match parse(text.as_bytes(), limits()) {
            Ok(Progress::Final(head, used)) => {
                assert_eq!(used, text.len(), "{text:?}");
                head
            }
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn heads_that_are_understood() {
        for (text, status, fields) in [
            ("Content-Type: a/b\n\n", 200, "content-type=a/b"),
            ("Content-Type:a/b\r\n\n", 200, "content-type=a/b"),
            ("sTATUS: 404\r\nX: \r\n\r\n", 404, "x="),
            ("Status: 200 Fine and dandy\n\n", 200, ""),
            ("HTTP/1.1 404 Not Found\nA: b\n\n", 404, "a=b"),
            ("Location: http://h/\n\n", 302, ""),
            ("Location: //h/x\n\n", 302, ""),
            ("Location: /x\nStatus: 303\n\n", 303, ""),
            ("Status: 200\nStatus: 404\n\n", 404, ""),
            ("<!--: spam\nA: b\n\n", 200, "a=b"),
            ("Foo Bar: x\nA: b\n\n", 200, "a=b"),
            ("Set-Cookie: a\nSet-Cookie: b\n\n", 200, "set-cookie=a set-cookie=b"),
            ("A: b\nConnection: x, A\nKeep-Alive: 5\nUpgrade: h2c\nProxy-Authenticate: x\n\n", 200, ""),
            ("Date: 1\nDate: 2\nX-CGI-Foo: 1\n\n", 200, "date=1 x-cgi-foo=1"),
            ("Content-Type: a/b\nContent-Type: a/b\n\n", 200, "content-type=a/b"),
        ] {
            let head = done(text);
            let got: Vec<_> = head.fields.iter().map(|(n, v)| format!("{n}={}", v.to_str().unwrap())).collect();
            assert_eq!((head.final_status(), got.join(" ").as_str()), (status, fields), "{text:?}");
        }
        assert_eq!(done("Status: 200 Fine\n\n").reason.as_deref(), Some(&b"Fine"[..]));
        assert!(done("Transfer-Encoding: Chunked\n\n").chunked);
        assert_eq!(done("Content-Length: 17\n\n").content_length, Some(17));
    }

    #[test]
    fn heads_that_are_refused() {
        for text in [
            "\nbody",
            "hello world\n",
            "A: b\n folded\n\n",
            "A : b\n\n",
            ": b\n\n",
            "A: b\rSet-Cookie: evil\n\n",
            "A: \0\n\n",
            "A: \x1b[1m\n\n",
            "Status: 99\n\n",
            "Status: 999\n\n",
            "Status: 600\n\n",
            "Status: 101\n\n",
            "Status: 100\n\n",
            "Status: abc\n\n",
            "Status: 2000\n\n",
            "Status: 200\x0bX\n\n",
            "Status: +20\n\n",
            "HTTP/1.1\n\n",
            "Location: a\nLocation: b\n\n",
            "Content-Length: 1\nContent-Length: 2\n\n",
            "Content-Length: -1\n\n",
            "Content-Length: +1\n\n",
            "Content-Type: a\nContent-Type: b\n\n",
            "Transfer-Encoding: gzip, chunked\n\n",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
            "A: 1\nB: 1\nC: 1\nD: 1\nE: 1\nF: 1\nG: 1\nH: 1\nI: 1\n\n",
        ] {
            assert!(parse(text.as_bytes(), limits()).is_err(), "{text:?} was taken");
        }
        let long = format!("A: {}\n\n", "x".repeat(300));
        assert_eq!(parse(long.as_bytes(), limits()).unwrap_err(), HeadError::TooLarge);
        assert_eq!(parse(&long.as_bytes()[..290], limits()).unwrap_err(), HeadError::TooLarge);
    }

    #[test]
    fn a_head_is_the_same_in_whatever_pieces_it_comes() {
        let text = b"Content-Type: a/b\r\nStatus: 201 Made\r\n\r\nbody";
        for cut in 0..text.len() - 4 {
            assert!(matches!(parse(&text[..cut], limits()), Ok(Progress::More)), "cut at {cut}");
        }
        let Ok(Progress::Final(_, used)) = parse(text, limits()) else { panic!("no head") };
        assert_eq!(&text[used..], b"body");
    }

    #[test]
    fn interim_answers_come_before_the_final_one() {
        let text = b"Status: 103\nLink: </a>\n\nContent-Type: a/b\n\n";
        let Ok(Progress::Interim(head, used)) = parse(text, limits()) else { panic!("no interim answer") };
        assert_eq!(head.fields.get("link").unwrap(), "</a>");
        assert!(matches!(parse(&text[used..], limits()), Ok(Progress::Final(..))));
    }

    #[test]
    fn only_a_path_alone_is_a_local_redirect() {
        for (text, local) in [
            ("Location: /x?y\n\n", true),
            ("Location: //host/x\n\n", false),
            ("Location: x\n\n", false),
            ("Location: http://h/\n\n", false),
            ("Location: /x\nSet-Cookie: a\n\n", false),
            ("Location: /x\nStatus: 302\n\n", false),
        ] {
            assert_eq!(done(text).local_redirect().is_some(), local, "{text:?}");
        }
    }
}
