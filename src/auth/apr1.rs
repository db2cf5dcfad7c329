//! Apache's variant of MD5-crypt, `$apr1$` (apr-util, `apr_md5_encode`).

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// What `htpasswd -m` and `openssl passwd -apr1` put in front.
pub(super) const MAGIC: &str = "$apr1$";

/// The longest salt the format knows, in octets; Apache reads no further.
const SALT_MAX: usize = 8;

/// The length of an encoded digest, in letters: 128 bits, six a letter.
const ENCODED: usize = 22;

/// The order of crypt(3), which is not that of base64.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// One `$apr1$salt$digest`.
pub(super) struct Apr1 {
    salt: Vec<u8>,
    encoded: [u8; ENCODED],
}

impl Apr1 {
    /// Reads what follows [`MAGIC`]; `None` where it is not `salt$digest`.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        let (salt, encoded) = rest.split_once('$')?;
        let encoded: [u8; ENCODED] = encoded.as_bytes().try_into().ok()?;
        let known = encoded.iter().all(|letter| ALPHABET.contains(letter));
        (known && salt.len() <= SALT_MAX).then(|| Self { salt: salt.as_bytes().to_vec(), encoded })
    }

    /// Compares in constant time, after a thousand rounds of MD5.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        encode(&digest(password, &self.salt)).ct_eq(&self.encoded).into()
    }
}

/// The algorithm as Poul-Henning Kamp wrote it, oddities included: every one of them changes the digest.
fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let mut sum = md5(&[password, salt, password]);
    let mut whole = Md5::new_with_prefix(password);
    whole.update(MAGIC);
    whole.update(salt);
    for chunk in password.chunks(sum.len()) {
        whole.update(&sum[..chunk.len()]);
    }
    let mut length = password.len();
    while length != 0 {
        // The first octet of a buffer that the original has just cleared, or of the password.
        whole.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }
    sum = whole.finalize().into();
    for round in 0..1000_u32 {
        let odd = round & 1 == 1;
        sum = md5(&[
            if odd { password } else { &sum },
            if round % 3 == 0 { b"" } else { salt },
            if round % 7 == 0 { b"" } else { password },
            if odd { &sum } else { password },
        ]);
    }
    sum
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The digest in letters: octets woven six apart, lowest bits first.
fn encode(sum: &[u8; 16]) -> [u8; ENCODED] {
    const WOVEN: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut letters = [0; ENCODED];
    let threes = WOVEN.iter().map(|[a, b, c]| u32::from_be_bytes([0, sum[*a], sum[*b], sum[*c]]));
    for (group, bits) in letters.chunks_mut(4).zip(threes.chain([u32::from(sum[11])])) {
        for (at, letter) in group.iter_mut().enumerate() {
            *letter = ALPHABET[(bits >> (6 * at)) as usize & 0x3f];
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &[u8] =
        b"a-very-long-password-of-more-than-sixty-four-octets-to-fill-a-whole-block-of-md5-and-then-some";

    /// From `openssl passwd -apr1 -salt SALT PASSWORD` (3.0), the last from `htpasswd -nbm` (2.4).
    const VECTORS: &[(&[u8], &str)] = &[
        (b"", "saltsalt$a8ml/vK5HEjiZ5oypDWA7/"),
        (b"secret", "saltsalt$LrttParrLPdxvgutaSXWJ0"),
        (b"secret", "x$12YdXEY0/hH4rDNkmZupO0"),
        (b"secret", "ab./12ZZ$FCRjPLnHVBPd6Q1yuTlAm/"),
        (b"a:b c", "x$qTtEMyTprd1cgtNZSfZ.7."),
        (b"0123456789abcdef", "saltsalt$noZiBycUL1t9WTQEO7/nr1"),
        (b"0123456789abcdef0", "saltsalt$P1pmVujRVrzjQyn1aY1oX1"),
        ("pässwörd".as_bytes(), "ab./12ZZ$REebF4qJNNMyjZhCGfn.u."),
        (LONG, "x$AwXQHJnHpqA4zxb33xpSh1"),
        (b"\xff\x80\x01", "raw8bits$kXKQXUEIaU.38K6iEKly41"),
        (b"a:b c", "WtQgVBxR$JNzFSPtbvZFzHVEevtQVW0"),
    ];

    #[test]
    fn vectors_of_openssl_and_htpasswd() {
        for (password, line) in VECTORS {
            let hash = Apr1::parse(line).unwrap();
            assert!(hash.verify(password), "{line}");
            assert!(!hash.verify(&[password, &b" "[..]].concat()), "{line} with a blank more");
            if let Some((_, shorter)) = password.split_last() {
                assert!(!hash.verify(shorter), "{line} with an octet less");
            }
        }
    }

    #[test]
    fn what_is_not_apr1() {
        for line in [
            "",
            "$",
            "saltsalt",
            "saltsalt$",
            "saltsalt$LrttParrLPdxvgutaSXWJ",
            "saltsalt$LrttParrLPdxvgutaSXWJ00",
            "saltsalt$LrttParrLPdxvgutaSXWJ+",
            "saltsalts$LrttParrLPdxvgutaSXWJ0",
            "salt$salt$LrttParrLPdxvgutaSXWJ0",
            "saltsalt$LrttParrLPdxvgutaSXWé",
        ] {
            assert!(Apr1::parse(line).is_none(), "{line}");
        }
    }
}
