//! Which file a URL path means, and whether it may run.

use std::ffi::{CString, OsStr};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::settings::{Isindex, Settings};
use crate::path::UrlPath;

/// How much of a file the kernel reads for its `#!` line, octets (BINPRM_BUF_SIZE).
const SHEBANG: usize = 256;

/// A file that may run, and what of the path chose it.
#[derive(Clone, Debug)]
pub struct Script {
    /// Absolute path of the file.
    pub file: PathBuf,
    /// How many octets of the decoded path are SCRIPT_NAME.
    pub name_length: usize,
    /// The command that runs it, where its suffix has one.
    pub interpreter: Option<Vec<CString>>,
    /// Owner and group of the file, for `user = "owner"`.
    pub owner: (u32, u32),
}

/// Why no script can be run for a path.
#[derive(Debug, PartialEq, Eq)]
pub enum NoScript {
    /// Nothing is there.
    Missing,
    /// Not a plain file.
    NotAFile(PathBuf),
    /// It lacks the x bit.
    NotExecutable(PathBuf),
    /// Everybody may write it.
    Writable(PathBuf),
    /// A link leads out of the folder.
    Escapes(PathBuf),
    /// The file system said no.
    Unreadable(PathBuf, io::ErrorKind),
}

/// Finds the script below `root` that `path` means behind its first `from` octets: folders are walked, the first
/// plain file is the script, the rest is PATH_INFO. With `suffixes`, only a file that ends in one counts.
pub fn find(
    root: &Path,
    path: &UrlPath,
    from: usize,
    suffixes: &[Vec<u8>],
    settings: &Settings,
) -> Result<Script, NoScript> {
    let mut file = root.to_path_buf();
    for segment in path.segments(from) {
        // A dot-file is a leftover or a secret, never a program that is meant to be reached.
        if !segment.may_name_file || segment.bytes.starts_with(b".") {
            return Err(NoScript::Missing);
        }
        file.push(OsStr::from_bytes(segment.bytes));
        let metadata = look(&file)?;
        if metadata.is_dir() {
            continue;
        }
        if !suffixes.is_empty() && !suffixes.iter().any(|s| segment.bytes.ends_with(s)) {
            return Err(NoScript::Missing);
        }
        return admit(root, file, segment.end, &metadata, settings);
    }
    Err(NoScript::NotAFile(file))
}

/// The script `file` that a route names itself.
pub fn fixed(file: &Path, name_length: usize, settings: &Settings) -> Result<Script, NoScript> {
    let metadata = look(file)?;
    let root = file.parent().unwrap_or(file);
    admit(root, file.to_path_buf(), name_length, &metadata, settings)
}

fn look(file: &Path) -> Result<Metadata, NoScript> {
    std::fs::metadata(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => NoScript::Missing,
        kind => NoScript::Unreadable(file.to_path_buf(), kind),
    })
}

fn admit(
    root: &Path,
    file: PathBuf,
    name_length: usize,
    metadata: &Metadata,
    settings: &Settings,
) -> Result<Script, NoScript> {
    if !metadata.is_file() {
        return Err(NoScript::NotAFile(file));
    }
    let mode = metadata.permissions().mode();
    let name = file.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let named = |list: &[(Vec<u8>, Vec<CString>)]| {
        list.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, command)| command.clone())
    };
    let interpreter = named(&settings.interpreters)
        .or_else(|| named(&settings.fallback_interpreters).filter(|_| mode & 0o111 == 0 || !runs_by_itself(&file)));
    if interpreter.is_none() && mode & 0o111 == 0 {
        return Err(NoScript::NotExecutable(file));
    }
    if settings.refuse_writable && mode & 0o002 != 0 {
        return Err(NoScript::Writable(file));
    }
    if settings.beneath {
        let real = |p: &Path| std::fs::canonicalize(p).map_err(|e| NoScript::Unreadable(p.to_path_buf(), e.kind()));
        if !real(&file)?.starts_with(real(root)?) {
            return Err(NoScript::Escapes(file));
        }
    }
    Ok(Script { file, name_length, interpreter, owner: (metadata.uid(), metadata.gid()) })
}

