//! The chunked coding of request bodies (RFC 9112 section 7.1), read strictly. What leaves here is data alone: the edge
//! frames it anew for hyper, so chunk extensions and trailers end here and cannot be understood in two ways.

use super::octets::is_token;
use super::refusal::{self, Reason};

/// Digits of a chunk size.
const SIZE_DIGITS: u8 = 16;
/// Bytes of extensions in one chunk, and in one body: a client that sends more extension than data burns our time for
/// nothing (CVE-2023-39326).
const EXTENSION_MAX: u32 = 256;
const EXTENSIONS_MAX: u32 = 16 * 1024;
/// Bytes of the trailer section.
const TRAILER_MAX: u32 = 8 * 1024;

/// Reads a chunked body piece by piece.
#[derive(Debug)]
pub(crate) struct Chunks {
    state: State,
    extensions: u32,
    trailer: u32,
}

/// What comes after the framing bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More input is needed.
    More,
    /// So many bytes of data stand here, at least one. Say with [`Chunks::took`] how many were taken.
    Data(usize),
    /// The body ends here.
    End,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { value: u64, length: u32 },
    SizeLf { value: u64 },
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    pub(crate) fn new() -> Chunks {
        Chunks { state: State::Size { value: 0, digits: 0 }, extensions: 0, trailer: 0 }
    }

    /// Reads framing bytes from the front of `input`; returns how many they are and what comes next.
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<(usize, Piece), Reason> {
        let mut at = 0;
        loop {
            match self.state {
                State::End => return Ok((at, Piece::End)),
                State::Data(left) if at < input.len() => {
                    let here = (input.len() - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                    return Ok((at, Piece::Data(here)));
                }
                _ => {}
            }
            let Some(&b) = input.get(at) else {
                return Ok((at, Piece::More));
            };
            self.state = self.step(b)?;
            at += 1;
        }
    }

    /// `n` bytes of the data were taken.
    pub(crate) fn took(&mut self, n: usize) {
        if let State::Data(left) = self.state {
            let left = left.saturating_sub(n as u64);
            self.state = if left == 0 { State::DataCr } else { State::Data(left) };
        }
    }

    /// Whether `input`, the beginning of a body, is malformed whatever may follow.
    pub(crate) fn refuses(mut input: &[u8]) -> bool {
        let mut chunks = Chunks::new();
        loop {
            match chunks.advance(input) {
                Err(_) => return true,
                Ok((_, Piece::More | Piece::End)) => return false,
                Ok((eaten, Piece::Data(here))) => {
                    chunks.took(here);
                    input = &input[eaten + here..];
                }
            }
        }
    }

    fn step(&mut self, b: u8) -> Result<State, Reason> {
        if matches!(self.state, State::TrailerStart | State::TrailerName | State::TrailerValue) {
            self.trailer += 1;
            if self.trailer > TRAILER_MAX {
                return Err(refusal::BAD_CHUNK);
            }
        }
        Ok(match (self.state, b) {
            (State::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < SIZE_DIGITS => {
                let digit = match b {
                    b'0'..=b'9' => b - b'0',
                    _ => (b | 0x20) - b'a' + 10,
                };
                State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(refusal::BAD_CHUNK),
            (State::Size { value, .. }, b'\r') => State::SizeLf { value },
            (State::Size { value, .. }, b';') => State::Extension { value, length: 0 },
            (State::Extension { value, .. }, b'\r') => State::SizeLf { value },
            (State::Extension { value, length }, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extensions += 1;
                if length == EXTENSION_MAX || self.extensions > EXTENSIONS_MAX {
                    return Err(refusal::BAD_CHUNK);
                }
                State::Extension { value, length: length + 1 }
            }
            (State::SizeLf { value: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLf { value }, b'\n') => State::Data(value),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, b) if is_token(b) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerName, b) if is_token(b) => State::TrailerName,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::End,
            _ => return Err(refusal::BAD_CHUNK),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data and the bytes after the body, or `None` if malformed; `Err` if incomplete.
    fn read(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, ()> {
        let (mut chunks, mut data, mut at, mut seen) = (Chunks::new(), Vec::new(), 0, 0);
        loop {
            match chunks.advance(&input[at..seen]) {
                Err(_) => return Ok(None),
                Ok((eaten, piece)) => {
                    at += eaten;
                    match piece {
                        Piece::End => return Ok(Some((data, at))),
                        Piece::Data(n) => {
                            data.extend_from_slice(&input[at..at + n]);
                            chunks.took(n);
                            at += n;
                        }
                        Piece::More if seen == input.len() => return Err(()),
                        Piece::More => seen = (seen + step).min(input.len()),
                    }
                }
            }
        }
    }

    #[test]
    fn bodies() {
        let long = |n: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(n)).into_bytes();
        let trailer = |n: usize| format!("0\r\nA: {}\r\n\r\n", "x".repeat(n)).into_bytes();
        let table: Vec<(Vec<u8>, Option<&[u8]>)> = vec![
            (b"0\r\n\r\n".to_vec(), Some(b"")),
            (b"5\r\nhello\r\n0\r\n\r\n".to_vec(), Some(b"hello")),
            (b"005\r\nhello\r\n000\r\n\r\n".to_vec(), Some(b"hello")),
            (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n".to_vec(), Some(b"01234567890123456789")),
            (b"5;a=b;c=\"d\"\r\nhello\r\n0;x\r\nT: v\r\nU:\r\n\r\n".to_vec(), Some(b"hello")),
            (long(256), Some(b"a")),
            (long(257), None),
            (trailer(8000), Some(b"")),
            (trailer(8200), None),
            (b"\r\n".to_vec(), None),
            (b"0x5\r\nhello\r\n0\r\n\r\n".to_vec(), None),
            (b"+5\r\nhello".to_vec(), None),
            (b"-1\r\n".to_vec(), None),
            (b"5_0\r\n".to_vec(), None),
            (b"5 \r\nhello\r\n0\r\n\r\n".to_vec(), None),
            (b" 5\r\nhello\r\n0\r\n\r\n".to_vec(), None),
            (b"5\nhello\r\n0\r\n\r\n".to_vec(), None),
            (b"5\rXhello\r\n".to_vec(), None),
            (b"5;a\nhello".to_vec(), None),
            (b"5;a\r\r\nhello".to_vec(), None),
            (b"5;\0\r\nhello".to_vec(), None),
            (b"5\r\nhello0\r\n\r\n".to_vec(), None),
            (b"5\r\nhello\n0\r\n\r\n".to_vec(), None),
            (b"5\r\nhello\rX".to_vec(), None),
            (b"00000000000000005\r\nhello\r\n0\r\n\r\n".to_vec(), None),
            (b"0\r\n\n".to_vec(), None),
            (b"0\r\n T: v\r\n\r\n".to_vec(), None),
            (b"0\r\nT : v\r\n\r\n".to_vec(), None),
            (b"0\r\n: v\r\n\r\n".to_vec(), None),
            (b"0\r\nT\r\n\r\n".to_vec(), None),
            (b"0\r\nT: \0\r\n\r\n".to_vec(), None),
            (b"0\r\nT: v\n\r\n".to_vec(), None),
        ];
        for (mut input, expected) in table {
            let length = input.len();
            input.extend_from_slice(b"GET / HTTP/1.1\r\n");
            for step in [1, 2, 3, 7, 64, 100_000] {
                let got = read(&input, step).expect("enough input");
                let show = String::from_utf8_lossy(&input);
                assert_eq!(got.as_ref().map(|(data, _)| &data[..]), expected, "{show:?} by {step}");
                assert!(got.is_none_or(|(_, end)| end == length), "{show:?} by {step}");
            }
            assert_eq!(Chunks::refuses(&input), expected.is_none());
            let undecided = (0..length).find(|&cut| Chunks::refuses(&input[..cut]));
            assert!(expected.is_none() || undecided.is_none(), "a correct body has correct beginnings");
        }
        assert_eq!(read(b"FFFFFFFFFFFFFFFF\r\nx", 1), Err(()));
        let many = "1;abcdefghi\r\nx\r\n".repeat(2000);
        assert_eq!(read(many.as_bytes(), 100_000), Ok(None), "extensions are bounded in all");
    }
}
