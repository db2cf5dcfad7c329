//! How messages and the octets on a script's pipes relate. Pure: octets in, octets out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Deserialize;

use super::farewell::End;

/// Octets before each message in the `length` framing: four of length, big-endian, not counting themselves, then one
/// of type, `t` or `b`.
const PREFIX: usize = 5;

/// How messages and octets on the script's pipes relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line is a message.
    Line,
    /// Octets as they come.
    Binary,
    /// Four octets of length, big-endian, and one of type before each message.
    Length,
    /// One JSON object a line.
    Json,
}

impl Framing {
    /// The framing called `word` in the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "line" => Self::Line,
            "binary" => Self::Binary,
            "length" => Self::Length,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

/// A message. Text that a client sent is UTF-8; text of a script need not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) text: bool,
    pub(super) octets: Bytes,
}

/// What stands before and behind a message's own octets on the script's standard input, or all of it.
pub(super) enum Framed {
    /// The octets as they are, between these two.
    Around(Bytes, &'static [u8]),
    /// This instead.
    Whole(String),
}

impl Framing {
    /// What goes to the script for a message of the client. In the `line` framing a message that holds line ends
    /// becomes several lines, as websocketd has it; whoever minds uses `length` or `json`.
    pub(super) fn to_script(self, data: &Data) -> Framed {
        match self {
            Self::Line => Framed::Around(Bytes::new(), b"\n"),
            Self::Binary => Framed::Around(Bytes::new(), b""),
            Self::Length => {
                let mut prefix = BytesMut::with_capacity(PREFIX);
                // A message is never over max-message, which is kept below 4 GiB.
                prefix.put_u32(u32::try_from(data.octets.len()).unwrap_or(u32::MAX));
                prefix.put_u8(if data.text { b't' } else { b'b' });
                Framed::Around(prefix.freeze(), b"")
            }
            Self::Json => {
                let (kind, text) = if data.text {
                    ("text", String::from_utf8_lossy(&data.octets).into_owned())
                } else {
                    ("binary", STANDARD.encode(&data.octets))
                };
                let mut line = serde_json::json!({ "type": kind, "data": text }).to_string();
                line.push('\n');
                Framed::Whole(line)
            }
        }
    }
}

/// What a script says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Message(Data),
    Close(u16, String),
}

/// Takes messages out of a script's output.
pub(super) struct Unframer {
    framing: Framing,
    max: usize,
    /// How much of the buffer holds no line end, so that a long line is looked through once.
    scanned: usize,
}

impl Unframer {
    pub(super) fn new(framing: Framing, max: usize) -> Self {
        Self { framing, max, scanned: 0 }
    }

    /// The next message in `buffer`; `None` if more octets are needed. With `last` there will be none, and a line that
    /// was not ended is a message all the same.
    pub(super) fn next(&mut self, buffer: &mut BytesMut, last: bool) -> Result<Option<Said>, End> {
        match self.framing {
            Framing::Line => Ok(self.line(buffer, last)?.map(|octets| Said::Message(Data { text: true, octets }))),
            Framing::Binary if buffer.is_empty() => Ok(None),
            Framing::Binary => {
                let octets = buffer.split_to(buffer.len().min(self.max)).freeze();
                Ok(Some(Said::Message(Data { text: false, octets })))
            }
            Framing::Length => self.counted(buffer, last),
            Framing::Json => self.line(buffer, last)?.map(|line| object(&line)).transpose(),
        }
    }

    pub(super) fn line(&mut self, buffer: &mut BytesMut, last: bool) -> Result<Option<Bytes>, End> {
        let fresh = &buffer[self.scanned..];
        let line = match fresh.iter().position(|&b| b == b'\n') {
            Some(at) => {
                let end = self.scanned + at;
                let line = buffer.split_to(end).freeze();
                buffer.advance(1);
                if line.last() == Some(&b'\r') { line.slice(..end - 1) } else { line }
            }
            None if last && !buffer.is_empty() => buffer.split().freeze(),
            None => {
                self.scanned = buffer.len();
                if self.scanned > self.max {
                    return Err(End::BadOutput("line over max-message"));
                }
                return Ok(None);
            }
        };
        self.scanned = 0;
        if line.len() > self.max { Err(End::BadOutput("line over max-message")) } else { Ok(Some(line)) }
    }

