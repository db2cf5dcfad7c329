//! HTTP by hand: octets over a socket with a deadline, and a reader of answers that forgives nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use crate::wait::PATIENCE;

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// The socket, for what is not HTTP.
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// A whole answer.
#[derive(Clone)]
pub struct Response {
    /// Its head.
    pub head: Head,
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// How it ended.
    pub end: End,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(2000)];
        write!(f, "{:?} || {} octets: \"{}\" ({:?})", self.head, self.body.len(), shown.escape_ascii(), self.end)
    }
}

/// Status line and fields.
#[derive(Clone)]
pub struct Head {
    /// `HTTP/1.1`
    pub version: String,
    /// `200`
    pub status: u16,
    /// `OK`
    pub reason: String,
    /// Names and values, in order.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.version, self.status, self.reason)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " | {name}: {}", value.escape_ascii()))
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There is no body: HEAD, 1xx, 204, 304.
    None,
    /// With the last octet of its Content-Length.
    Length,
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
    /// Before that.
    Aborted,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends octets; the server must take them.
    #[track_caller]
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.try_send(octets).expect("the server takes what is sent");
    }

    /// Sends octets to a server that may have hung up.
    pub fn try_send(&mut self, octets: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.write_all(octets.as_ref())
    }

    /// A GET without any more fields than it needs.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response()
    }

    /// No more octets will come from here.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// Leaves at once with a reset, as a client does whose machine loses power and comes back.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO)).expect("an option");
    }

    /// More octets; 0 at the end of the connection, an error where it was reset.
    #[track_caller]
    fn fill(&mut self, end: Instant) -> std::io::Result<usize> {
        let left = end.saturating_duration_since(Instant::now());
        let left = left.max(std::time::Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("a socket option");
        let mut piece = [0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(n)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("waited in vain for an answer; so far: {:?}", String::from_utf8_lossy(&self.buffer))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(self.fill(end)?),
            Err(error) => Err(error),
        }
    }

    /// The next answer, to anything but HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let head = self.head();
        self.body_of(head, false)
    }

    /// The next answer, to HEAD.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        let head = self.head();
        self.body_of(head, true)
    }

    /// The next answer's head, interim ones included.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        self.try_head().expect("an answer")
    }

    /// The next answer's head, or `None` where the connection ends instead.
    #[track_caller]
    pub fn try_head(&mut self) -> Option<Head> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let block: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Some(Head::parse(&block[..at]));
            }
            match self.fill(end) {
                Ok(1..) => {}
                Ok(_) | Err(_) if self.buffer.is_empty() => return None,
                Ok(_) | Err(_) => panic!("half a head: {:?}", String::from_utf8_lossy(&self.buffer)),
            }
        }
    }

    #[track_caller]
    fn body_of(&mut self, head: Head, to_head: bool) -> Response {
        let lengths = head.all("content-length");
        let codings = head.all("transfer-encoding");
        assert!(lengths.len() + codings.len() <= 1, "framed twice: {head:?}");
        if to_head || matches!(head.status, 100..200 | 204 | 304) {
            return Response { head, body: Vec::new(), end: End::None };
        }
        let end = Instant::now() + PATIENCE;
        if let Some(length) = lengths.first() {
            let length: usize = length.parse().expect("Content-Length is a number");
            while self.buffer.len() < length {
                if !matches!(self.fill(end), Ok(1..)) {
                    return Response { head, body: std::mem::take(&mut self.buffer), end: End::Aborted };
                }
            }
            let body = self.buffer.drain(..length).collect();
            return Response { head, body, end: End::Length };
        }
        if let Some(coding) = codings.first() {
            assert_eq!(coding, "chunked");
            let (body, complete) = self.chunks(end);
            return Response { head, body, end: if complete { End::Chunked } else { End::Aborted } };
        }
        loop {
            match self.fill(end) {
                Ok(1..) => {}
                Ok(_) => return Response { head, body: std::mem::take(&mut self.buffer), end: End::Close },
                Err(_) => return Response { head, body: std::mem::take(&mut self.buffer), end: End::Aborted },
            }
        }
    }

    #[track_caller]
    fn chunks(&mut self, end: Instant) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line(end) else { return (body, false) };
            assert!(line.iter().all(u8::is_ascii_hexdigit), "chunk size {:?}", String::from_utf8_lossy(&line));
            let size = usize::from_str_radix(&String::from_utf8_lossy(&line), 16).expect("a chunk size");
            if size == 0 {
                let Some(trailer) = self.line(end) else { return (body, false) };
                assert_eq!(trailer, b"", "no trailers");
                return (body, true);
            }
            while self.buffer.len() < size + 2 {
                if !matches!(self.fill(end), Ok(1..)) {
                    let size = size.min(self.buffer.len());
                    body.extend(self.buffer.drain(..size));
                    return (body, false);
                }
            }
            body.extend(self.buffer.drain(..size));
            assert_eq!(self.buffer.drain(..2).collect::<Vec<_>>(), b"\r\n", "a chunk ends with CR LF");
        }
    }

    #[track_caller]
    fn line(&mut self, end: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..at).collect();
                self.buffer.drain(..2);
                return Some(line);
            }
            if !matches!(self.fill(end), Ok(1..)) {
                return None;
            }
        }
    }

    /// Waits until `wanted` has arrived in the octets of a body, whatever frames them.
    #[track_caller]
    pub fn wait_for(&mut self, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        while find(&self.buffer, wanted.as_bytes()).is_none() {
            let more = self.fill(end);
            assert!(matches!(more, Ok(1..)), "the connection ended before {wanted:?} came");
        }
    }

    /// Waits for the connection's end and returns what came before it. A reset counts as an end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        while matches!(self.fill(end), Ok(1..)) {}
        std::mem::take(&mut self.buffer)
    }

    /// The next octets, or none at the end of the connection.
    pub fn probe(&mut self) -> Vec<u8> {
        let _ = self.fill(Instant::now() + PATIENCE);
        std::mem::take(&mut self.buffer)
    }

    /// Whether there is something to be read now: octets or an end.
    pub fn readable(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket option");
        let there = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).expect("a socket option");
        there
    }

    /// Waits for the connection's end; nothing more may come.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    }
}

