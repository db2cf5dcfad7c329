//! The head of a request, RFC 9112 sections 2 to 6, as one pure function over bytes.
//!
//! Every rule here is as strict as the RFC allows, because whatever two readers of the same bytes could understand
//! differently is a way to smuggle a request past one of them. Faults are found strictly from left to right, each at the
//! end of the line that holds it, and those that lie between lines at the end of the head, so that the verdict does not
//! depend on how the bytes were cut into packets.

use bytes::{Bytes, BytesMut};

use super::exchange::RawTarget;
use super::limits::Limits;
use super::octets::{IN_TARGET, ODD_IN_TARGET, TARGET, is_token, value_end};
use super::refusal::{self, Reason};
use super::target::{self, Form};

/// Empty lines before a request line that are skipped (RFC 9112 section 2.2 asks for at least one).
const LEADING_LINES: usize = 4;
/// Longest method, in bytes. The longest registered one has 17.
const METHOD_MAX: usize = 32;
/// Bytes of a version with its line end that decide it: `HTTP/1.1\r\n` has ten, the rest is room for a better answer.
const VERSION_WINDOW: usize = 16;

/// What a run of bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// So far a correct beginning of a head.
    Incomplete,
    /// A whole head; bytes after it may be there.
    Head(Head),
    /// Not a head, whatever may follow.
    Refused(Reason),
}

/// Where a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// With the head.
    Empty,
    /// So many bytes after the head.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// A head that was found correct, as offsets into the scanned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Empty lines before it, in bytes.
    pub(crate) start: usize,
    /// Where it ends, its empty line included.
    pub(crate) end: usize,
    pub(crate) framing: Framing,
    pub(crate) http10: bool,
    /// May hyper read the bytes from `start` to `end` as they are?
    pub(crate) verbatim: bool,
    method_end: usize,
    target: Span,
    form: Form,
    odd: bool,
    line_end: usize,
    host_line: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: usize,
    to: usize,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.from..self.to]
    }
}

/// Reads one head from the front of `bytes`.
pub(crate) fn scan(bytes: &[u8], limits: &Limits) -> Scan {
    let window = bytes.len().min(limits.head);
    match read(&bytes[..window], limits) {
        Ok(head) => Scan::Head(head),
        Err(Stop::Incomplete) if window == limits.head => Scan::Refused(refusal::LARGE_HEAD),
        Err(Stop::Incomplete) => Scan::Incomplete,
        Err(Stop::Refused(reason)) => Scan::Refused(reason),
    }
}

impl Head {
    /// Where the target stands.
    pub(crate) fn target_range(&self) -> std::ops::Range<usize> {
        self.target.from..self.target.to
    }

