//! The only decoder of request paths.
//!
//! A [`UrlPath`] is proof that a path was split into segments first and decoded once afterwards, that it does not
//! climb above the root and that it holds nothing a file name or an environment variable could not hold.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A decoded, normalised, absolute URL path.
///
/// Invariants: starts with `/`; no `.` or `..` segment, not even one made by an encoded slash; no empty segment
/// but the last; no NUL, CR or LF. Other octets are as the client sent them, valid UTF-8 or not.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlPath {
    bytes: Vec<u8>,
    /// Where in `bytes` a `/` stands that the client wrote as `%2F`. Such a slash never chooses a file.
    encoded_slashes: Vec<usize>,
}

/// Why a request path was refused; each is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// The target does not begin with `/`.
    NotAbsolute,
    /// `%` not followed by two hexadecimal digits.
    BrokenEscape,
    /// `%00`, `%0A` or `%0D`: an environment variable cannot hold the first, and nothing honest uses the others
    /// (CVE-2019-11043, CVE-2019-16278).
    ControlByte,
    /// More `..` than there are segments above (CVE-2021-41773 and its many ancestors).
    AboveRoot,
    /// A `.` or `..` beside an encoded slash: only an attack writes it, and PATH_TRANSLATED must not carry it.
    DotsBehindEncodedSlash,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the request target does not begin with '/'",
            Self::BrokenEscape => "the path holds a '%' without two hexadecimal digits behind it",
            Self::ControlByte => "the path holds an encoded NUL, CR or LF",
            Self::AboveRoot => "the path climbs above the root",
            Self::DotsBehindEncodedSlash => "the path holds '.' or '..' beside an encoded slash",
        })
    }
}

/// How a path is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escapes {
    /// Segments first, decoded after; whatever is not plain is an error.
    #[default]
    Strict,
    /// As Python's server reads it: decoded first, `%2F` included; a broken escape stands for itself, control octets
    /// but NUL too, and `..` stops at the root.
    Python,
}

/// One segment of a [`UrlPath`], with where it ends in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The decoded octets; may hold `/` where the client wrote `%2F`.
    pub bytes: &'a [u8],
    /// Offset in [`UrlPath::as_bytes`] just behind the segment.
    pub end: usize,
    /// Whether the segment may name a file: it holds no encoded slash.
    pub may_name_file: bool,
}

impl UrlPath {
    /// Parses the path of an origin-form request target, without its query.
    pub fn parse(raw: &[u8], escapes: Escapes) -> Result<Self, PathError> {
        if raw.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        if escapes == Escapes::Python {
            return Self::parse_python(raw);
        }
        let mut bytes = Vec::with_capacity(raw.len() + 1);
        let mut encoded_slashes = Vec::new();
        let mut ends_in_slash = true;
        for segment in raw[1..].split(|&b| b == b'/') {
            let start = bytes.len();
            bytes.push(b'/');
            decode_segment(segment, &mut bytes, &mut encoded_slashes)?;
            let decoded = &bytes[start + 1..];
            ends_in_slash = matches!(decoded, b"" | b"." | b"..");
            match decoded {
                b"" | b"." => bytes.truncate(start),
                b".." => {
                    bytes.truncate(start);
                    let parent = last_true_slash(&bytes, &encoded_slashes).ok_or(PathError::AboveRoot)?;
                    bytes.truncate(parent);
                    encoded_slashes.retain(|&at| at < parent);
                }
                _ => {}
            }
        }
        if ends_in_slash {
            bytes.push(b'/');
        }
        Ok(Self { bytes, encoded_slashes })
    }

