//! One password hash of an htpasswd file: which kinds count, which are refused and under what name.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::apr1::{self, Apr1};

/// The dearest bcrypt taken, as the power of two that htpasswd itself stops at: some seconds a password. A file with
/// `$2y$31$` would keep a core for days after a single request.
const BCRYPT_COST_MAX: u32 = 17;

/// The cheapest bcrypt there is.
const BCRYPT_COST_MIN: u32 = 4;

/// A hash in a form that can be verified without further questions.
pub(super) enum Hash {
    /// `$2y$`, `$2b$` or `$2a$`, sixty letters, checked.
    Bcrypt(String),
    /// `$apr1$`.
    Apr1(Apr1),
    /// `{SHA}`: unsalted SHA-1.
    Sha1([u8; 20]),
}

/// Why a hash is refused. It never holds the text: that may be a password in plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Begins like a known kind and does not go on like one.
    Malformed(&'static str),
    /// bcrypt outside of the costs taken.
    Cost,
    /// A kind of hash that has a name but no support here.
    Unsupported(&'static str),
    /// Thirteen letters of crypt(3)'s alphabet.
    Des,
    /// Nothing known, so most likely the password itself.
    Plain,
}

/// What is recognised only to be named in the message.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("$1$", "MD5-crypt ($1$)"),
    ("$2x$", "flawed bcrypt ($2x$)"),
    ("$2$", "first bcrypt ($2$)"),
    ("$5$", "SHA-256-crypt ($5$)"),
    ("$6$", "SHA-512-crypt ($6$)"),
    ("$7$", "scrypt ($7$)"),
    ("$y$", "yescrypt ($y$)"),
    ("$gy$", "gost-yescrypt ($gy$)"),
    ("$md5", "Sun MD5 ($md5)"),
    ("$sha1$", "SHA-1-crypt ($sha1$)"),
    ("$argon2", "Argon2 ($argon2)"),
    ("$pbkdf2", "PBKDF2 ($pbkdf2)"),
    ("$P$", "phpass ($P$)"),
    ("$H$", "phpass ($H$)"),
    ("{SSHA}", "salted SHA-1 ({SSHA})"),
    ("{SHA256}", "SHA-256 ({SHA256})"),
    ("{SHA512}", "SHA-512 ({SHA512})"),
    ("{SSHA256}", "salted SHA-256 ({SSHA256})"),
    ("{SSHA512}", "salted SHA-512 ({SSHA512})"),
    ("{MD5}", "MD5 ({MD5})"),
    ("{SMD5}", "salted MD5 ({SMD5})"),
    ("{CRYPT}", "crypt ({CRYPT})"),
    ("{PLAIN}", "plain text ({PLAIN})"),
];

impl Hash {
    /// Reads the second field of a line.
    ///
    /// # Errors
    /// [`Refused`] names the kind, never the text.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        if ["$2y$", "$2b$", "$2a$"].iter().any(|magic| text.starts_with(magic)) {
            return bcrypt(text);
        }
        if let Some(rest) = text.strip_prefix(apr1::MAGIC) {
            return Apr1::parse(rest).map(Self::Apr1).ok_or(Refused::Malformed("apr1 MD5 ($apr1$)"));
        }
        if let Some(rest) = text.strip_prefix("{SHA}") {
            let sum = STANDARD.decode(rest).ok().and_then(|sum| sum.try_into().ok());
            return sum.map(Self::Sha1).ok_or(Refused::Malformed("SHA-1 ({SHA})"));
        }
        if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| text.starts_with(magic)) {
            return Err(Refused::Unsupported(name));
        }
        let crypt = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
        Err(if text.len() == 13 && text.bytes().all(crypt) { Refused::Des } else { Refused::Plain })
    }

    /// Whether `password` is the one. Takes as long as the hash was made to take: microseconds for SHA-1, seconds for
    /// a dear bcrypt; not for the reactor. The comparison is in constant time.
    ///
    /// bcrypt looks at the first 72 octets only, like every other bcrypt.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            // The crate compares with `subtle`, too. An error would be a hash that `parse` let through: nobody.
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Apr1(hash) => hash.verify(password),
            Self::Sha1(sum) => Sha1::digest(password).as_slice().ct_eq(sum).into(),
        }
    }
}

/// Kinds only: a hash in a log is a password soon.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "bcrypt",
            Self::Apr1(_) => "apr1",
            Self::Sha1(_) => "sha1",
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(kind) => write!(f, "this is no complete {kind} hash"),
            Self::Cost => write!(f, "the cost of a bcrypt hash must be {BCRYPT_COST_MIN} to {BCRYPT_COST_MAX}"),
            Self::Unsupported(kind) => write!(f, "{kind} is not supported, use bcrypt (htpasswd -B)"),
            Self::Des => write!(f, "DES crypt is not safe, use bcrypt (htpasswd -B)"),
            Self::Plain => write!(f, "neither bcrypt, apr1 nor {{SHA}}, perhaps plain text; use bcrypt (htpasswd -B)"),
        }
    }
}