/// Whether the kernel would find what runs this file: it is a binary, or its `#!` names a program that exists.
fn runs_by_itself(file: &Path) -> bool {
    let mut start = [0; SHEBANG];
    let read = std::fs::File::open(file).and_then(|mut file| io::Read::read(&mut file, &mut start));
    let Ok(start) = read.map(|n| &start[..n]) else { return true };
    let Some(line) = start.strip_prefix(b"#!") else { return start.starts_with(b"\x7fELF") };
    let line = line.split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii_start();
    let program = line.split(|&b| b == b' ' || b == b'\t').next().unwrap_or_default();
    Path::new(OsStr::from_bytes(program)).is_file()
}

impl Script {
    /// The folder the script runs in (RFC 3875 §7.2).
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// The program and its arguments. `argv[0]` is the script, as busybox-like programs look at it.
    pub fn command(&self, arguments: Vec<CString>) -> Option<(CString, Vec<CString>)> {
        let file = CString::new(self.file.clone().into_os_string().into_vec()).ok()?;
        let mut argv = Vec::with_capacity(1 + arguments.len());
        let program = match &self.interpreter {
            Some(command) => {
                argv.extend_from_slice(command);
                argv.push(file);
                argv.first().cloned()?
            }
            None => {
                argv.push(file.clone());
                file
            }
        };
        argv.extend(arguments);
        Some((program, argv))
    }
}

/// The arguments that a query makes (RFC 3875 §4.4): only where it holds no `=`, split on `+`, each word decoded.
/// One word that cannot be decoded, or that begins with `-` (CVE-2012-1823), and there are none.
pub fn arguments(isindex: Isindex, get_or_head: bool, query: Option<&[u8]>) -> Vec<CString> {
    let query = match (isindex, query) {
        (Isindex::Off, _) | (Isindex::Words, None) => return Vec::new(),
        (Isindex::Python, query) => {
            let query = query.unwrap_or_default();
            if query.contains(&b'=') {
                return Vec::new();
            }
            let spaced: Vec<u8> = query.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
            return CString::new(spaced).into_iter().collect();
        }
        (Isindex::Words, Some(query)) => query,
    };
    if !get_or_head || query.is_empty() || query.contains(&b'=') {
        return Vec::new();
    }
    let words: Option<Vec<CString>> = query.split(|&b| b == b'+').map(word).collect();
    words.unwrap_or_default()
}

fn word(raw: &[u8]) -> Option<CString> {
    let broken = raw.iter().enumerate().any(|(at, &b)| {
        b == b'%' && !raw.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded: Vec<u8> = percent_encoding::percent_decode(raw).collect();
    (!broken && !decoded.starts_with(b"-")).then(|| CString::new(decoded).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_arguments_only_when_asked() {
        for (isindex, query, wanted) in [
            (Isindex::Off, Some("a+b"), &[][..]),
            (Isindex::Words, Some("a+b%20c"), &["a", "b c"]),
            (Isindex::Words, Some("a=b"), &[]),
            (Isindex::Words, Some("-s"), &[]),
            (Isindex::Words, Some("a+%2ds"), &[]),
            (Isindex::Words, Some("%zz+a"), &[]),
            (Isindex::Words, Some("%00"), &[]),
            (Isindex::Words, Some(""), &[]),
            (Isindex::Words, None, &[]),
            (Isindex::Python, Some("a+b"), &["a b"]),
            (Isindex::Python, None, &[""]),
        ] {
            let got = arguments(isindex, true, query.map(str::as_bytes));
            let got: Vec<_> = got.iter().map(|w| w.to_str().unwrap()).collect();
            assert_eq!(got, wanted, "{isindex:?} {query:?}");
        }
        assert!(arguments(Isindex::Words, false, Some(b"a")).is_empty(), "a POST has no arguments");
    }
}