    /// Writes the head that hyper shall see instead of `bytes`, and returns the origin form exactly as the client wrote
    /// it if hyper sees another.
    pub(crate) fn put_canonical(&self, bytes: &[u8], to: &mut BytesMut) -> RawTarget {
        let target = self.target.of(bytes);
        let mut raw = BytesMut::with_capacity(target.len() + 1);
        match self.form {
            Form::Origin | Form::Asterisk => raw.extend_from_slice(target),
            Form::Relative => {
                raw.extend_from_slice(b"/");
                raw.extend_from_slice(target);
            }
            Form::Absolute { path, .. } => {
                let path = &target[path..];
                if path.is_empty() && &bytes[self.start..self.method_end] == b"OPTIONS" {
                    raw.extend_from_slice(b"*"); // RFC 9112 section 3.2.4
                } else {
                    if path.first() != Some(&b'/') {
                        raw.extend_from_slice(b"/");
                    }
                    raw.extend_from_slice(path);
                }
            }
        }
        to.extend_from_slice(&bytes[self.start..self.method_end + 1]);
        target::put_twin(&raw, to);
        to.extend_from_slice(if self.http10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
        match (self.form, self.host_line) {
            (Form::Absolute { authority, path }, host_line) => {
                to.extend_from_slice(b"Host: ");
                to.extend_from_slice(&target[authority..path]);
                to.extend_from_slice(b"\r\n");
                let hole = host_line.unwrap_or(Span { from: self.line_end, to: self.line_end });
                to.extend_from_slice(&bytes[self.line_end..hole.from]);
                to.extend_from_slice(&bytes[hole.to..self.end]);
            }
            _ => to.extend_from_slice(&bytes[self.line_end..self.end]),
        }
        let other_form = matches!(self.form, Form::Relative | Form::Absolute { .. });
        RawTarget::new(self.odd.then(|| raw.freeze()), other_form.then(|| Bytes::copy_from_slice(target)))
    }
}

enum Stop {
    Incomplete,
    Refused(Reason),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Stop {
        Stop::Refused(reason)
    }
}

/// The fields that the edge itself must understand.
#[derive(Default)]
struct Known {
    host_line: Option<Span>,
    host: Option<Span>,
    hosts: usize,
    length: Option<u64>,
    encoding: Option<Span>,
    encodings: usize,
    types: usize,
    bad_expect: bool,
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Head, Stop> {
    let start = skip_empty_lines(bytes)?;
    let method_end = read_method(bytes, start)?;
    if matches!(&bytes[start..method_end], b"CONNECT" | b"TRACE") {
        return Err(refusal::METHOD_REFUSED.into());
    }
    let line_max = start.saturating_add(limits.request_line);
    let (target, odd) = read_target(bytes, method_end + 1, line_max)?;
    let (http10, line_end) = read_version(bytes, target.to + 1)?;
    if line_end > line_max {
        return Err(refusal::LONG_TARGET.into());
    }

    let mut known = Known::default();
    let mut fields = 0;
    let mut at = line_end;
    let end = loop {
        match bytes.get(at) {
            None => return Err(Stop::Incomplete),
            Some(b'\r') => break read_line_end(bytes, at)?,
            Some(b'\n') => return Err(refusal::BAD_LINE_END.into()),
            Some(b' ' | b'\t') => return Err(refusal::FOLDED_FIELD.into()),
            Some(_) => {}
        }
        fields += 1;
        if fields > limits.fields {
            return Err(refusal::MANY_FIELDS.into());
        }
        at = read_field(bytes, at, limits, &mut known)?;
    };

    let form = target::form(target.of(bytes));
    check_host(bytes, &known, http10, target, form)?;
    let framing = framing(bytes, &known, http10)?;
    if known.bad_expect {
        return Err(refusal::BAD_EXPECT.into());
    }
    match form {
        Form::Relative if !limits.add_slash => return Err(refusal::BAD_TARGET.into()),
        Form::Asterisk if &bytes[start..method_end] != b"OPTIONS" => {
            return Err(refusal::BAD_TARGET.into());
        }
        Form::Absolute { .. } if known.hosts == 0 && fields == limits.fields => {
            return Err(refusal::MANY_FIELDS.into());
        }
        _ => {}
    }
    let verbatim = start == 0 && !odd && matches!(form, Form::Origin | Form::Asterisk);
    let host_line = known.host_line;
    Ok(Head { start, end, framing, http10, verbatim, method_end, target, form, odd, line_end, host_line })
}

fn skip_empty_lines(bytes: &[u8]) -> Result<usize, Stop> {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::Incomplete),
            Some(b'\r') if at == 2 * LEADING_LINES => return Err(refusal::BAD_REQUEST_LINE.into()),
            Some(b'\r') => at = read_line_end(bytes, at)?,
            Some(b'\n') => return Err(refusal::BAD_LINE_END.into()),
            Some(_) => return Ok(at),
        }
    }
}

/// `at` is where a CR stands; what follows must be LF.
fn read_line_end(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match bytes.get(at + 1) {
        None => Err(Stop::Incomplete),
        Some(b'\n') => Ok(at + 2),
        Some(_) => Err(refusal::BAD_LINE_END.into()),
    }
}

fn read_method(bytes: &[u8], start: usize) -> Result<usize, Stop> {
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::Incomplete),
            Some(b' ') if at > start => return Ok(at),
            Some(b'\r' | b'\n') => return Err(refusal::BAD_REQUEST_LINE.into()),
            Some(&b) if !is_token(b) => return Err(refusal::BAD_METHOD.into()),
            Some(_) if at - start == METHOD_MAX => return Err(refusal::LONG_METHOD.into()),
            Some(_) => at += 1,
        }
    }
}

fn read_target(bytes: &[u8], from: usize, line_max: usize) -> Result<(Span, bool), Stop> {
    let mut odd = false;
    let mut at = from;
    loop {
        let Some(&b) = bytes.get(at) else {
            return Err(Stop::Incomplete);
        };
        if at >= line_max {
            return Err(refusal::LONG_TARGET.into());
        }
        match TARGET[usize::from(b)] {
            IN_TARGET => {}
            ODD_IN_TARGET => odd = true,
            _ => match b {
                b' ' if at > from => return Ok((Span { from, to: at }, odd)),
                b' ' | b'\r' | b'\n' => return Err(refusal::BAD_REQUEST_LINE.into()), // two blanks, or HTTP/0.9
                _ => return Err(refusal::BAD_TARGET.into()),
            },
        }
        at += 1;
    }
}