    fn parse_python(raw: &[u8]) -> Result<Self, PathError> {
        // A broken escape is left as it is, which is what Python's unquote does.
        let decoded = without_surrogates(percent_encoding::percent_decode(raw).collect());
        if decoded.contains(&0) {
            return Err(PathError::ControlByte);
        }
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in decoded.split(|&b| b == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                _ => segments.push(segment),
            }
        }
        let folder = matches!(decoded.rsplit(|&b| b == b'/').next(), Some(b"" | b"." | b".."));
        let mut bytes = segments.iter().fold(Vec::new(), |mut all, segment| {
            all.push(b'/');
            all.extend_from_slice(segment);
            all
        });
        if folder || bytes.is_empty() {
            bytes.push(b'/');
        }
        Ok(Self { bytes, encoded_slashes: Vec::new() })
    }

    /// The decoded path: SCRIPT_NAME + PATH_INFO of RFC 3875 §3.3.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the client asked for a folder.
    pub fn ends_with_slash(&self) -> bool {
        self.bytes.ends_with(b"/") && self.encoded_slashes.last() != Some(&(self.bytes.len() - 1))
    }

    /// The segments behind the first `from` octets (a prefix that a route matched). An empty last segment, that
    /// of a path ending in `/`, is not among them.
    pub fn segments(&self, from: usize) -> impl Iterator<Item = Segment<'_>> {
        let mut at = from.min(self.bytes.len());
        if self.bytes.get(at) == Some(&b'/') {
            at += 1;
        }
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let mut end = at;
            let mut may_name_file = true;
            while end < self.bytes.len() {
                if self.bytes[end] == b'/' {
                    if !self.encoded_slashes.contains(&end) {
                        break;
                    }
                    may_name_file = false;
                }
                end += 1;
            }
            let segment = Segment { bytes: &self.bytes[at..end], end, may_name_file };
            at = end + 1;
            Some(segment)
        })
    }

    /// The path below the first `from` octets as a relative file name (`""` for the folder itself), or `None`
    /// where an encoded slash would have to choose a file. A slash at the end is kept.
    pub fn relative(&self, from: usize) -> Option<&OsStr> {
        let mut from = from.min(self.bytes.len());
        if self.bytes.get(from) == Some(&b'/') {
            from += 1;
        }
        let encoded = self.encoded_slashes.iter().any(|&at| at >= from);
        (!encoded).then(|| OsStr::from_bytes(&self.bytes[from..]))
    }
}

impl fmt::Debug for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlPath({:?})", String::from_utf8_lossy(&self.bytes))
    }
}