    fn counted(&self, buffer: &mut BytesMut, last: bool) -> Result<Option<Said>, End> {
        let Some(prefix) = buffer.get(..PREFIX) else {
            return if last && !buffer.is_empty() { Err(End::BadOutput("half a message")) } else { Ok(None) };
        };
        let length = prefix.iter().take(4).fold(0usize, |sum, &b| sum << 8 | usize::from(b));
        let text = match prefix[4] {
            b't' => true,
            b'b' => false,
            _ => return Err(End::BadOutput("message of unknown type")),
        };
        if length > self.max {
            return Err(End::BadOutput("message over max-message"));
        }
        if buffer.len() < PREFIX + length {
            return if last { Err(End::BadOutput("half a message")) } else { Ok(None) };
        }
        buffer.advance(PREFIX);
        Ok(Some(Said::Message(Data { text, octets: buffer.split_to(length).freeze() })))
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Object {
    Text { data: String },
    Binary { data: String },
    Close { code: Option<u16>, reason: Option<String> },
}

fn object(line: &[u8]) -> Result<Said, End> {
    let bad = End::BadOutput("line that is not a JSON message");
    match serde_json::from_slice(line) {
        Ok(Object::Text { data }) => Ok(Said::Message(Data { text: true, octets: data.into() })),
        Ok(Object::Binary { data }) => {
            let octets = STANDARD.decode(data).map_err(|_| bad)?.into();
            Ok(Said::Message(Data { text: false, octets }))
        }
        Ok(Object::Close { code, reason }) => Ok(Said::Close(code.unwrap_or(1000), reason.unwrap_or_default())),
        Err(_) => Err(bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `output` in pieces of `step` octets and collects what comes out.
    fn said(framing: Framing, max: usize, output: &[u8], step: usize) -> Result<Vec<Said>, End> {
        let mut unframer = Unframer::new(framing, max);
        let (mut buffer, mut all) = (BytesMut::new(), Vec::new());
        for piece in output.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(one) = unframer.next(&mut buffer, false)? {
                all.push(one);
            }
        }
        while let Some(one) = unframer.next(&mut buffer, true)? {
            all.push(one);
        }
        Ok(all)
    }

    fn text(octets: &'static [u8]) -> Said {
        Said::Message(Data { text: true, octets: octets.into() })
    }

    #[test]
    fn lines_in_any_pieces() {
        for step in 1..10 {
            let got = said(Framing::Line, 8, b"a\r\n\nb\rc\n\0\xff\nlast", step).unwrap();
            assert_eq!(got, [text(b"a"), text(b""), text(b"b\rc"), text(b"\0\xff"), text(b"last")], "{step}");
            assert_eq!(said(Framing::Line, 3, b"abcd\n", step), Err(End::BadOutput("line over max-message")));
            assert_eq!(said(Framing::Line, 3, b"abcde", step), Err(End::BadOutput("line over max-message")));
        }
    }

    #[test]
    fn counted_messages_in_any_pieces() {
        let binary = |octets: &'static [u8]| Said::Message(Data { text: false, octets: octets.into() });
        for step in 1..10 {
            let got = said(Framing::Length, 8, b"\0\0\0\x02ta\n\0\0\0\0b\0\0\0\x01b\xff", step).unwrap();
            assert_eq!(got, [text(b"a\n"), binary(b""), binary(b"\xff")], "{step}");
        }
        for (output, why) in [
            (&b"\0\0\0\x09t"[..], "message over max-message"),
            (b"\xff\xff\xff\xfft", "message over max-message"),
            (b"\0\0\0\x01x", "message of unknown type"),
            (b"\0\0\0\x02ta", "half a message"),
            (b"\0\0", "half a message"),
        ] {
            assert_eq!(said(Framing::Length, 8, output, 100), Err(End::BadOutput(why)));
        }
    }

    #[test]
    fn objects() {
        let lines = br#"{"type":"text","data":"a\nb"}
{"data":"AP8=","type":"binary"}
{"type":"close","code":4001,"reason":"r"}
{"type":"close"}
"#;
        let got = said(Framing::Json, 1000, lines, 7).unwrap();
        let binary = Said::Message(Data { text: false, octets: (&b"\0\xff"[..]).into() });
        assert_eq!(got, [text(b"a\nb"), binary, Said::Close(4001, "r".into()), Said::Close(1000, String::new())]);
        for wrong in [&b"x\n"[..], b"{}\n", b"{\"type\":\"binary\",\"data\":\"?\"}\n", b"\n"] {
            assert!(said(Framing::Json, 1000, wrong, 100).is_err(), "{wrong:?}");
        }
    }
}
