//! Whether a request's conditions hold: the preconditions of RFC 9110 §13, in the order of §13.2.2. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName};

/// What is known about the file as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The entity tag with its quotes, without `W/`.
    pub tag: &'a [u8],
    /// Whether the tag and the time can tell every two versions of the file apart.
    pub strong: bool,
    /// Seconds since 1970 of the last modification, where HTTP can say it.
    pub modified: Option<u64>,
}

/// What the preconditions lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it; `ranges` says whether a `Range` field counts.
    Send {
        /// False where `If-Range` names another version.
        ranges: bool,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: it is not the version the client means.
    Failed,
}

/// Evaluates all preconditions of a GET or HEAD, each step as numbered in RFC 9110 §13.2.2.
pub fn decide(headers: &HeaderMap, file: Validators<'_>) -> Decision {
    // 1 and 2
    if headers.contains_key(IF_MATCH) {
        if !names(headers, &IF_MATCH, file, Comparison::Strong) {
            return Decision::Failed;
        }
    } else if let (Some(limit), Some(modified)) = (date(headers, &IF_UNMODIFIED_SINCE), file.modified)
        && modified > limit
    {
        return Decision::Failed;
    }
    // 3 and 4
    if headers.contains_key(IF_NONE_MATCH) {
        if names(headers, &IF_NONE_MATCH, file, Comparison::Weak) {
            return Decision::NotModified;
        }
    } else if let (Some(limit), Some(modified)) = (date(headers, &IF_MODIFIED_SINCE), file.modified)
        && modified <= limit
    {
        return Decision::NotModified;
    }
    // 5
    Decision::Send { ranges: if_range(headers, file) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether the list of entity tags in `field`, or `*`, names this version.
fn names(headers: &HeaderMap, field: &HeaderName, file: Validators<'_>, comparison: Comparison) -> bool {
    headers.get_all(field).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*" || Tags(value).any(|tag| same(&tag, file, comparison))
    })
}

fn same(tag: &Tag<'_>, file: Validators<'_>, comparison: Comparison) -> bool {
    tag.quoted == file.tag && (comparison == Comparison::Weak || (!tag.weak && file.strong))
}

/// RFC 9110 §13.1.5: only a strong validator will do, and a date must be the very same second. Two fields are no
/// validator: a part of one version must not be put to parts of another.
fn if_range(headers: &HeaderMap, file: Validators<'_>) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    let value = value.as_bytes().trim_ascii();
    if value.starts_with(b"\"") || value.starts_with(b"W/") {
        let mut tags = Tags(value);
        return tags.next().is_some_and(|tag| same(&tag, file, Comparison::Strong)) && tags.next().is_none();
    }
    let limit = std::str::from_utf8(value).ok().and_then(seconds);
    file.strong && limit.is_some() && limit == file.modified
}

/// The only value of a date field, in seconds; a second or malformed one makes the field void (§13.1.3).
fn date(headers: &HeaderMap, field: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(field).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    seconds(value)
}

fn seconds(date: &str) -> Option<u64> {
    let time: SystemTime = httpdate::parse_http_date(date.trim()).ok()?;
    time.duration_since(UNIX_EPOCH).as_ref().map(Duration::as_secs).ok()
}

struct Tag<'a> {
    weak: bool,
    quoted: &'a [u8],
}

/// The entity tags of a list (RFC 9110 §8.8.3); ends at the first octet that belongs to none.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let list = &self.0[start..];
        let (weak, list) = list.strip_prefix(b"W/").map_or((false, list), |rest| (true, rest));
        let inner = list.strip_prefix(b"\"")?;
        let end = inner.iter().position(|&b| b == b'"')? + 2;
        self.0 = &list[end..];
        Some(Tag { weak, quoted: &list[..end] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 784_111_777;
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";

    fn decided(fields: &[(&str, &str)], strong: bool) -> Decision {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        decide(&headers, Validators { tag: b"\"a\"", strong, modified: Some(SECOND) })
    }

    #[test]
    fn conditions_in_the_order_of_the_rfc() {
        use Decision::{Failed, NotModified};
        let send = Decision::Send { ranges: true };
        let whole = Decision::Send { ranges: false };
        let table: &[(&[(&str, &str)], Decision)] = &[
            (&[], send),
            (&[("if-match", "\"a\"")], send),
            (&[("if-match", "*")], send),
            (&[("if-match", "\"b\"")], Failed),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "\"b\", \"a\"")], send),
            (&[("if-match", "\"b\""), ("if-match", "\"a\"")], send),
            (&[("if-match", "rubbish")], Failed),
            // A date is not looked at where a tag is given, in both pairs.
            (&[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], send),
            (&[("if-match", "\"b\""), ("if-unmodified-since", AFTER)], Failed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", THEN)], send),
            (&[("if-unmodified-since", AFTER)], send),
            (&[("if-unmodified-since", "yesterday")], send),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], send),
            (&[("if-none-match", "\"b\" , W/\"c\",,\"a\"")], NotModified),
            (&[("if-none-match", "\"b,\\\", \"a\"")], NotModified),
            (&[("if-none-match", "\"b\"x, \"a\"")], send),
            (&[("if-none-match", "a")], send),
            (&[("if-none-match", "\"a")], send),
            (&[("if-none-match", "\"b\""), ("if-modified-since", AFTER)], send),
            (&[("if-modified-since", BEFORE)], send),
            (&[("if-modified-since", THEN)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", THEN), ("if-modified-since", THEN)], send),
            (&[("if-modified-since", "1994")], send),
            // The first pair comes first.
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-unmodified-since", BEFORE), ("if-modified-since", AFTER)], Failed),
            (&[("if-range", "\"a\"")], send),
            (&[("if-range", "W/\"a\"")], whole),
            (&[("if-range", "\"b\"")], whole),
            (&[("if-range", "\"a\", \"b\"")], whole),
            (&[("if-range", THEN)], send),
            (&[("if-range", BEFORE)], whole),
            (&[("if-range", "Sunday, 06-Nov-94 08:49:37 GMT")], send),
            (&[("if-range", AFTER)], whole),
            (&[("if-range", "*")], whole),
            (&[("if-range", "")], whole),
            (&[("if-range", "\"a\""), ("if-range", "\"b\"")], whole),
        ];
        for (fields, wanted) in table {
            assert_eq!(decided(fields, true), *wanted, "{fields:?}");
        }
    }

    #[test]
    fn a_weak_validator_never_selects_ranges() {
        assert_eq!(decided(&[("if-range", "\"a\"")], false), Decision::Send { ranges: false });
        assert_eq!(decided(&[("if-range", THEN)], false), Decision::Send { ranges: false });
        assert_eq!(decided(&[("if-match", "\"a\"")], false), Decision::Failed);
        assert_eq!(decided(&[("if-none-match", "\"a\"")], false), Decision::NotModified);
    }
}
