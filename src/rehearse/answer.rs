//! The answer as a client reads it.

use std::io;

/// Fields that are read of an answer.
const FIELDS: usize = 1100;

/// An answer, unframed. The default is none at all.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its reason phrase.
    pub reason: String,
    /// Its fields, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether all of it came.
    pub complete: bool,
}

impl Answer {
    /// Reads the octets of a connection that was closed behind its answer; interim answers are passed over.
    ///
    /// # Errors
    /// They are no answer.
    pub fn parse(mut bytes: &[u8], to_head: bool) -> io::Result<Self> {
        loop {
            let mut fields = vec![httparse::EMPTY_HEADER; FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            let parsed = response.parse(bytes).map_err(io::Error::other)?;
            let httparse::Status::Complete(length) = parsed else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up without an answer"));
            };
            let status = response.code.unwrap_or_default();
            let reason = response.reason.unwrap_or_default().to_owned();
            let fields: Vec<_> = response.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
            bytes = &bytes[length..];
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = Self { status, reason, fields, body: Vec::new(), complete: true };
            if !to_head && !matches!(status, 204 | 304) {
                answer.take_body(bytes);
            }
            return Ok(answer);
        }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    fn take_body(&mut self, bytes: &[u8]) {
        if self.field("transfer-encoding").is_some() {
            (self.body, self.complete) = unchunk(bytes);
            return;
        }
        let length = self.field("content-length").and_then(|v| std::str::from_utf8(v).ok()?.parse::<usize>().ok());
        self.complete = length.is_none_or(|length| bytes.len() == length);
        self.body = bytes.to_vec();
    }
}

/// Takes the chunks off; whether the last one was there.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(bytes) else {
            return (body, false);
        };
        if size == 0 {
            return (body, true);
        }
        let rest = &bytes[at..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        body.extend_from_slice(&rest[..rest.len().min(size)]);
        let Some(next) = rest.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")) else { return (body, false) };
        bytes = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not() {
        for (bytes, body, complete) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "ab", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "ab", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "ab", false),
            ("HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.0 200 OK\r\n\r\nab", "ab", true),
            ("HTTP/1.1 204 No\r\n\r\n", "", true),
        ] {
            let answer = Answer::parse(bytes.as_bytes(), false).unwrap();
            assert_eq!((answer.body.as_slice(), answer.complete), (body.as_bytes(), complete), "{bytes:?}");
        }
        assert!(Answer::parse(b"HTTP/1.1 200", false).is_err());
    }
}
