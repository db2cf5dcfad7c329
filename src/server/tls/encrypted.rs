//! Private keys with a password, as `openssl genpkey -aes256` and `openssl pkcs8 -topk8` write them: PKCS #8 with PBES2
//! (RFC 8018 §6.2), PBKDF2 and AES in CBC mode. Older kinds are refused with the command that converts them.

use std::num::NonZeroU32;

use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::pbkdf2;
use rustls::pki_types::PrivateKeyDer;

/// What to do with a key that cannot be decrypted here.
pub(super) const HINT: &str = "is the password right? otherwise: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW";

const BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";
/// OpenSSL's own way before PKCS #8.
const OLD: &[u8] = b"Proc-Type: 4,ENCRYPTED";
/// Rounds of PBKDF2 beyond which a key would keep the server from starting for minutes.
const ROUNDS: u32 = 10_000_000;

const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
/// HMAC with SHA-1 (what RFC 8018 means by saying nothing), SHA-256, SHA-384, SHA-512.
const DIGESTS: [(&[u8], &pbkdf2::Algorithm); 4] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x07", &pbkdf2::PBKDF2_HMAC_SHA1),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x09", &pbkdf2::PBKDF2_HMAC_SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x0a", &pbkdf2::PBKDF2_HMAC_SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x0b", &pbkdf2::PBKDF2_HMAC_SHA512),
];
/// AES-128-CBC and AES-256-CBC, with the octets of their keys.
const CIPHERS: [(&[u8], usize); 2] =
    [(b"\x60\x86\x48\x01\x65\x03\x04\x01\x02", 16), (b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a", 32)];

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Whether a PEM file holds a private key with a password.
pub(super) fn is_encrypted(pem: &[u8]) -> bool {
    find(pem, BEGIN).is_some() || find(pem, OLD).is_some()
}

/// The key in a PEM file.
///
/// # Errors
/// What keeps it from being read. A wrong password cannot be told from a damaged file.
pub(super) fn decrypt(pem: &[u8], password: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    let begin = find(pem, BEGIN).ok_or("is encrypted in a way that is older than PKCS #8")? + BEGIN.len();
    let end = begin + find(&pem[begin..], END).ok_or("is not PEM: its end is missing")?;
    let text: Vec<u8> = pem[begin..end].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let der = BASE64_STANDARD.decode(text).map_err(|_| "is not PEM: what stands there is not base64")?;
    let sealed = Sealed::parse(&der).ok_or("is encrypted in a way that is not known here")?;
    let plain = sealed.open(password).ok_or("cannot be decrypted")?;
    PrivateKeyDer::try_from(plain).map_err(|_| "cannot be decrypted")
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// An `EncryptedPrivateKeyInfo` (RFC 5958 §3) of a kind that can be opened.
struct Sealed<'a> {
    digest: &'static pbkdf2::Algorithm,
    salt: &'a [u8],
    rounds: NonZeroU32,
    key_length: usize,
    iv: [u8; 16],
    data: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let mut whole = Der(Der(der).take(SEQUENCE)?);
        let mut algorithm = Der(whole.take(SEQUENCE)?);
        let data = whole.take(OCTETS)?;
        (algorithm.take(IDENTIFIER)? == PBES2).then_some(())?;
        let mut parameters = Der(algorithm.take(SEQUENCE)?);
        let mut derivation = Der(parameters.take(SEQUENCE)?);
        let mut cipher = Der(parameters.take(SEQUENCE)?);

        (derivation.take(IDENTIFIER)? == PBKDF2).then_some(())?;
        let mut derivation = Der(derivation.take(SEQUENCE)?);
        let salt = derivation.take(OCTETS)?;
        let rounds = derivation.take(INTEGER)?;
        let rounds = rounds.iter().try_fold(0u32, |n, &b| n.checked_mul(256)?.checked_add(b.into()))?;
        let rounds = NonZeroU32::new(rounds).filter(|n| n.get() <= ROUNDS)?;
        let _key_length = derivation.take(INTEGER);
        let digest = match derivation.take(SEQUENCE) {
            Some(digest) => Der(digest).take(IDENTIFIER)?,
            None => DIGESTS[0].0,
        };
        let digest = DIGESTS.iter().find(|(name, _)| *name == digest)?.1;

        let name = cipher.take(IDENTIFIER)?;
        let key_length = CIPHERS.iter().find(|(known, _)| *known == name)?.1;
        let iv = cipher.take(OCTETS)?.try_into().ok()?;
        Some(Self { digest, salt, rounds, key_length, iv, data })
    }

    /// `None` where the padding is not PKCS #7: the password is wrong.
    fn open(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut key = [0; 32];
        let key = &mut key[..self.key_length];
        pbkdf2::derive(*self.digest, self.rounds, self.salt, password, key);
        let mut plain = match self.key_length {
            16 => self.unchain(&aes::Aes128::new_from_slice(key).ok()?)?,
            _ => self.unchain(&aes::Aes256::new_from_slice(key).ok()?)?,
        };
        let padding = *plain.last()?;
        let length = plain.len().checked_sub(padding.into())?;
        let padded = (1..=16).contains(&padding) && plain[length..].iter().all(|&b| b == padding);
        plain.truncate(length);
        padded.then_some(plain)
    }

    /// CBC: each block was mixed with the one before it.
    fn unchain(&self, cipher: &impl BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>) -> Option<Vec<u8>> {
        let mut before = self.iv;
        let mut plain = Vec::with_capacity(self.data.len());
        let (blocks, rest) = self.data.as_chunks::<16>();
        for block in blocks {
            let mut open = Array::from(*block);
            cipher.decrypt_block(&mut open);
            plain.extend(open.iter().zip(before).map(|(a, b)| a ^ b));
            before = *block;
        }
        rest.is_empty().then_some(plain)
    }
}

/// What is left of a run of DER elements (X.690 §8.1).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element if it has this tag; nothing is taken otherwise.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, length], rest) = self.0.split_first_chunk::<2>()?;
        if found != tag {
            return None;
        }
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => {
                let (&length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OpenSSL made of one key with the password "geheim".
    const PLAIN: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWBZoJeW6rK33IlYc\n\
        j+MNZNjONotn3PmNEhBhV/cqE2ShRANCAARaKv41113axQR0rWSP4eL2/ttAti8g\n\
        edseDesTiMNgXtKQaXmLKCEc1puuw7uuVOyR89QTBrU8HMe2fqgi84Mo\n\
        -----END PRIVATE KEY-----";
    const AES_256_SHA256: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjJOwc0jMlH6QICCAAw\n\
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEHejipuclicTfmY2H7ZYnyoEgZDG\n\
        ND6sHHF4hfm6KoiokYUWPtMFzO5UaPO/Jr4iZSFzLnplYTi60AI+MKTwpNlN61mx\n\
        4pcjrGd7sHT9MGgpycTlD/qveVeiVEkBnQfeXFfvrLcCnghdnrRdVGRlexZmdFsp\n\
        CuPGG1mXKlFOQfKm+RmUgUpalCyCKf6rYLve5z7oJasdDpbXqgIwR3/SJrQlSBU=\n\
        -----END ENCRYPTED PRIVATE KEY-----";
    const AES_128_SHA1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
        MIHeMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAg8tSKToAB/NAICCAAw\n\
        HQYJYIZIAWUDBAECBBAYvRm7jdZq1SG6HBKgVl5HBIGQsV7OGIQ13wpm5ZoNSVIG\n\
        /uegg2jJIcJKKqZyyIg+BUXLldNn7ILWdPJCPkL+zP6/Pce+R6yGw2UB9JEXNcwm\n\
        5XjvTEiTBqeFTW+KA4hZ/VdAaJ77azgeffC4YCsa+IfLd1//e9OZi1xAMpLNw+A1\n\
        iiYa9i8tTrSsbR4KS1vBs7QbTLUIISpJ7gSwljr6KPi1\n\
        -----END ENCRYPTED PRIVATE KEY-----";
    const TRIPLE_DES: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
        MIGxMBwGCiqGSIb3DQEMAQMwDgQImoRKgkE8k1YCAggABIGQ/qRUkFAwI4cW6Fwt\n\
        AdyZIQ9Q6ttK9HjVlMRUC/KAJDALW6AkGwA/qtmJhYy/r3M1bEhiHkfsdRAF/RCd\n\
        oHnACSMwxdEk+b3TH7wVQU+Fnxyx5IFb9GK/oqCKdJvx+rm7BZzA29vTqVJLCqR3\n\
        6lZVkiqAEsqbYJxGrbyfM9H38RLvcY3YS17uBqZxYLqKviL6\n\
        -----END ENCRYPTED PRIVATE KEY-----";

    #[test]
    fn openssls_files_are_opened() {
        use rustls::pki_types::pem::PemObject;
        let plain = PrivateKeyDer::from_pem_slice(PLAIN.as_bytes()).unwrap();
        for sealed in [AES_256_SHA256, AES_128_SHA1] {
            assert!(is_encrypted(sealed.as_bytes()));
            assert_eq!(decrypt(sealed.as_bytes(), b"geheim"), Ok(plain.clone_key()));
            assert_eq!(decrypt(sealed.as_bytes(), b"falsch"), Err("cannot be decrypted"));
        }
        assert!(!is_encrypted(PLAIN.as_bytes()));
        assert_eq!(decrypt(TRIPLE_DES.as_bytes(), b"geheim"), Err("is encrypted in a way that is not known here"));
    }

    #[test]
    fn nothing_that_is_cut_off_is_read_beyond_its_end() {
        let body: String = AES_256_SHA256.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64_STANDARD.decode(body).unwrap();
        assert!(Sealed::parse(&der).is_some());
        for length in 0..der.len() {
            assert!(Sealed::parse(&der[..length]).is_none(), "{length}");
        }
        assert!(Der(b"\x30\x84\xff\xff\xff\xff").take(SEQUENCE).is_none());
    }
}