impl Head {
    #[track_caller]
    fn parse(block: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut lines = block.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let bare = find(&block.replace_crlf(), b"\r").is_some() || find(&block.replace_crlf(), b"\n").is_some();
        assert!(!bare, "a bare CR or LF in a head: {:?}", text(block));
        let first = text(lines.next().unwrap_or_default());
        let mut words = first.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        assert!(matches!(version.as_str(), "HTTP/1.0" | "HTTP/1.1"), "no status line: {first:?}");
        let code = words.next().unwrap_or_default();
        assert_eq!(code.len(), 3, "no status line: {first:?}");
        let status = code.parse().expect("a status");
        let reason = words.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let colon = line.iter().position(|&b| b == b':').unwrap_or_else(|| panic!("no field: {:?}", text(line)));
            let name = text(&line[..colon]);
            assert!(is_token(&name), "no field name: {name:?}");
            let value = line[colon + 1..].trim_ascii().to_vec();
            assert!(!value.iter().any(|b| b.is_ascii_control() && *b != b'\t'), "a control character in {name}");
            fields.push((name, value));
        }
        Self { version, status, reason, fields }
    }

    /// The value of a field that stands at most once.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() <= 1, "{name} stands {} times", all.len());
        all.pop()
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.octets(name).iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect()
    }

    /// Every value of a field as it came.
    pub fn octets(&self, name: &str) -> Vec<Vec<u8>> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone()).collect()
    }
}

trait ReplaceCrlf {
    fn replace_crlf(&self) -> Vec<u8>;
}

impl ReplaceCrlf for [u8] {
    /// Without its CR LF pairs, so that what is left of either is bare.
    fn replace_crlf(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        let mut at = 0;
        while at < self.len() {
            if self[at..].starts_with(b"\r\n") {
                at += 2;
            } else {
                out.push(self[at]);
                at += 1;
            }
        }
        out
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field that stands at most once.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.get(name)
    }

    /// Asserts the status and that the answer is complete.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status(), status, "{self:?}");
        assert_ne!(self.end, End::Aborted, "{self:?}");
        self
    }

    /// Asserts an error page of the server with this slug.
    #[track_caller]
    pub fn expect_failure(self, status: u16, slug: &str) -> Self {
        let response = self.expect(status);
        assert!(response.text().contains(slug), "no {slug} in {}", response.text());
        response
    }
}
