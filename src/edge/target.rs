//! Request targets (RFC 9112 section 3.2) and authorities (RFC 3986 section 3.2), as pure functions over bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;

use super::refusal::{self, Reason};

/// Longest host name that is accepted, in bytes (RFC 1035: 255 with dots).
const HOST_MAX: usize = 255;

/// The form of a request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`; the numbers say where authority and path begin.
    Absolute { authority: usize, path: usize },
    /// `*`
    Asterisk,
    /// Anything else.
    Relative,
}

/// Which form `target` has. Syntax of the authority is not checked here.
pub(crate) fn form(target: &[u8]) -> Form {
    if target.first() == Some(&b'/') {
        return Form::Origin;
    }
    if target == b"*" {
        return Form::Asterisk;
    }
    for scheme in [&b"http://"[..], b"https://"] {
        if target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme) {
            let authority = scheme.len();
            let path = target[authority..].iter().position(|b| matches!(b, b'/' | b'?'));
            return Form::Absolute { authority, path: path.map_or(target.len(), |at| authority + at) };
        }
    }
    Form::Relative
}

/// Is this `host [":" port]`? Narrower than RFC 3986 on purpose: no userinfo, no percent-encoding, no sub-delimiters
/// and no empty label, because scripts put SERVER_NAME into links, mails and shell commands, and virtual hosts put it
/// into file names (CVE-2018-18778). Nor does it begin with `-`, which those commands would take for an option
/// (CVE-2017-1000117).
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let (host, rest) = if bytes.first() == Some(&b'[') {
        let Some(end) = bytes.iter().position(|&b| b == b']') else {
            return false;
        };
        let address = std::str::from_utf8(&bytes[1..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        if address.is_none() {
            return false;
        }
        (None, &bytes[end + 1..])
    } else {
        let end = bytes.iter().position(|&b| b == b':').unwrap_or(bytes.len());
        (Some(&bytes[..end]), &bytes[end..])
    };
    host.is_none_or(is_name) && is_port(rest)
}

/// The rules of [`is_authority`] for a request whose head the edge did not read: HTTP/2 names the host in `:authority`
/// (RFC 9113 section 8.3.1), in Host, or in both alike.
///
/// # Errors
/// None, two, a malformed one, or two that differ.
pub fn check_authority<'a>(
    authority: Option<&'a [u8]>,
    mut hosts: impl Iterator<Item = &'a [u8]>,
) -> Result<(), Reason> {
    let host = hosts.next();
    let both = authority.into_iter().chain(host);
    match (authority, host) {
        (None, None) => Err(refusal::NO_HOST),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(refusal::BAD_HOST),
        _ if hosts.next().is_some() || !both.into_iter().all(is_authority) => Err(refusal::BAD_HOST),
        _ => Ok(()),
    }
}

fn is_name(host: &[u8]) -> bool {
    if host.first() == Some(&b'-') || (ends_in_number(host) && !is_ipv4(host)) {
        return false;
    }
    let mut label = 0;
    for &b in host {
        match b {
            b'.' if label == 0 => return false,
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => label += 1,
            _ => return false,
        }
    }
    !host.is_empty() && host.len() <= HOST_MAX
}

/// Whether the last label is a number, and the host with it an IPv4 address or nothing at all: no top-level domain is
/// one (RFC 1123 section 2.1), but C's `inet_aton` reads `127.1` and `2130706433` as addresses that a list of hosts or
/// of forbidden networks does not know under those names.
fn ends_in_number(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    let last = host.rsplit(|&b| b == b'.').next().unwrap_or_default();
    !last.is_empty() && last.iter().all(u8::is_ascii_digit)
}

fn is_ipv4(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|text| text.parse::<Ipv4Addr>().is_ok())
}

/// Nothing, or `:` and up to five digits that are at most 65535. RFC 3986 lets the digits be absent.
fn is_port(rest: &[u8]) -> bool {
    let Some((colon, digits)) = rest.split_first() else {
        return true;
    };
    if *colon != b':' || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0')) <= 65535
}

