//! What `--fix` changes: x bits and line ends, each shown first.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Finding;

/// Largest script whose line ends are changed, octets.
const MOST: u64 = 4 << 20;

/// Shows every change, asks, and makes it; how many findings are gone.
///
/// # Errors
/// What the file system says of the first file that could not be changed.
pub(super) fn all(findings: &[Finding], yes: bool, asks: bool, out: &mut impl Write) -> io::Result<usize> {
    let mut fixed = 0;
    for finding in findings {
        let Some(change) = Change::of(finding)? else { continue };
        change.show(&finding.file, out)?;
        if !yes && (!asks || !agreed(out)?) {
            writeln!(out, "  not changed")?;
            continue;
        }
        change.make(&finding.file)?;
        writeln!(out, "  changed")?;
        fixed += 1;
    }
    Ok(fixed)
}

enum Change {
    Mode(u32, u32),
    Lines { before: Vec<u8>, after: Vec<u8> },
}

impl Change {
    fn of(finding: &Finding) -> io::Result<Option<Self>> {
        let metadata = fs::metadata(&finding.file)?;
        Ok(match finding.slug {
            "not-executable" => {
                let mode = metadata.permissions().mode() & 0o7777;
                // Whoever may read it may run it.
                Some(Self::Mode(mode, mode | (mode & 0o444) >> 2))
            }
            "crlf-shebang" if metadata.len() <= MOST => {
                let before = fs::read(&finding.file)?;
                let after = unix(&before);
                Some(Self::Lines { before, after })
            }
            _ => None,
        })
    }

    fn show(&self, file: &Path, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Mode(before, after) => {
                writeln!(out, "{}\n  - mode {before:04o}\n  + mode {after:04o}", file.display())
            }
            Self::Lines { before, after } => {
                let lines = before.len() - after.len();
                let first = |bytes: &[u8]| {
                    bytes.split_inclusive(|&b| b == b'\n').next().unwrap_or_default().escape_ascii().to_string()
                };
                writeln!(out, "{}: {lines} lines\n  - {}\n  + {}", file.display(), first(before), first(after))
            }
        }
    }

    fn make(&self, file: &Path) -> io::Result<()> {
        match self {
            Self::Mode(_, after) => fs::set_permissions(file, fs::Permissions::from_mode(*after)),
            // In place: owner, mode and links stay.
            Self::Lines { after, .. } => fs::write(file, after),
        }
    }
}

fn unix(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&b| b == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                lines.extend_from_slice(line);
                lines.push(b'\n');
            }
            None => lines.extend_from_slice(line),
        }
    }
    lines
}

fn agreed(out: &mut impl Write) -> io::Result<bool> {
    write!(out, "  change it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_change() {
        assert_eq!(unix(b"a\r\nb\nc\rd\r\n\r\ne\r"), b"a\nb\nc\rd\n\ne\r");
    }
}
