//! The `Authorization` field of a request, read as RFC 7617 has it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// The longest field value looked at, in octets. htpasswd takes 255 octets of password; every octet more is a thousand
/// octets more of MD5 under apr1.
const VALUE_MAX: usize = 2048;

/// What a client sent: a name, and a password nobody else may see.
pub(super) struct Credentials {
    /// Without `:`, NUL or anything that is not UTF-8.
    pub(super) user: String,
    /// Any octets but NUL.
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Reads `Basic` (in any case), blanks, and base64 of `user:password`; the first `:` divides (RFC 7617 §2).
    /// `None` for everything else, NUL included: crypt functions in C stop there, so two passwords would be one.
    pub(super) fn parse(value: &HeaderValue) -> Option<Self> {
        let value = value.as_bytes();
        if value.len() > VALUE_MAX {
            return None;
        }
        let (scheme, rest) = value.split_at_checked("Basic".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic") || rest.first() != Some(&b' ') {
            return None;
        }
        let mut both = STANDARD.decode(rest.trim_ascii()).ok()?;
        let colon = both.iter().position(|b| *b == b':')?;
        if both.contains(&0) {
            return None;
        }
        let password = both.split_off(colon + 1);
        both.truncate(colon);
        Some(Self { user: String::from_utf8(both).ok()?, password })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the name: people type passwords into the wrong box.
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> Option<(String, Vec<u8>)> {
        let value = HeaderValue::from_bytes(value).unwrap();
        Credentials::parse(&value).map(|c| (c.user, c.password))
    }

    #[test]
    fn well_formed() {
        let table: &[(&str, &str, &[u8])] = &[
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", b"open sesame"), // RFC 7617 §2
            ("Basic dGVzdDoxMjPCow==", "test", "123£".as_bytes()),             // RFC 7617 §2.1
            ("basic dTpw", "u", b"p"),
            ("BASIC    dTpw  ", "u", b"p"),
            ("Basic dTphOmIgYyA=", "u", b"a:b c "),
            ("Basic dTo6", "u", b":"),
            ("Basic dTo=", "u", b""),
            ("Basic Og==", "", b""),
            ("Basic dTr/gAE=", "u", b"\xff\x80\x01"),
        ];
        for (value, user, password) in table {
            assert_eq!(read(value.as_bytes()), Some(((*user).to_owned(), password.to_vec())), "{value}");
        }
    }

    #[test]
    fn malformed() {
        for value in [
            &b""[..],
            b"Basic",
            b"Basic ",
            b"Basi",
            b"BasicdTpw",
            b"Basic\tdTpw",
            b"Bearer dTpw",
            b"Basic, dTpw",
            b"Basic dTpw, Basic dTpw",
            b"Basic dTp",
            b"Basic dTpw=",
            b"Basic dT pw",
            b"Basic dT*w",
            b"Basic dQ==",     // u
            b"Basic dTpwAA==", // u:p NUL
            b"Basic AHU6cA==", // NUL u:p
            b"Basic /zpw",     // 0xff:p
            b"Basic \xff\xff",
            b"\xc3\xa4asic dTpw",
        ] {
            assert_eq!(read(value), None, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn too_long_is_not_even_decoded() {
        let value = |len: usize| format!("Basic dTpw{}", "QUFB".repeat((len - 10) / 4));
        assert!(read(value(VALUE_MAX - 6).as_bytes()).is_some());
        assert!(read(value(VALUE_MAX + 6).as_bytes()).is_none());
    }
}
