//! Which octets a `Range` field asks for (RFC 9110 §14.1 and §14.2). Pure.

use http::HeaderMap;
use http::header::RANGE;

/// The most parts one answer holds after overlapping ranges were merged; more, and the whole file is sent
/// (CVE-2011-3192: thousands of overlapping parts multiplied one file).
pub const PARTS_MAX: usize = 16;
/// The most ranges that are read at all; more, and the whole file is sent.
const RANGES_MAX: usize = 256;
/// Ranges with a gap smaller than this many octets are merged: a part's own header would be larger (RFC 9110 §15.3.7.2).
const GAP_MIN: u64 = 80;

/// A piece of a file: `length` octets (never 0) from `start`; both lie inside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first octet.
    pub start: u64,
    /// Number of octets.
    pub length: u64,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Everything: 200.
    Whole,
    /// One part: 206 with `Content-Range`.
    Single(Span),
    /// Several parts that do not overlap: 206 with `multipart/byteranges`.
    Several(Vec<Span>),
    /// No part of what was asked for exists: 416.
    Unsatisfiable,
}

/// What the request's `Range` field selects of a file of `size` octets.
///
/// A field that is malformed, of another unit, or given twice is ignored, as RFC 9110 §14.2 demands or allows.
pub fn select(headers: &HeaderMap, size: u64) -> Selection {
    let mut fields = headers.get_all(RANGE).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => parse(field.as_bytes(), size),
        _ => Selection::Whole,
    }
}

/// Reads one field value; see [`select`].
pub fn parse(field: &[u8], size: u64) -> Selection {
    match spans(field, size) {
        None => Selection::Whole,
        // A suffix of an empty file is satisfiable (RFC 9110 §14.1.2) but `Content-Range` cannot say "no octets".
        Some(Asked { empty_suffix: true, .. }) => Selection::Whole,
        Some(Asked { spans, .. }) => match merge(spans).as_slice() {
            [] => Selection::Unsatisfiable,
            [one] => Selection::Single(*one),
            many if many.len() > PARTS_MAX => Selection::Whole,
            many => Selection::Several(many.to_vec()),
        },
    }
}

struct Asked {
    spans: Vec<Span>,
    empty_suffix: bool,
}

/// The satisfiable ranges in the order of the request; `None` where the field has to be ignored.
fn spans(field: &[u8], size: u64) -> Option<Asked> {
    let set = field.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes=")).map(|_| &field[6..])?;
    let mut asked = Asked { spans: Vec::new(), empty_suffix: false };
    let mut count = 0;
    for piece in set.split(|&b| b == b',') {
        let piece = piece.trim_ascii();
        if piece.is_empty() {
            continue; // RFC 9110 §5.6.1.2: empty list elements are ignored
        }
        count += 1;
        if count > RANGES_MAX {
            return None;
        }
        let dash = piece.iter().position(|&b| b == b'-')?;
        let (first, last) = (&piece[..dash], &piece[dash + 1..]);
        if first.is_empty() {
            let wanted = number(last)?;
            let length = wanted.min(size);
            if length > 0 {
                asked.spans.push(Span { start: size - length, length });
            } else if wanted > 0 {
                asked.empty_suffix = true;
            }
            continue;
        }
        let first = number(first)?;
        let last = if last.is_empty() { u64::MAX } else { number(last)? };
        if last < first {
            return None;
        }
        if first < size {
            asked.spans.push(Span { start: first, length: last.min(size - 1) - first + 1 });
        }
    }
    (count > 0).then_some(asked)
}

