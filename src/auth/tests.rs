//! The whole of it: real files, edited behind the server's back.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

const BCRYPT: &str = "$2y$04$Go1h8gXJdM59M2XG6GcR.u19htdE1.YoXEuapSe26tSFPExfPMlm6"; // secret
const APR1: &str = "$apr1$WtQgVBxR$JNzFSPtbvZFzHVEevtQVW0"; // a:b c
const SHA1: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="; // secret

const HOUR: Duration = Duration::from_secs(3600);

/// A file of its own that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cgiserve-auth-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn load(&self) -> Auth {
        Auth::load(&self.0, "x".into(), None).unwrap()
    }

    /// Looks at the file with every request instead of once a second.
    async fn load_eager(&self) -> Auth {
        let auth = self.load();
        auth.file.lock().await.interval = Duration::ZERO;
        auth
    }

    fn date(&self, time: SystemTime) {
        fs::File::options().write(true).open(&self.0).unwrap().set_modified(time).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    HeaderValue::try_from(value).unwrap()
}

async fn enters(auth: &Auth, user: &str, password: &str) -> bool {
    auth.check(Some(&basic(user, password))).await.as_deref() == Some(user)
}

#[tokio::test]
async fn every_kind_of_hash() {
    let file = Scratch::new(&format!("ann:{BCRYPT}\nbob:{APR1}\nJörg B.:{SHA1}\n"));
    let auth = file.load();
    for (user, password, right) in [
        ("ann", "secret", true),
        ("ann", "Secret", false),
        ("ann", "", false),
        ("bob", "a:b c", true),
        ("bob", "a", false),
        ("bob", "secret", false),
        ("Jörg B.", "secret", true),
        ("eve", "secret", false),
        ("", "secret", false),
        ("ann:secret", "", false),
    ] {
        for time in ["first", "second"] {
            assert_eq!(enters(&auth, user, password).await, right, "{user} {password}, {time} time");
        }
    }
    assert_eq!(auth.check(None).await, None);
    assert_eq!(auth.check(Some(&HeaderValue::from_static("Bearer x"))).await, None);
}

#[tokio::test]
async fn users_narrow_the_file() {
    let file = Scratch::new(&format!("ann:{SHA1}\nbob:{SHA1}\n"));
    let auth = Auth::load(&file.0, "x".into(), Some(vec!["bob".into()])).unwrap();
    assert!(enters(&auth, "bob", "secret").await);
    assert!(!enters(&auth, "ann", "secret").await);
}