/// Octets that are not UTF-8 as Python writes them in its listings, U+DC80 to U+DCFF, turned back into what they are.
fn without_surrogates(decoded: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(decoded.len());
    let mut rest = decoded.as_slice();
    while let Some((&first, tail)) = rest.split_first() {
        if let [0xed, second @ 0xb2..=0xb3, third @ 0x80..=0xbf, behind @ ..] = rest {
            bytes.push((second & 0x03) << 6 | third & 0x3f);
            rest = behind;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    bytes
}

/// Appends the decoded `segment` to `bytes`, noting encoded slashes.
fn decode_segment(segment: &[u8], bytes: &mut Vec<u8>, encoded_slashes: &mut Vec<usize>) -> Result<(), PathError> {
    let start = bytes.len();
    let first_slash = encoded_slashes.len();
    let mut rest = segment;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let decoded = if byte == b'%' {
            match (tail.first().and_then(hex), tail.get(1).and_then(hex)) {
                (Some(high), Some(low)) => {
                    rest = &tail[2..];
                    high << 4 | low
                }
                _ => return Err(PathError::BrokenEscape),
            }
        } else {
            byte
        };
        match decoded {
            0 | b'\r' | b'\n' => return Err(PathError::ControlByte),
            b'/' => encoded_slashes.push(bytes.len()),
            _ => {}
        }
        bytes.push(decoded);
    }
    let has_slash = encoded_slashes.len() > first_slash;
    if has_slash && bytes[start..].split(|&b| b == b'/').any(|piece| matches!(piece, b"." | b"..")) {
        return Err(PathError::DotsBehindEncodedSlash);
    }
    Ok(())
}

fn last_true_slash(bytes: &[u8], encoded_slashes: &[usize]) -> Option<usize> {
    (0..bytes.len()).rev().find(|at| bytes[*at] == b'/' && !encoded_slashes.contains(at))
}

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<String, PathError> {
        UrlPath::parse(raw.as_bytes(), Escapes::Strict).map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned())
    }

    #[test]
    fn paths_collapse_as_python_published() {
        for (raw, collapsed) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/b/c/../d", "/a/b/d"),
            ("/a/b/c/..", "/a/b/"),
            ("/a/b/c/.", "/a/b/c/"),
            ("//a//b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a//", "/a/"),
            ("/./a", "/a"),
            ("/%61%2e%2E/x", "/a../x"),
            ("/a/%2e%2e/b", "/b"),
            ("/a+b%20c", "/a+b c"),
            ("/%252e%252e/x", "/%2e%2e/x"),
            ("/a%2Fb", "/a/b"),
            ("/a\\..\\b", "/a\\..\\b"),
        ] {
            assert_eq!(parse(raw).as_deref(), Ok(collapsed), "{raw}");
        }
    }

    #[test]
    fn attacks_are_refused() {
        for (raw, why) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/etc", PathError::AboveRoot),
            ("/a/.%2e/.%2e/etc", PathError::AboveRoot),
            ("/a%00b", PathError::ControlByte),
            ("/a%0d%0ab", PathError::ControlByte),
            ("/%zz", PathError::BrokenEscape),
            ("/%2", PathError::BrokenEscape),
            ("/%", PathError::BrokenEscape),
            ("/%%32%65", PathError::BrokenEscape),
            ("/a/..%2f..%2fetc", PathError::DotsBehindEncodedSlash),
            ("/a/%2e%2e%2fetc", PathError::DotsBehindEncodedSlash),
            ("/a%2f.", PathError::DotsBehindEncodedSlash),
        ] {
            assert_eq!(parse(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn an_encoded_slash_never_chooses_a_file() {
        let path = UrlPath::parse(b"/cgi-bin%2fsub%2Ffile/x", Escapes::Strict).unwrap();
        assert_eq!(path.as_bytes(), b"/cgi-bin/sub/file/x");
        let seen: Vec<_> = path.segments(9).map(|s| (s.bytes, s.may_name_file)).collect();
        assert_eq!(seen, [(&b"sub/file"[..], false), (b"x", true)]);
        assert_eq!(path.relative(9), None);
        assert_eq!(path.relative(18), Some(OsStr::new("x")));
    }

    #[test]
    fn segments_say_where_they_end() {
        let path = UrlPath::parse(b"/cgi-bin/a/b/", Escapes::Strict).unwrap();
        let seen: Vec<_> = path.segments(9).map(|s| (s.bytes, s.end)).collect();
        assert_eq!(seen, [(&b"a"[..], 10), (b"b", 12)]);
        assert!(path.ends_with_slash());
        assert!(!UrlPath::parse(b"/a%2f", Escapes::Strict).unwrap().ends_with_slash());
    }

    #[test]
    fn pythons_habits_when_asked() {
        for (raw, read) in [
            ("/%zz%2", "/%zz%2"),
            ("/../../a", "/a"),
            ("/a%2f..%2Fb/", "/b/"),
            ("/x/..%2f../%0a%0d/../y", "/y"),
            ("/..", "/"),
        ] {
            let path = UrlPath::parse(raw.as_bytes(), Escapes::Python).unwrap();
            assert_eq!(path.as_bytes(), read.as_bytes(), "{raw}");
        }
        let surrogate = UrlPath::parse(b"/%40%ED%B3%A7%ED%B2%80.txt", Escapes::Python).unwrap();
        assert_eq!(surrogate.as_bytes(), b"/@\xe7\x80.txt");
        assert_eq!(UrlPath::parse(b"/a%00", Escapes::Python), Err(PathError::ControlByte));
    }
}
