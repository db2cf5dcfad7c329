//! What does not belong into a document root: leftovers of editors, secrets, a repository.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::explain::{observe, shell};
use crate::files::Options;

/// Entries of one tree that are looked at, and how deep.
const ENTRIES: usize = 100_000;
const DEPTH: usize = 16;

/// Endings of what editors and careful people leave behind.
const LEFTOVERS: [&str; 12] =
    ["~", ".bak", ".orig", ".old", ".swp", ".swo", ".save", ".rej", ".dpkg-old", ".dpkg-dist", ".rpmsave", ".copy"];
/// Endings and names of what only its owner should read.
const SECRET_ENDINGS: [&str; 8] = [".pem", ".key", ".p12", ".pfx", ".kdbx", ".sql", ".sqlite", ".ppk"];
const SECRET_NAMES: [&str; 12] = [
    ".env",
    "id_rsa",
    "id_ed25519",
    "id_ecdsa",
    ".htpasswd",
    "htpasswd",
    ".netrc",
    ".pgpass",
    ".my.cnf",
    "cgiserve.toml",
    "credentials.json",
    ".git-credentials",
];
const REPOSITORIES: [&str; 4] = [".git", ".svn", ".hg", "CVS"];

/// Looks through a tree, script folders left out.
pub(super) fn look(options: &Options, seen: &mut HashSet<PathBuf>, findings: &mut Vec<Finding>) {
    // What nobody may see leads there.
    if options.root == Path::new("/dev/null") {
        return;
    }
    if !options.root.is_dir() {
        findings.push(Finding {
            slug: "no-such-folder",
            what: format!("The document root {} is not here.", options.root.display()),
            fix: "Make it.".to_owned(),
            command: format!("mkdir -p {}", shell(&options.root.display().to_string())),
            detail: None,
            file: options.root.clone(),
        });
        return;
    }
    if seen.insert(options.root.clone()) {
        let mut left = ENTRIES;
        walk(&options.root, options, DEPTH, &mut left, findings);
    }
}

fn walk(folder: &Path, options: &Options, depth: usize, left: &mut usize, findings: &mut Vec<Finding>) {
    for name in observe::names(folder) {
        let path = folder.join(&name);
        if *left == 0 || options.excluded.contains(&path) {
            continue;
        }
        *left -= 1;
        if REPOSITORIES.contains(&name.as_str()) {
            findings.push(repository(&path, options.hide_dotfiles && name.starts_with('.')));
        } else if path.is_dir() {
            if depth > 0 && !path.is_symlink() {
                walk(&path, options, depth - 1, left, findings);
            }
        } else if let Some(finding) = secret(&path, options.hide_dotfiles).or_else(|| leftover(&path, "it is served")) {
            findings.push(finding);
        }
    }
}

/// That `file` is a leftover, which does `harm`.
pub(super) fn leftover(file: &Path, harm: &str) -> Option<Finding> {
    let name = file.file_name()?.to_str()?;
    let is_one = LEFTOVERS.iter().any(|end| name.ends_with(end)) || (name.starts_with('#') && name.ends_with('#'));
    is_one.then(|| Finding {
        slug: "backup-file",
        what: format!("{} is left over from an editor or a copy, and {harm}.", file.display()),
        fix: "Delete it, or keep it elsewhere.".to_owned(),
        command: format!("rm {}", shell(&file.display().to_string())),
        detail: None,
        file: file.to_path_buf(),
    })
}

fn secret(file: &Path, hidden: bool) -> Option<Finding> {
    let name = file.file_name()?.to_str()?;
    let is_one = SECRET_NAMES.contains(&name)
        || name.starts_with(".env.")
        || SECRET_ENDINGS.iter().any(|end| name.ends_with(end));
    let shown = if hidden && name.starts_with('.') { " (only the dot keeps it from being served)" } else { "" };
    is_one.then(|| Finding {
        slug: "secret-file",
        what: format!("{} looks like a secret, and is in the document root{shown}.", file.display()),
        fix: "Keep it outside of everything that is served.".to_owned(),
        command: format!("mv {} ..", shell(&file.display().to_string())),
        detail: None,
        file: file.to_path_buf(),
    })
}

fn repository(folder: &Path, hidden: bool) -> Finding {
    let shown = if hidden { " (only the dot keeps it from being served)" } else { "" };
    let shown_path = folder.display().to_string();
    Finding {
        slug: "repository",
        what: format!("{shown_path} holds the history of the site, and is in the document root{shown}."),
        fix: "Keep the repository elsewhere, and copy what is to be served.".to_owned(),
        command: format!("mv {} ..", shell(&shown_path)),
        detail: None,
        file: folder.to_path_buf(),
    }
}
