//! HTTP Basic authentication (RFC 7617) against htpasswd files.
//!
//! A request brings [`credentials`], the [`file`] says who [`users`] are, a [`hash`] is slow on purpose, so requests
//! take turns at the [`gate`].

mod apr1;
mod credentials;
mod file;
mod gate;
mod hash;
#[cfg(test)]
mod tests;
mod users;

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use self::credentials::Credentials;
use self::file::Htpasswd;
use self::gate::Gate;
use self::users::Users;

/// Who may see a route: one htpasswd file and a realm. `Debug` shows names and kinds of hashes, never a hash.
#[derive(Debug)]
pub struct Auth {
    realm: String,
    /// Replaced as a whole, and with it everything remembered about the old file.
    users: Arc<RwLock<Arc<Users>>>,
    /// Held by the one request that looks whether the file changed; the others do not wait for it.
    file: Arc<Mutex<Htpasswd>>,
    gate: Gate,
}

impl Auth {
    /// Reads `file`: lines of `user:hash` with bcrypt, apr1 or `{SHA}`. With `users`, only these get in. Blocks.
    ///
    /// # Errors
    /// Those of opening and reading; `InvalidData` for a line that cannot be understood, with its number and the name
    /// of a kind of hash that is not supported (never the hash), for what is no regular file, and for more than 4 MiB.
    pub fn load(file: &Path, realm: String, users: Option<Vec<String>>) -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system has no random numbers"))?;
        let mut htpasswd = Htpasswd::new(file, users, key);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        // The first call always has something new.
        let users = htpasswd.read().map_err(named)?.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            realm,
            users: Arc::new(RwLock::new(Arc::new(users))),
            file: Arc::new(Mutex::new(htpasswd)),
            gate: Gate::of_the_process(),
        })
    }

    /// The realm as configured.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The value of `WWW-Authenticate` (RFC 7617 §2, §2.1). Always a valid field value: quotes and backslashes are
    /// escaped, control characters become blanks.
    pub fn challenge(&self) -> String {
        let mut value = String::from("Basic realm=\"");
        for c in self.realm.chars() {
            match c {
                '"' | '\\' => value.extend(['\\', c]),
                c if c.is_control() => value.push(' '),
                c => value.push(c),
            }
        }
        value.push_str("\", charset=\"UTF-8\"");
        value
    }

    /// The user whose name and password are right, for REMOTE_USER: printable, without `:`. `None` for everybody else:
    /// no field, not Basic, malformed, unknown, wrong password, or no turn at the cores within ten seconds.
    ///
    /// A request may have only one `Authorization` field (RFC 9110 §5.3); the caller has seen to that.
    pub async fn check(&self, authorization: Option<&HeaderValue>) -> Option<String> {
        let credentials = Credentials::parse(authorization?)?;
        self.look().await;
        let users = Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner));
        if users.is_empty() {
            return None;
        }
        if users.remembers(&credentials) {
            return Some(credentials.user);
        }
        let Some(turn) = self.gate.enter().await else {
            tracing::debug!("too many passwords to verify, one was turned away");
            return None;
        };
        // Forty images ask at once. The first has been answered while the others stood at the gate.
        if users.remembers(&credentials) {
            return Some(credentials.user);
        }
        let verify = move || {
            let right = users.verify(&credentials);
            drop(turn);
            right.then_some(credentials.user)
        };
        spawn_blocking(verify).await.ok().flatten()
    }

    /// Puts new users in place when the file is another, looking at most once a second. Only the request that looks
    /// waits for the disk; those beside it go on with the users there are.
    async fn look(&self) {
        let Ok(mut file) = Arc::clone(&self.file).try_lock_owned() else { return };
        if !file.is_due() {
            return;
        }
        let users = Arc::clone(&self.users);
        let look = move || {
            if let Some(new) = file.look() {
                *users.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            }
        };
        // An error is a panic in there: the old users stay.
        let _ = spawn_blocking(look).await;
    }
}
