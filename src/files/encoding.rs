//! Which content codings a client takes (RFC 9110 §12.5.3). Pure.

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// A coding this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Every coding, the best first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The suffix of a twin that was compressed ahead of time.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// What the [`Cache`](super::Cache) tells a twin's entry from its original's by.
    pub(super) const fn twin(self) -> u8 {
        1 + self as u8
    }

    /// What the [`Cache`](super::Cache) tells an entry that we compressed from its original's by.
    pub(super) const fn made(self) -> u8 {
        128 + self as u8
    }

    /// The value of `Content-Encoding`.
    pub const fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// What a client would have, the most wanted first; codings it refuses are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted([Option<Coding>; 3]);

impl Accepted {
    /// The codings in order.
    pub fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }
}

/// Reads `Accept-Encoding`. Without the field, nothing but the file as it is is sent: clients that can decompress
/// say so. A coding wanted less than `identity` is left out.
pub fn accepted(headers: &HeaderMap) -> Accepted {
    let mut weights: [Option<u16>; 3] = [None; 3];
    let (mut identity, mut others) = (None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.as_bytes().split(|&b| b == b',') {
            let mut parameters = item.split(|&b| b == b';').map(<[u8]>::trim_ascii);
            let name = parameters.next().unwrap_or_default();
            let weight = parameters.next().map_or(Some(1000), weight).unwrap_or(0);
            let known = Coding::ALL.iter().position(|coding| {
                name.eq_ignore_ascii_case(coding.name().as_bytes())
                    || (*coding == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
            });
            match known {
                Some(at) => weights[at] = Some(weight),
                None if name == b"*" => others = Some(weight),
                None if name.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
                None => {}
            }
        }
    }
    let floor = identity.unwrap_or(0).max(1);
    let mut list = [0, 1, 2].map(|at| (weights[at].or(others).unwrap_or(0), Some(Coding::ALL[at])));
    list.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight)); // stable: equals stay in our order
    Accepted(list.map(|(weight, coding)| coding.filter(|_| weight >= floor)))
}

/// `q=0.123` in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(parameter).ok()?;
    let (name, number) = text.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_encoding_by_weight() {
        use Coding::{Brotli, Gzip, Zstd};
        let table: &[(&str, &[Coding])] = &[
            ("", &[]),
            ("gzip", &[Gzip]),
            ("x-gzip", &[Gzip]),
            ("GZIP, deflate, br, zstd", &[Brotli, Zstd, Gzip]),
            ("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli]),
            ("gzip; q=0.3 , br ;q=0.4", &[Brotli, Gzip]),
            ("br;q=0, gzip", &[Gzip]),
            ("br;q=0.000, gzip", &[Gzip]),
            ("br;q=0.001, gzip", &[Gzip, Brotli]),
            ("*", &[Brotli, Zstd, Gzip]),
            ("*;q=0", &[]),
            ("*;q=0, gzip", &[Gzip]),
            ("br;q=0, *", &[Zstd, Gzip]),
            ("identity", &[]),
            ("identity, gzip;q=0.5", &[]),
            ("identity;q=0.5, gzip", &[Gzip]),
            ("gzip;q=2", &[]),
            ("gzip;q=1.001", &[]),
            ("gzip;q=0.5000", &[]),
            ("gzip;q=x", &[]),
            ("gzip;level=9", &[]),
            ("deflate, compress", &[]),
        ];
        for (field, wanted) in table {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, field.parse().unwrap());
            assert_eq!(accepted(&headers).iter().collect::<Vec<_>>(), *wanted, "{field}");
        }
        assert_eq!(accepted(&HeaderMap::new()), Accepted::default());
    }
}