#[test]
fn load_says_what_is_wrong() {
    let file = Scratch::new("# staff\nann:{SSHA}hunter2\n");
    let error = Auth::load(&file.0, "x".into(), None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: line 2: salted SHA-1 ({{SSHA}})", file.0.display())), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let folder = Auth::load(&std::env::temp_dir(), "x".into(), None).unwrap_err();
    assert_eq!(folder.kind(), io::ErrorKind::InvalidData);
    let missing = Auth::load(&file.0.with_extension("none"), "x".into(), None).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let large = Scratch::new(&"#\n".repeat((2 << 20) + 1));
    assert_eq!(Auth::load(&large.0, "x".into(), None).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn challenge_is_always_a_field_value() {
    let file = Scratch::new("");
    for (realm, quoted) in [
        ("staff", "staff"),
        ("a \"b\" \\c", "a \\\"b\\\" \\\\c"),
        ("Bücher", "Bücher"),
        ("a\r\nSet-Cookie: x", "a  Set-Cookie: x"),
        ("\0\t\u{7f}\u{85}", "    "),
        ("", ""),
    ] {
        let auth = Auth::load(&file.0, realm.into(), None).unwrap();
        assert_eq!(auth.realm(), realm);
        assert_eq!(auth.challenge(), format!("Basic realm=\"{quoted}\", charset=\"UTF-8\""));
        assert!(HeaderValue::try_from(auth.challenge()).is_ok(), "{realm:?}");
    }
}

#[tokio::test]
async fn edits_count_and_drop_what_was_remembered() {
    let file = Scratch::new(&format!("ann:{SHA1}\n"));
    let auth = file.load_eager().await;
    assert!(enters(&auth, "ann", "secret").await);
    // In place, as `htpasswd` does; within the same tick of the clock, so that only the contents tell.
    fs::write(&file.0, format!("ann:{APR1}\n")).unwrap();
    assert!(!enters(&auth, "ann", "secret").await);
    assert!(enters(&auth, "ann", "a:b c").await);
    // By renaming, as editors do, with an old date.
    let other = Scratch::new(&format!("bob:{SHA1}\n"));
    other.date(SystemTime::now() - HOUR);
    fs::rename(&other.0, &file.0).unwrap();
    assert!(!enters(&auth, "ann", "a:b c").await);
    assert!(enters(&auth, "bob", "secret").await);
    // Everybody gone.
    fs::write(&file.0, "").unwrap();
    assert!(!enters(&auth, "bob", "secret").await);
}

/// Two edits in one tick of the clock leave the same date, size and inode. A fresh date is therefore not believed; an
/// old one is, and the file is not read every second.
#[tokio::test]
async fn a_date_is_believed_once_it_is_old() {
    let now = SystemTime::now();
    for (date, noticed) in [(now + HOUR, true), (now - HOUR, false)] {
        let file = Scratch::new(&format!("ann:{SHA1}\n"));
        file.date(date);
        let auth = file.load_eager().await;
        assert!(enters(&auth, "ann", "secret").await);
        fs::write(&file.0, format!("bob:{SHA1}\n")).unwrap();
        file.date(date);
        assert_eq!(enters(&auth, "bob", "secret").await, noticed);
    }
}

#[tokio::test]
async fn same_contents_keep_what_is_remembered() {
    let text = format!("ann:{SHA1}\n");
    let file = Scratch::new(&text);
    let auth = file.load_eager().await;
    assert!(enters(&auth, "ann", "secret").await);
    let before = Arc::clone(&auth.users.read().unwrap());
    fs::write(&file.0, &text).unwrap();
    assert!(enters(&auth, "ann", "secret").await);
    assert!(Arc::ptr_eq(&before, &auth.users.read().unwrap()));
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_users() {
    let file = Scratch::new(&format!("ann:{SHA1}\n"));
    let auth = file.load_eager().await;
    for broken in ["ann:plain\n", "no colon\n", "bob:{SHA}cut o"] {
        fs::write(&file.0, broken).unwrap();
        assert!(enters(&auth, "ann", "secret").await, "{broken}");
        assert!(!enters(&auth, "ann", "plain").await, "{broken}");
    }
    fs::remove_file(&file.0).unwrap();
    assert!(enters(&auth, "ann", "secret").await);
    fs::write(&file.0, format!("bob:{SHA1}\n")).unwrap();
    assert!(!enters(&auth, "ann", "secret").await);
    assert!(enters(&auth, "bob", "secret").await);
}

#[tokio::test]
async fn looks_no_more_often_than_the_interval() {
    let file = Scratch::new(&format!("ann:{SHA1}\n"));
    let auth = file.load();
    assert_eq!(auth.file.lock().await.interval, Duration::from_secs(1));
    auth.file.lock().await.interval = HOUR;
    fs::write(&file.0, format!("bob:{SHA1}\n")).unwrap();
    assert!(!enters(&auth, "bob", "secret").await);
    auth.file.lock().await.interval = Duration::ZERO;
    assert!(enters(&auth, "bob", "secret").await);
}

#[tokio::test]
async fn an_edit_counts_with_the_ordinary_interval() {
    let file = Scratch::new(&format!("ann:{SHA1}\n"));
    let auth = file.load();
    fs::write(&file.0, format!("bob:{SHA1}\n")).unwrap();
    let seen = async {
        while !enters(&auth, "bob", "secret").await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
}

#[tokio::test]
async fn remembered_passwords_pass_a_closed_gate_and_others_wait_no_longer_than_allowed() {
    let file = Scratch::new(&format!("ann:{BCRYPT}\n"));
    let mut auth = file.load();
    assert!(enters(&auth, "ann", "secret").await);
    auth.gate = Gate::new(0, Duration::from_millis(1));
    assert!(enters(&auth, "ann", "secret").await);
    for (user, password) in [("ann", "wrong"), ("eve", "secret")] {
        let turned_away = tokio::time::timeout(Duration::from_secs(20), enters(&auth, user, password)).await;
        assert_eq!(turned_away, Ok(false), "{user}");
    }
}

#[tokio::test]
async fn forty_images_cost_one_verification() {
    let file = Scratch::new(&format!("ann:{BCRYPT}\n"));
    let mut auth = file.load();
    auth.gate = Gate::new(1, Duration::from_secs(60));
    let value = basic("ann", "secret");
    let answers = futures_util::future::join_all((0..40).map(|_| auth.check(Some(&value)))).await;
    assert!(answers.iter().all(|user| user.as_deref() == Some("ann")));
    assert_eq!(auth.users.read().unwrap().verifications(), 1);
}

#[tokio::test]
async fn debug_shows_neither_hash_nor_key() {
    let file = Scratch::new(&format!("ann:{BCRYPT}\nbob:{APR1}\nJo:{SHA1}\n"));
    let auth = file.load();
    assert!(enters(&auth, "ann", "secret").await);
    let shown = format!("{auth:?}");
    for part in ["secret", "Go1h8gXJ", "htdE1", "JNzFSPtb", "WtQgVBxR", "5en6G6Me"] {
        assert!(!shown.contains(part), "{shown}");
    }
    assert!(shown.contains(r#""ann": bcrypt"#), "{shown}");
}

/// Random octets, and good ones with a few octets changed: nothing panics, nobody gets in.
#[tokio::test]
async fn noise_never_panics_and_never_enters() {
    let good = format!("ann:{BCRYPT}\nbob:{APR1}\nJo:{SHA1}\n");
    let file = Scratch::new(&good);
    let auth = Auth::load(&file.0, "x".into(), Some(vec!["Jo".into()])).unwrap();
    let right = basic("Jo", "secret");
    assert!(auth.check(Some(&right)).await.is_some());
    let key = || hmac::Key::new(hmac::HMAC_SHA256, b"noise");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..5_000 {
        let noise = random.octets(200);
        let _ = Users::parse(&noise, None, key());
        let _ = Users::parse(&random.spoil(good.as_bytes()), None, key());
        let _ = hash::Hash::parse(&String::from_utf8_lossy(&random.spoil(BCRYPT.as_bytes())));
        let encoded = format!("Basic {}", STANDARD.encode(&noise)).into_bytes();
        for value in [noise, encoded, random.spoil(right.as_bytes())] {
            let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
            if let Some(user) = auth.check(Some(&value)).await {
                // Spoiling may have hit the blank, or the case of the scheme, or nothing.
                assert_eq!(user, "Jo");
                let credentials = Credentials::parse(&value).unwrap();
                assert_eq!(credentials.password, b"secret");
            }
        }
    }
}

/// xorshift64: the same noise every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }

    fn spoil(&mut self, good: &[u8]) -> Vec<u8> {
        let mut text = good.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(text.len());
            text[at] = self.next() as u8;
        }
        text
    }
}
