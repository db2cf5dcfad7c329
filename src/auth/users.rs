//! The lines of an htpasswd file, and who of them a request may be.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use ring::hmac;
use subtle::ConstantTimeEq;

use super::credentials::Credentials;
use super::hash::{Hash, Refused};

/// The most verified passwords remembered. A page with forty images is one of them.
const VERIFIED_MAX: usize = 1024;

/// Everybody a file lets in, as the file was at one moment. What has been verified is remembered here and nowhere
/// else, so a changed file forgets it by being another `Users`.
pub(super) struct Users {
    entries: Vec<(String, Hash)>,
    /// Name to place in `entries`.
    places: HashMap<String, usize>,
    /// User to keyed hash of the password that was right. Never the password.
    verified: Mutex<HashMap<String, [u8; 32]>>,
    /// Random and never written anywhere: without it the hashes above cannot be tried against a word list.
    key: hmac::Key,
    #[cfg(test)]
    verifications: std::sync::atomic::AtomicUsize,
}

/// The line that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from one.
    pub(super) number: usize,
    pub(super) why: Why,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No `user:hash`.
    NoColon,
    /// Empty, not UTF-8, or with control characters, which would reach REMOTE_USER and the log.
    Name,
    /// A name for the second time. Apache silently takes the first, so that a new password added below never counts.
    Twice,
    /// A hash nobody here can or should verify.
    Hash(Refused),
}

impl Users {
    /// Reads `user:hash` lines. Blank lines, lines that begin with `#`, and fields after a second `:` are passed over,
    /// as in Apache's `mod_authn_file`. With `only`, the other users are read, judged and forgotten.
    pub(super) fn parse(text: &[u8], only: Option<&[String]>, key: hmac::Key) -> Result<Self, BadLine> {
        let mut users = Self {
            entries: vec![],
            places: HashMap::new(),
            verified: Mutex::default(),
            key,
            #[cfg(test)]
            verifications: Default::default(),
        };
        let mut passed_over = HashSet::new();
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        for (number, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let bad = |why| BadLine { number: number + 1, why };
            let (name, hash) = entry(line).map_err(bad)?;
            if users.places.contains_key(name) || passed_over.contains(name) {
                return Err(bad(Why::Twice));
            }
            if only.is_some_and(|only| !only.iter().any(|one| one == name)) {
                passed_over.insert(name.to_owned());
                continue;
            }
            users.places.insert(name.to_owned(), users.entries.len());
            users.entries.push((name.to_owned(), hash));
        }
        Ok(users)
    }

    /// Whether nobody gets in at all.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a line is for this user.
    pub(super) fn knows(&self, user: &str) -> bool {
        self.places.contains_key(user)
    }

    /// Whether these very credentials were right before. Takes microseconds.
    pub(super) fn remembers(&self, credentials: &Credentials) -> bool {
        let tag = self.tag(b"password", &credentials.password);
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(&credentials.user).is_some_and(|known| known.ct_eq(&tag).into())
    }

    /// Does the whole work of [`Hash::verify`], for unknown users as well, and remembers success.
    pub(super) fn verify(&self, credentials: &Credentials) -> bool {
        let Some((hash, known)) = self.judge(&credentials.user) else { return false };
        #[cfg(test)]
        self.verifications.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let right = hash.verify(&credentials.password) & known;
        if right {
            let tag = self.tag(b"password", &credentials.password);
            let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            if verified.len() >= VERIFIED_MAX && !verified.contains_key(&credentials.user) {
                verified.clear(); // Rare, and costs every user one verification.
            }
            verified.insert(credentials.user.clone(), tag);
        }
        right
    }

    /// How often a hash was computed.
    #[cfg(test)]
    pub(super) fn verifications(&self) -> usize {
        self.verifications.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The hash to verify against, and whether it is the user's own. An unknown user gets that of somebody else, always
    /// the same one, chosen by keyed hash: in a file of several kinds and costs, strangers then take as long as
    /// members do, and no single cost says "not in the file". `None` only without any user.
    fn judge(&self, user: &str) -> Option<(&Hash, bool)> {
        if let Some(place) = self.places.get(user) {
            return self.entries.get(*place).map(|(_, hash)| (hash, true));
        }
        let [a, b, c, d, ..] = self.tag(b"stranger", user.as_bytes());
        let place = (u32::from_be_bytes([a, b, c, d]) as usize).checked_rem(self.entries.len())?;
        self.entries.get(place).map(|(_, hash)| (hash, false))
    }

    /// HMAC-SHA-256 of `what`, apart for each `purpose`.
    fn tag(&self, purpose: &[u8], what: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(purpose);
        context.update(b"\0");
        context.update(what);
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref()); // HMAC_SHA256 is 32 octets.
        tag
    }
}

