//! The smallest HTTP client that can check an answer: one request, one connection, read to the end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for one read; a server that is slower than this counts as broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A whole answer, the chunked framing taken off.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Value of a header, by its name in any case.
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }
}

pub(crate) fn connect(to: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(|e| format!("connect: {e}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.set_nodelay(true))
        .map_err(|e| format!("socket: {e}"))?;
    Ok(stream)
}

/// Sends one request and reads until the server closes.
pub(crate) fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
    let mut stream = connect(to)?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(body)).map_err(|e| format!("write: {e}"))?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map_err(|e| format!("read: {e}"))?;
    parse(&all)
}

/// Opens a connection, gets one small answer on it and leaves it open.
pub(crate) fn ask_and_hold(to: SocketAddr, path: &str) -> Result<TcpStream, String> {
    let mut stream = connect(to)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n").map_err(|e| format!("write: {e}"))?;
    let mut seen = Vec::new();
    let mut block = [0; 4096];
    loop {
        let got = stream.read(&mut block).map_err(|e| format!("read: {e}"))?;
        if got == 0 {
            return Err("closed".into());
        }
        seen.extend_from_slice(&block[..got]);
        if let Some((head, body)) = split(&seen) {
            let answer = Answer { status: status(head)?, head: head.to_owned(), body: Vec::new() };
            let length = answer.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return if answer.status == 200 { Ok(stream) } else { Err(format!("answers {}", answer.status)) };
            }
        }
    }
}

/// The head and what follows it, once the blank line has come.
pub(crate) fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]))
}

pub(crate) fn status(head: &str) -> Result<u16, String> {
    let line = head.lines().next().unwrap_or_default();
    line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(format!("no status in {line:?}"))
}

fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let (head, rest) = split(bytes).ok_or("no whole answer")?;
    let mut answer = Answer { status: status(head)?, head: head.to_owned(), body: rest.to_vec() };
    if answer.header("transfer-encoding").is_some() {
        answer.body = unchunk(rest).ok_or("broken chunks")?;
    }
    Ok(answer)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let digits = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(digits.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