/// May hyper not see this byte of a target? These are the ones that RFC 3986 keeps out of paths and queries and that
/// browsers and old programs send all the same.
pub(crate) const fn is_odd(b: u8) -> bool {
    matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..)
}

/// Writes `target` with its odd bytes percent-encoded and all others as they are.
pub(crate) fn put_twin(target: &[u8], to: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &b in target {
        if is_odd(b) {
            to.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        } else {
            to.extend_from_slice(&[b]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "a",
            "localhost",
            "localhost:8000",
            "a.b.",
            "a_b",
            "127.0.0.1:1",
            "a-",
            "a.-b",
            "1a",
            "3com.example",
            "1.2.3.4.example",
            "[::1]",
            "[::1]:65535",
            "x:",
            "[::ffff:1.2.3.4]:0",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for wrong in [
            "",
            ":80",
            "a:65536",
            "a:-1",
            "a:8o",
            "a b",
            "a,b",
            "u@a",
            "a/b",
            "..",
            ".",
            ".a",
            "a..b",
            "[::1",
            "::1",
            "[]",
            "[1.2.3.4]",
            "[::1]x",
            "[fe80::1%25e]",
            "[v1.a]",
            "a:1:2",
            "a\"",
            "<a>",
            "a\\b",
            "a?b",
            "a#b",
            "a%41",
            "\u{e9}",
            "a'b",
            "a;b",
            "a\t",
            "a:000080",
            "-a.b",
            "--help",
            "1",
            "127.1",
            "127.0.0.1.",
            "127.0.0.256",
            "127.0.0.01",
            "1.2.3.4.5",
            "a.1",
            "2130706433:80",
        ] {
            assert!(!is_authority(wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_authority(&[b'a'; HOST_MAX + 1]));
        assert!(is_authority(&[b'a'; HOST_MAX]));
    }

    #[test]
    fn authority_and_host_say_the_same() {
        let slug = |authority: Option<&'static str>, hosts: &[&'static str]| {
            check_authority(authority.map(str::as_bytes), hosts.iter().map(|h| h.as_bytes())).err().map(|r| r.slug)
        };
        assert_eq!(slug(Some("a:1"), &[]), None);
        assert_eq!(slug(None, &["a:1"]), None);
        assert_eq!(slug(Some("a"), &["A"]), None);
        assert_eq!(slug(None, &[]), Some("missing-host"));
        for (authority, hosts) in
            [(Some("a"), &["b"][..]), (None, &["a", "a"]), (Some("a"), &["a", "a"]), (Some("u@a"), &[]), (None, &[""])]
        {
            assert_eq!(slug(authority, hosts), Some("bad-host"), "{authority:?} {hosts:?}");
        }
    }

    #[test]
    fn forms() {
        assert_eq!(form(b"/"), Form::Origin);
        assert_eq!(form(b"//x"), Form::Origin);
        assert_eq!(form(b"*"), Form::Asterisk);
        assert_eq!(form(b"http://h/p"), Form::Absolute { authority: 7, path: 8 });
        assert_eq!(form(b"HTTPS://h:1?q"), Form::Absolute { authority: 8, path: 11 });
        assert_eq!(form(b"http://h"), Form::Absolute { authority: 7, path: 8 });
        assert_eq!(form(b"http:/h"), Form::Relative);
        assert_eq!(form(b"ftp://h/"), Form::Relative);
        assert_eq!(form(b"**"), Form::Relative);
    }

    #[test]
    fn hyper_takes_every_twin() {
        for b in (0x21..=0xffu8).filter(|b| !matches!(b, b'#' | 0x7f)) {
            for target in [vec![b'/', b], vec![b'/', b'?', b]] {
                let mut twin = BytesMut::new();
                put_twin(&target, &mut twin);
                let uri = http::Uri::try_from(&twin[..]).expect("a twin");
                assert_eq!(uri.to_string().as_bytes(), &twin[..]);
            }
        }
    }
}
