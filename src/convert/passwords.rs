//! Users and passwords that stand in a configuration itself: cgiserve keeps them in a file of their own, hashed.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::draft::{Draft, NOWHERE, User, list, quote};
use super::spots::below;

/// What a password costs to verify, as a power of two: a tenth of a second.
const COST: u32 = 10;
/// Beginnings of hashes that the server knows.
const KNOWN: [&str; 5] = ["$2y$", "$2a$", "$2b$", "$apr1$", "{SHA}"];

/// Says in the routes who may come, by a file that [`write`] writes. Without one, nobody may.
pub(super) fn protect(draft: &mut Draft, file: Option<&Path>) {
    let users = std::mem::take(&mut draft.users);
    let mut paths: Vec<&str> = users.iter().map(|user| &*user.path).collect();
    // The wider path first: the narrower has the last word.
    paths.sort_by_key(|path| path.trim_end_matches('/').len());
    paths.dedup();
    for path in paths {
        // A file has one password for each name.
        let other = |user: &User| {
            users.iter().find(|known| known.name == user.name).is_some_and(|u| u.password != user.password)
        };
        let (good, bad): (Vec<&User>, Vec<&User>) =
            users.iter().filter(|user| user.path == path).partition(|user| is_usable(&user.password) && !other(user));
        for user in bad {
            let why = "A PASSWORD THAT CANNOT BE TAKEN OVER: htpasswd -B FILE USER makes one that the server knows";
            draft.leave(&format!("{path}:{}:(password)", user.name), why);
        }
        let names: Vec<&str> = good.iter().map(|user| &*user.name).collect();
        let place = path.trim_end_matches('/');
        for spot in draft.spots(true, place, true) {
            draft.narrow(&spot);
        }
        for route in draft.routes.iter_mut().filter(|route| below(route.at(true), place)) {
            match file.filter(|_| !names.is_empty()) {
                _ if route.target.1 == NOWHERE => {}
                Some(file) => {
                    let file = quote(&file.to_string_lossy());
                    let auth = format!("{{ realm = \"cgiserve\", file = {file}, users = {} }}", list(&names));
                    route.set("auth", auth);
                }
                None if names.is_empty() => route.close("closed, as its password cannot be taken over".to_owned()),
                None => route.close(format!(
                    "closed, as it needs a password: convert --htpasswd FILE takes that of {path} over"
                )),
            }
        }
    }
    draft.users = users;
}

/// Writes the users into `file`, which must not be there yet.
///
/// # Errors
/// The file cannot be written, or is there.
pub(super) fn write(users: &[User], file: &Path) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let mut known: Vec<&str> = Vec::new();
    for user in users {
        if let Some(hash) = hash(&user.password).filter(|_| !known.contains(&&*user.name)) {
            writeln!(out, "{}:{hash}", user.name)?;
            known.push(&user.name);
        }
    }
    Ok(())
}

/// Not "*", which means the system's own passwords, and no hash that only crypt(3) knows.
fn is_usable(password: &str) -> bool {
    let known = KNOWN.iter().any(|start| password.starts_with(start));
    known || !(password.is_empty() || password == "*" || password.starts_with('$'))
}

fn hash(password: &str) -> Option<String> {
    if KNOWN.iter().any(|start| password.starts_with(start)) {
        return Some(password.to_owned());
    }
    bcrypt::hash(password, COST).ok().filter(|_| is_usable(password))
}