/// Digits as a number; one too large for 64 bits stands for the largest there is, which no file reaches
/// (CVE-2017-7529 was an overflow here).
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |sum, &digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// Merges ranges that overlap or nearly touch. The client's order is kept where nothing overlaps.
fn merge(spans: Vec<Span>) -> Vec<Span> {
    let mut sorted = spans.clone();
    sorted.sort_by_key(|span| span.start);
    let mut merged: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match merged.last_mut() {
            Some(last) if span.start.saturating_sub(last.start + last.length) < GAP_MIN => {
                last.length = last.length.max(span.start + span.length - last.start);
            }
            _ => merged.push(span),
        }
    }
    if merged.len() == spans.len() { spans } else { merged }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(start: u64, length: u64) -> Span {
        Span { start, length }
    }

    #[test]
    fn ranges_of_ten_thousand_octets() {
        use Selection::{Single, Unsatisfiable, Whole};
        for (field, wanted) in [
            ("bytes=0-0", Single(span(0, 1))),
            ("bytes=0-", Single(span(0, 10_000))),
            ("BYTES=5-9", Single(span(5, 5))),
            ("bytes=9999-", Single(span(9_999, 1))),
            ("bytes=9990-20000", Single(span(9_990, 10))),
            ("bytes=-1", Single(span(9_999, 1))),
            ("bytes=-10000", Single(span(0, 10_000))),
            ("bytes=-99999", Single(span(0, 10_000))),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10000-", Unsatisfiable),
            ("bytes=9223372036854775807-9223372036854775808", Unsatisfiable),
            ("bytes=0-18446744073709551615", Single(span(0, 10_000))),
            ("bytes=0-99999999999999999999999", Single(span(0, 10_000))),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-99999999999999999999999", Single(span(0, 10_000))),
            ("bytes= 1-2 , , 3-4", Single(span(1, 4))),
            ("bytes=10000-,0-1", Single(span(0, 2))),
            ("bytes=5-4", Whole),
            ("bytes=0-1,5-4", Whole),
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=0x1-2", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1-2-3", Whole),
            ("bytes=--1", Whole),
            ("bytes 1-2", Whole),
            ("items=1-2", Whole),
            ("", Whole),
            ("bytes=100-199,0-49", Single(span(0, 200))), // merged: the gap is smaller than a part's header
            ("bytes=500-599,0-49", Selection::Several(vec![span(500, 100), span(0, 50)])),
            ("bytes=500-599,0-49,550-700", Selection::Several(vec![span(0, 50), span(500, 201)])),
            ("bytes=0-,0-,0-,-1", Single(span(0, 10_000))),
        ] {
            assert_eq!(parse(field.as_bytes(), 10_000), wanted, "{field}");
        }
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        for (field, wanted) in [
            ("bytes=0-", Selection::Unsatisfiable),
            ("bytes=0-0", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=-5", Selection::Whole),
        ] {
            assert_eq!(parse(field.as_bytes(), 0), wanted, "{field}");
        }
    }

    #[test]
    fn a_range_bomb_gets_the_whole_file() {
        let bomb = |count: usize| {
            let list: Vec<_> = (0..count).map(|at| format!("{}-{}", at * 200, at * 200)).collect();
            format!("bytes={}", list.join(","))
        };
        assert!(matches!(parse(bomb(16).as_bytes(), 1 << 20), Selection::Several(parts) if parts.len() == 16));
        assert_eq!(parse(bomb(17).as_bytes(), 1 << 20), Selection::Whole);
        let overlapping = format!("bytes=0-{}", ",5-".repeat(1_300));
        assert_eq!(parse(overlapping.as_bytes(), 1 << 20), Selection::Whole);
    }

    /// Octet by octet, with arithmetic that cannot overflow: slow and obviously right.
    fn reference(field: &str, size: u64) -> Option<Vec<bool>> {
        let set = field.strip_prefix("bytes=")?;
        let mut wanted = vec![false; usize::try_from(size).ok()?];
        let mut any = false;
        for piece in set.split(',').map(|piece| piece.trim_matches(' ')).filter(|piece| !piece.is_empty()) {
            any = true;
            let (first, last) = piece.split_once('-')?;
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
                return None;
            }
            let number = |text: &str| text.parse::<u128>().unwrap_or(u128::MAX).min(u128::from(u64::MAX));
            if !first.is_empty() && !last.is_empty() && number(last) < number(first) {
                return None;
            }
            for at in 0..u128::from(size) {
                let inside = if first.is_empty() {
                    u128::from(size) - at <= number(last)
                } else {
                    (number(first)..=if last.is_empty() { u128::MAX } else { number(last) }).contains(&at)
                };
                wanted[usize::try_from(at).ok()?] |= inside;
            }
        }
        any.then_some(wanted)
    }

    #[test]
    fn random_fields_agree_with_the_slow_reference() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..20_000 {
            let size = random(600);
            let mut field = String::from("bytes=");
            for _ in 0..random(12) {
                let token = ["-", ",", " ", "0", "7", "1", "25", "400", "18446744073709551616", "99", "x"];
                // Digits and signs in likely orders, so that most fields are valid and some are not.
                match random(8) {
                    0 => field.push_str(token[usize::try_from(random(11)).unwrap()]),
                    1 => field.push_str(&format!("-{},", random(700))),
                    2 => field.push_str(&format!("{}-,", random(700))),
                    _ => {
                        let first = random(700);
                        field.push_str(&format!("{first}-{},", first + random(60)));
                    }
                }
            }
            let selection = parse(field.as_bytes(), size);
            let Some(wanted) = reference(&field, size) else {
                assert_eq!(selection, Selection::Whole, "{field:?} of {size}");
                continue;
            };
            match selection {
                Selection::Unsatisfiable => assert!(!wanted.contains(&true), "{field:?} of {size}"),
                Selection::Whole => assert_eq!(size, 0, "{field:?} of {size}"),
                Selection::Single(_) | Selection::Several(_) => {
                    let parts = match selection {
                        Selection::Single(one) => vec![one],
                        Selection::Several(many) => many,
                        _ => unreachable!(),
                    };
                    assert!(parts.len() <= PARTS_MAX);
                    let mut sent = vec![0_u8; usize::try_from(size).unwrap()];
                    for part in &parts {
                        assert!(part.length > 0);
                        for at in part.start..part.start + part.length {
                            sent[usize::try_from(at).unwrap()] += 1;
                        }
                    }
                    for (at, wanted) in wanted.iter().enumerate() {
                        assert!(!wanted || sent[at] == 1, "{field:?} of {size}: octet {at}");
                        assert!(sent[at] <= 1, "{field:?} of {size}: octet {at} twice");
                    }
                    let (first, last) = (wanted.iter().position(|w| *w), wanted.iter().rposition(|w| *w));
                    assert_eq!(sent.iter().position(|s| *s > 0), first, "{field:?} of {size}");
                    assert_eq!(sent.iter().rposition(|s| *s > 0), last, "{field:?} of {size}");
                }
            }
        }
    }
}
