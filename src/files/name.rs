//! The names of files below a root, and which of them nobody may see.

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A root and a name below it as one string for the kernel (root, `/`, name, NUL), behind what makes it a key of
/// the [`Cache`](super::cache::Cache).
#[derive(Clone, Debug)]
pub(super) struct Name {
    octets: Vec<u8>,
    /// Where the name below the root begins.
    below: usize,
}

/// Octets before the root: the tree's number and the kind of answer.
const PREFIX: usize = 5;

impl Name {
    /// Joins `root` with the pieces of a relative name. `tree` and `variant` tell keys apart. `None` where a piece
    /// holds a NUL, which no [`UrlPath`](crate::path::UrlPath) does.
    pub(super) fn new(tree: u32, variant: u8, root: &Path, pieces: &[&[u8]]) -> Option<Self> {
        let root = root.as_os_str().as_bytes();
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let mut octets = Vec::with_capacity(PREFIX + root.len() + length + 3);
        octets.extend_from_slice(&tree.to_ne_bytes());
        octets.push(variant);
        octets.extend_from_slice(root);
        octets.push(b'/');
        let below = octets.len();
        for piece in pieces {
            octets.extend_from_slice(piece);
        }
        if below == octets.len() {
            octets.push(b'.'); // the root itself
        }
        let whole = !octets[PREFIX..].contains(&0);
        octets.push(0);
        whole.then_some(Self { octets, below })
    }

    /// The same name with a suffix and another key: a twin, or, with an empty suffix, another form of the same file.
    pub(super) fn with_suffix(&self, variant: u8, suffix: &str) -> Self {
        let mut octets = Vec::with_capacity(self.octets.len() + suffix.len());
        octets.extend_from_slice(&self.octets[..self.octets.len() - 1]);
        octets.extend_from_slice(suffix.as_bytes());
        octets.push(0);
        octets[PREFIX - 1] = variant;
        Self { octets, below: self.below }
    }

    /// What the cache knows it by.
    pub(super) fn key(&self) -> &[u8] {
        &self.octets
    }

    /// The name from the top of the file system.
    pub(super) fn full(&self) -> &CStr {
        Self::checked(&self.octets[PREFIX..])
    }

    /// The name below the root.
    pub(super) fn below(&self) -> &CStr {
        Self::checked(&self.octets[self.below..])
    }

    /// The root.
    pub(super) fn root(&self) -> &[u8] {
        let root = &self.octets[PREFIX..self.below - 1];
        if root.is_empty() { b"/" } else { root }
    }

    /// Everything but the NUL.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[PREFIX..self.octets.len() - 1]
    }

    /// The last component.
    pub(super) fn last(&self) -> &[u8] {
        last(self.octets())
    }

    /// For logs.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.octets())
    }

    fn checked(octets: &[u8]) -> &CStr {
        CStr::from_bytes_until_nul(octets).unwrap_or(c"")
    }
}

/// What stands behind the last `/`.
pub(super) fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

/// Whether a component of `path` begins with a dot; `.well-known` (RFC 8615) is everybody's.
pub(super) fn hidden(path: &[u8]) -> bool {
    path.first() == Some(&b'.') && hidden_component(path)
        || path.windows(2).enumerate().any(|(at, pair)| pair == b"/." && hidden_component(&path[at + 1..]))
}

fn hidden_component(rest: &[u8]) -> bool {
    rest.split(|&b| b == b'/').next() != Some(b".well-known")
}

/// Whether a file called `name` holds a script's text: its suffix is a script's, in any case, or was before an
/// editor or a careful operator appended one of theirs.
pub(super) fn is_script(name: &[u8], suffixes: &[String]) -> bool {
    if suffixes.is_empty() {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let mut stem = &name[..];
    while let Some(shorter) = BACKUPS.iter().find_map(|backup| stem.strip_suffix(backup.as_bytes())) {
        stem = shorter;
    }
    suffixes.iter().any(|suffix| {
        let suffix = suffix.as_bytes();
        stem.len() >= suffix.len() && stem[stem.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    })
}

const BACKUPS: [&str; 8] = ["~", "#", ".bak", ".old", ".orig", ".save", ".swp", ".tmp"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_the_kernel() {
        let name = Name::new(7, 0, Path::new("/srv/www"), &[b"a/b", b"/c"]).unwrap();
        assert_eq!((name.full(), name.below(), name.root()), (c"/srv/www/a/b/c", c"a/b/c", &b"/srv/www"[..]));
        assert_eq!(name.last(), b"c");
        let root = Name::new(7, 0, Path::new("/"), &[]).unwrap();
        assert_eq!((root.full(), root.below(), root.root()), (c"//.", c".", &b"/"[..]));
        assert!(Name::new(7, 0, Path::new("/"), &[b"a\0b"]).is_none());
    }

    #[test]
    fn dot_files_are_hidden() {
        for (path, wanted) in [
            ("a/b.c", false),
            ("", false),
            (".htaccess", true),
            ("a/.git/config", true),
            (".well-known/acme", false),
            ("a/.well-known/x", false),
            (".well-known/.secret", true),
            (".well-knownx", true),
            ("a./b", false),
            ("...", true),
        ] {
            assert_eq!(hidden(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn script_suffixes_under_any_spelling() {
        let suffixes = [".py".to_owned(), ".CGI".to_owned()];
        for (name, wanted) in [
            ("a.py", true),
            ("a.PY", true),
            ("a.cgi", true),
            ("a.py~", true),
            ("a.cgi.bak", true),
            ("a.py.old~", true),
            ("a.pyc", false),
            ("a.py.html", false),
            ("py", false),
            ("~", false),
        ] {
            assert_eq!(is_script(name.as_bytes(), &suffixes), wanted, "{name}");
        }
        assert!(!is_script(b"a.py", &[]));
    }
}