fn entry(line: &[u8]) -> Result<(&str, Hash), Why> {
    let mut fields = line.split(|b| *b == b':');
    let (Some(name), Some(hash)) = (fields.next(), fields.next()) else { return Err(Why::NoColon) };
    let name = std::str::from_utf8(name).map_err(|_| Why::Name)?;
    if name.is_empty() || name.contains(char::is_control) {
        return Err(Why::Name);
    }
    let hash = std::str::from_utf8(hash).map_err(|_| Why::Hash(Refused::Plain))?;
    Ok((name, Hash::parse(hash).map_err(Why::Hash)?))
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(name, hash)| (name, hash))).finish()
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.number)?;
        match &self.why {
            Why::NoColon => f.write_str("no `user:hash`"),
            Why::Name => f.write_str("the user name is empty, not UTF-8 or has control characters"),
            Why::Twice => f.write_str("this user has a line already"),
            Why::Hash(refused) => refused.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    const ABC: &str = "$apr1$WtQgVBxR$JNzFSPtbvZFzHVEevtQVW0";

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"fixed, so that a red test stays red")
    }

    fn users(text: &str) -> Users {
        Users::parse(text.as_bytes(), None, key()).unwrap()
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: password.as_bytes().to_vec() }
    }

    #[test]
    fn lines() {
        let text = format!("\u{feff}ann:{SECRET}\r\n\n  # bob:{SECRET}\n Jörg B.:{SECRET}:ignored \nzoë:{ABC}");
        let users = users(&text);
        for (user, password, right) in [
            ("ann", "secret", true),
            ("ann", "secret ", false),
            ("ann", "a:b c", false),
            ("Ann", "secret", false),
            ("bob", "secret", false),
            ("# bob", "secret", false),
            ("Jörg B.", "secret", true),
            ("zoë", "a:b c", true),
            ("", "", false),
        ] {
            assert_eq!(users.verify(&credentials(user, password)), right, "{user} {password}");
        }
    }

    #[test]
    fn bad_lines_have_numbers() {
        let table: &[(&[u8], usize, Why)] = &[
            (b"\n\nann", 3, Why::NoColon),
            (b"# c\n:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", 2, Why::Name),
            (b"a\x07b:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", 1, Why::Name),
            (b"\xff:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", 1, Why::Name),
            (b"a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\na:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", 2, Why::Twice),
            (b"a:secret", 1, Why::Hash(Refused::Plain)),
            (b"a:\xff", 1, Why::Hash(Refused::Plain)),
            (b"a:", 1, Why::Hash(Refused::Plain)),
            (b"a:ccS80AlJ7yQZE", 1, Why::Hash(Refused::Des)),
        ];
        for (text, number, why) in table {
            let bad = Users::parse(text, None, key()).unwrap_err();
            assert_eq!((bad.number, &bad.why), (*number, why), "{}", String::from_utf8_lossy(text));
        }
        // Also for users that are not let in: a file is good or it is not.
        let bad = Users::parse(b"a:{SSHA}x", Some(&[]), key()).unwrap_err();
        assert_eq!(bad.to_string(), "line 1: salted SHA-1 ({SSHA}) is not supported, use bcrypt (htpasswd -B)");
    }

    #[test]
    fn only_those_named() {
        let text = format!("ann:{SECRET}\nbob:{SECRET}\n");
        let users = Users::parse(text.as_bytes(), Some(&["bob".to_owned(), "carl".to_owned()]), key()).unwrap();
        assert!(users.verify(&credentials("bob", "secret")));
        assert!(!users.verify(&credentials("ann", "secret")));
        assert!(!users.verify(&credentials("carl", "secret")));
    }

    #[test]
    fn strangers_cost_what_members_cost() {
        let users = users(&format!("ann:{SECRET}\nbob:{ABC}\n"));
        let mut kinds = HashMap::new();
        for n in 0..200 {
            let stranger = format!("stranger{n}");
            let (hash, known) = users.judge(&stranger).unwrap();
            assert!(!known);
            assert!(std::ptr::eq(hash, users.judge(&stranger).unwrap().0), "always the same one");
            *kinds.entry(format!("{hash:?}")).or_insert(0) += 1;
            // Right for one of the two hashes, and still nobody.
            for password in ["secret", "a:b c"] {
                assert!(!users.verify(&credentials(&stranger, password)));
                assert!(!users.remembers(&credentials(&stranger, password)));
            }
        }
        assert!(kinds["sha1"] > 60 && kinds["apr1"] > 60, "{kinds:?}");
        assert!(Users::parse(b"", None, key()).unwrap().judge("x").is_none());
    }

    #[test]
    fn remembers_what_was_right_and_no_more() {
        let users = users(&format!("ann:{SECRET}\nbob:{SECRET}\n"));
        assert!(!users.remembers(&credentials("ann", "secret")));
        assert!(!users.verify(&credentials("ann", "wrong")));
        assert!(!users.remembers(&credentials("ann", "wrong")));
        assert!(users.verify(&credentials("ann", "secret")));
        assert!(users.remembers(&credentials("ann", "secret")));
        assert!(!users.remembers(&credentials("ann", "wrong")));
        assert!(!users.remembers(&credentials("bob", "secret")));
    }

    #[test]
    fn memory_is_bounded() {
        let text: String = (0..VERIFIED_MAX + 10).map(|n| format!("u{n}:{SECRET}\n")).collect();
        let users = users(&text);
        for n in 0..VERIFIED_MAX + 10 {
            assert!(users.verify(&credentials(&format!("u{n}"), "secret")));
            assert!(users.verified.lock().unwrap().len() <= VERIFIED_MAX);
        }
        assert!(users.remembers(&credentials(&format!("u{}", VERIFIED_MAX + 9), "secret")));
    }

    #[test]
    fn debug_shows_no_hash() {
        let users = users(&format!("ann:{SECRET}\nbob:{ABC}\n"));
        assert!(users.verify(&credentials("ann", "secret")));
        assert_eq!(format!("{users:?}"), r#"{"ann": sha1, "bob": apr1}"#);
    }
}