/// Returns whether the version is 1.0, and where the line ends. HTTP/1.2 and above are refused although RFC 9110 section
/// 2.5 would let us read them as 1.1: nobody sends them but programs that look for two readers that disagree.
fn read_version(bytes: &[u8], from: usize) -> Result<(bool, usize), Stop> {
    let rest = &bytes[from..];
    match rest.first_chunk::<10>() {
        Some(b"HTTP/1.1\r\n") => return Ok((false, from + 10)),
        Some(b"HTTP/1.0\r\n") => return Ok((true, from + 10)),
        _ => {}
    }
    let window = &rest[..rest.len().min(VERSION_WINDOW)];
    let Some(line_feed) = window.iter().position(|&b| b == b'\n') else {
        let whole = window.len() == VERSION_WINDOW;
        return Err(if whole { refusal::BAD_REQUEST_LINE.into() } else { Stop::Incomplete });
    };
    Err(match window[..line_feed] {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', b'\r'] => refusal::UNKNOWN_VERSION.into(),
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9', b'\r'] => refusal::UNKNOWN_VERSION.into(),
        [.., b'\r'] => refusal::BAD_VERSION.into(),
        _ => refusal::BAD_LINE_END.into(),
    })
}

/// Reads one header line and returns where the next begins.
fn read_field(bytes: &[u8], from: usize, limits: &Limits, known: &mut Known) -> Result<usize, Stop> {
    let window = bytes.len().min(from.saturating_add(limits.field_line));
    let bytes_left = if window < bytes.len() { Stop::Refused(refusal::LARGE_HEAD) } else { Stop::Incomplete };
    let mut colon = from;
    while colon < window && is_token(bytes[colon]) {
        colon += 1;
    }
    if colon == window {
        return Err(bytes_left);
    }
    if bytes[colon] != b':' || colon == from {
        return Err(refusal::BAD_FIELD.into());
    }
    let at = value_end(&bytes[..window], colon + 1);
    if at == window || (bytes[at] == b'\r' && at + 1 == window) {
        return Err(bytes_left);
    }
    match bytes[at] {
        b'\r' | b'\n' if bytes[at] == b'\n' || bytes[at + 1] != b'\n' => {
            return Err(refusal::BAD_LINE_END.into());
        }
        b'\r' => {}
        _ => return Err(refusal::BAD_FIELD.into()),
    }
    let next = at + 2;
    let value = || trim(bytes, Span { from: colon + 1, to: at });
    let name = &bytes[from..colon];
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            known.hosts += 1;
            known.host_line = Some(Span { from, to: next });
            known.host = Some(value());
        }
        6 if name.eq_ignore_ascii_case(b"expect") => {
            known.bad_expect |= !value().of(bytes).eq_ignore_ascii_case(b"100-continue");
        }
        // RFC 9110 section 8.3: of two, one reader takes the first, another the last; a filter in front and the script
        // behind it would see different bodies.
        12 if name.eq_ignore_ascii_case(b"content-type") => {
            known.types += 1;
            if known.types > 1 {
                return Err(refusal::TWO_TYPES.into());
            }
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            let length = content_length(value().of(bytes)).filter(|_| known.length.is_none());
            known.length = Some(length.ok_or(refusal::BAD_LENGTH)?);
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            known.encodings += 1;
            known.encoding = Some(value());
        }
        _ => {}
    }
    Ok(next)
}

fn check_host(bytes: &[u8], known: &Known, http10: bool, target: Span, form: Form) -> Result<(), Reason> {
    if known.hosts > 1 {
        return Err(refusal::BAD_HOST);
    }
    if known.hosts == 0 && !http10 {
        return Err(refusal::NO_HOST);
    }
    let in_target = match form {
        Form::Absolute { authority, path } => Some(&target.of(bytes)[authority..path]),
        _ => None,
    };
    if in_target.is_some_and(|authority| !target::is_authority(authority)) {
        return Err(refusal::BAD_HOST);
    }
    match known.host.map(|span| span.of(bytes)) {
        None => Ok(()),
        Some(b"") if in_target.is_some() => Ok(()),
        Some(host) if target::is_authority(host) => Ok(()),
        Some(_) => Err(refusal::BAD_HOST),
    }
}

/// RFC 9112 section 6.3, without its lenient halves.
fn framing(bytes: &[u8], known: &Known, http10: bool) -> Result<Framing, Reason> {
    if known.encodings > 0 && known.length.is_some() {
        return Err(refusal::TWO_LENGTHS);
    }
    if let Some(encoding) = known.encoding {
        let encoding = encoding.of(bytes);
        if known.encodings > 1 || http10 || encoding.is_empty() || !encoding.iter().all(|&b| is_token(b)) {
            return Err(refusal::BAD_ENCODING);
        }
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            return Err(refusal::UNKNOWN_ENCODING);
        }
        return Ok(Framing::Chunked);
    }
    Ok(match known.length {
        None | Some(0) => Framing::Empty,
        Some(length) => Framing::Length(length),
    })
}

/// Digits alone; nineteen cannot overflow 64 bits.
fn content_length(digits: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = digits.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
    (length <= i64::MAX.unsigned_abs()).then_some(length)
}

fn trim(bytes: &[u8], span: Span) -> Span {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let text = span.of(bytes);
    let front = text.iter().take_while(|b| blank(b)).count();
    let back = text[front..].iter().rev().take_while(|b| blank(b)).count();
    Span { from: span.from + front, to: span.to - back }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