fn bcrypt(text: &str) -> Result<Hash, Refused> {
    let malformed = Refused::Malformed("bcrypt");
    let parts: bcrypt::HashParts = text.parse().map_err(|_| malformed)?;
    // The crate reads the cost as a Rust number, so `+4` would do.
    if !text.as_bytes().get(4..6).is_some_and(|cost| cost.iter().all(u8::is_ascii_digit)) {
        return Err(malformed);
    }
    if !(BCRYPT_COST_MIN..=BCRYPT_COST_MAX).contains(&parts.get_cost()) {
        return Err(Refused::Cost);
    }
    Ok(Hash::Bcrypt(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `htpasswd -nbB`, `-nbm`, `-nbs` (2.4); `$2a$` and `$2b$` from jBCrypt's and OpenBSD's own tables.
    const VECTORS: &[(&[u8], &str)] = &[
        (b"secret", "$2y$04$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6"),
        (b"a:b c ", "$2y$04$7d.Igg12LUaNJqtU7KY.EOrq5Cs6PBGHC5XjfxdOtnkgN2ogauw1y"),
        (b"secret", "$2y$05$N6J3j7H7WLV3A9B8d9rNLe.76sJeiwqgEsWsv4cA0kfzn5uOu0JW."),
        (b"", "$2y$04$jFQJCWhoH4LQ55aiSuub/eaILC6gudzEZ19dTaL30RqClGecjB1H6"),
        (b"\xff\x80\x01", "$2y$04$zzdWoRPhjkZg0QqFd4enfOEWPWJIsXIDAZtbvbINCEIItzoTLHD5S"),
        (&[b'x'; 72], "$2y$04$FPUOJg0HbyZOpOCdiAAEbuQmn95u7q/13LpAtCPBMFJmIWY5X2TXq"),
        (b"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        (b"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        (b"U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (b"secret", "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0"),
        (b"a:b c", "$apr1$WtQgVBxR$JNzFSPtbvZFzHVEevtQVW0"),
        (b"secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
        (b"a:b c", "{SHA}MWnR3DIy7dX5bw7q+0rLji8CSC8="),
        (b"", "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        (b"\xff\x80\x01", "{SHA}O1eAT1HkSMTDIOTTEhbhzBpGoQw="),
    ];

    #[test]
    fn vectors_of_htpasswd() {
        for (password, text) in VECTORS {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.verify(password), "{text}");
            assert!(!hash.verify(b"wrong"), "{text}");
            assert!(!hash.verify(&[b" ", *password].concat()), "{text} with a blank before");
        }
    }

    #[test]
    fn refused_by_name() {
        use Refused::{Cost, Des, Malformed, Plain, Unsupported};
        let table: &[(&str, Refused)] = &[
            ("ccS80AlJ7yQZE", Des),
            ("secret", Plain),
            ("", Plain),
            ("$", Plain),
            ("$zz$unknown", Plain),
            ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", Unsupported("MD5-crypt ($1$)")),
            ("$5$bZ1S7uzlML2vgRZw$GIo6y7B/BuSMNkQiAGxOc0UvH4gZ7TJ789IICu3tDF/", Unsupported("SHA-256-crypt ($5$)")),
            ("$6$5Ny6S1x2ie2HCWqJ$vC5", Unsupported("SHA-512-crypt ($6$)")),
            ("$y$j9T$x", Unsupported("yescrypt ($y$)")),
            ("$argon2id$v=19$m=1", Unsupported("Argon2 ($argon2)")),
            ("{SSHA}x", Unsupported("salted SHA-1 ({SSHA})")),
            ("$2x$04$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6", Unsupported("flawed bcrypt ($2x$)")),
            ("$2y$", Malformed("bcrypt")),
            ("$2y$+4$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6", Malformed("bcrypt")),
            ("$2y$04$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm", Malformed("bcrypt")),
            ("$2y$04$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMl!6", Malformed("bcrypt")),
            ("$2y$03$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6", Cost),
            ("$2y$18$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6", Cost),
            ("$2y$31$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6", Cost),
            ("$apr1$saltsalt", Malformed("apr1 MD5 ($apr1$)")),
            ("{SHA}", Malformed("SHA-1 ({SHA})")),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/Bf==", Malformed("SHA-1 ({SHA})")),
        ];
        for (text, why) in table {
            assert_eq!(Hash::parse(text).err(), Some(*why), "{text}");
        }
    }

    #[test]
    fn a_refusal_never_repeats_the_password() {
        for text in ["hunter2", "$hunter2$hunter2", "{hunter2}", "$1$hunter2", "$2y$hunter2", "{SHA}hunter2"] {
            let why = Hash::parse(text).err().unwrap();
            assert!(!format!("{why} {why:?}").contains("hunter2"), "{text}");
        }
    }
}
