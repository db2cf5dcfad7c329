//! Takes the chunks off a body that a script has framed itself; the server puts on its own (conformance: a script's
//! `Transfer-Encoding: chunked` would be framed twice otherwise).

use bytes::{Buf, Bytes, BytesMut};

/// Longest chunk-size line, octets.
const LINE: usize = 256;

/// How far a chunked body has been read.
#[derive(Debug, Default)]
pub(super) struct Dechunk {
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    Done,
}

impl Dechunk {
    /// The next octets of the body out of `buffer`; empty when more input is needed or the body is done.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Bytes, &'static str> {
        loop {
            match &mut self.state {
                State::Done => return Ok(Bytes::new()),
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Bytes::new());
                    }
                    let n = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= n as u64;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok(buffer.split_to(n).freeze());
                }
                State::Size => {
                    let Some(line) = line(buffer)? else { return Ok(Bytes::new()) };
                    let digits = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
                    let size = std::str::from_utf8(digits)
                        .ok()
                        .filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_hexdigit()))
                        .and_then(|d| u64::from_str_radix(d, 16).ok())
                        .ok_or("a chunk size is not a number")?;
                    self.state = if size == 0 { State::Trailer } else { State::Data(size) };
                }
                State::DataEnd => match line(buffer)? {
                    None => return Ok(Bytes::new()),
                    Some(line) if line.is_empty() => self.state = State::Size,
                    Some(_) => return Err("a chunk is longer than its size"),
                },
                State::Trailer => match line(buffer)? {
                    None => return Ok(Bytes::new()),
                    Some(line) if line.is_empty() => self.state = State::Done,
                    Some(_) => {}
                },
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

fn line(buffer: &mut BytesMut) -> Result<Option<Bytes>, &'static str> {
    let Some(end) = buffer.iter().take(LINE).position(|&b| b == b'\n') else {
        return if buffer.len() >= LINE { Err("a chunk-size line is too long") } else { Ok(None) };
    };
    let mut line = buffer.split_to(end).freeze();
    buffer.advance(1);
    if line.ends_with(b"\r") {
        line.truncate(line.len() - 1);
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str, step: usize) -> Result<(String, bool), &'static str> {
        let (mut dechunk, mut buffer, mut out) = (Dechunk::default(), BytesMut::new(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                let data = dechunk.take(&mut buffer)?;
                if data.is_empty() {
                    break;
                }
                out.extend_from_slice(&data);
            }
        }
        Ok((String::from_utf8(out).unwrap(), dechunk.is_done()))
    }

    #[test]
    fn chunks_come_off_in_whatever_pieces() {
        for step in 1..20 {
            assert_eq!(whole("3\r\nabc\r\n2;x=y\nde\n0\r\nT: x\r\n\r\n", step), Ok(("abcde".into(), true)));
            assert_eq!(whole("3\r\nab", step), Ok(("ab".into(), false)));
            assert!(whole("zz\r\n", step).is_err());
            assert!(whole("2\r\nabc\r\n", step).is_err());
            assert!(whole("11111111111111111\r\n", step).is_err());
        }
    }
}
