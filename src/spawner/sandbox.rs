//! Landlock rulesets for scripts, built once for each distinct sandbox and kept.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::wire::SandboxView;
use crate::sys;

/// Rulesets kept; each is a descriptor and a few hundred bytes in the kernel. One per route is usual.
const MAX_RULESETS: usize = 64;

/// The newest rules asked for; an older kernel gives what it has.
const RULES: ABI = ABI::V7;

/// What every strict script may read and execute: programs, libraries, their settings, and `/proc`, where Landlock
/// itself keeps it from other processes' secrets (it counts as ptrace).
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc"];

/// Devices every strict script may use.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The rulesets of this spawner.
#[derive(Debug, Default)]
pub(super) struct Rulesets {
    /// `None` where the kernel has no Landlock.
    standard: Option<Option<OwnedFd>>,
    strict: HashMap<Vec<u8>, Option<OwnedFd>>,
}

impl Rulesets {
    /// The ruleset to enter for this sandbox; `None` if there is nothing to enter.
    ///
    /// # Errors
    /// A folder of the job does not exist or cannot be opened; the kernel is out of memory or descriptors.
    pub(super) fn get(&mut self, sandbox: &SandboxView<'_>) -> io::Result<Option<BorrowedFd<'_>>> {
        let ruleset = match sandbox {
            SandboxView::Off => return Ok(None),
            // Nothing is kept of a failure: the next job asks again.
            SandboxView::Standard => match &mut self.standard {
                Some(ruleset) => ruleset,
                empty => empty.insert(made(standard().map_err(reason)?)?),
            },
            SandboxView::Strict { read, write } => {
                let key = key(read, write)?;
                if self.strict.len() >= MAX_RULESETS && !self.strict.contains_key(&key) {
                    self.strict.clear();
                }
                match self.strict.entry(key) {
                    std::collections::hash_map::Entry::Occupied(kept) => kept.into_mut(),
                    std::collections::hash_map::Entry::Vacant(place) => place.insert(made(strict(read, write)?)?),
                }
            }
        };
        Ok(ruleset.as_ref().map(AsFd::as_fd))
    }
}

/// The ruleset's descriptor; `None` only where the kernel says that it has no Landlock. Best effort is for old kernels:
/// one that was out of memory when it was asked must not leave every later script without its sandbox.
fn made(rules: RulesetCreated) -> io::Result<Option<OwnedFd>> {
    let ruleset: Option<OwnedFd> = rules.into();
    if ruleset.is_none() && sys::landlock_abi()? > 0 {
        return Err(io::Error::from_raw_os_error(libc::ENOMEM));
    }
    Ok(ruleset)
}

/// The kernel's own error, which says whether later may be better.
fn reason(error: RulesetError) -> io::Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(errno);
        }
        cause = error.source();
    }
    io::Error::other(error)
}

/// Names, devices and inodes of the folders: a ruleset means inodes, so a folder made anew needs a new one.
fn key(read: &[&CStr], write: &[&CStr]) -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    for (kind, list) in [(b'r', read), (b'w', write)] {
        for path in list {
            let file = std::fs::metadata(as_path(path))?;
            key.push(kind);
            key.extend_from_slice(path.to_bytes_with_nul());
            key.extend_from_slice(&file.dev().to_le_bytes());
            key.extend_from_slice(&file.ino().to_le_bytes());
        }
    }
    Ok(key)
}

/// No signals to, and no abstract sockets of, processes outside the script's own domain: a script may share the
/// server's user, and must still not be able to kill it.
fn standard() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default().set_compatibility(CompatLevel::BestEffort).scope(Scope::from_all(RULES))?.create()
}

fn strict(read: &[&CStr], write: &[&CStr]) -> io::Result<RulesetCreated> {
    let may_read = AccessFs::from_read(RULES);
    let devices: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    // Not to execute what it has written itself, and no device nodes.
    let may_write = AccessFs::from_all(RULES) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    let mut rules = everything_refused().map_err(reason)?;
    let system = SYSTEM.map(|path| (path, may_read));
    for (path, access) in system.into_iter().chain(DEVICES.map(|path| (path, devices))) {
        match PathFd::new(path).map_err(opening) {
            Ok(fd) => rules = rules.add_rule(PathBeneath::new(fd, access)).map_err(reason)?,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(error),
        }
    }
    for (list, access) in [(read, may_read), (write, may_write)] {
        for path in list {
            let fd = PathFd::new(as_path(path)).map_err(opening)?;
            rules = rules.add_rule(PathBeneath::new(fd, access)).map_err(reason)?;
        }
    }
    Ok(rules)
}

fn opening(error: PathFdError) -> io::Error {
    match error {
        PathFdError::OpenCall { source, .. } => source,
        other => io::Error::other(other),
    }
}

fn everything_refused() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()
}

fn as_path(path: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

/// One line for the log: what this kernel cannot give to the sandboxes, or that it gives everything.
#[must_use]
pub fn sandbox_report() -> String {
    report(sys::landlock_abi().unwrap_or_default(), sys::has_seccomp() && super::seccomp::program(0).is_some())
}

fn report(abi: i32, seccomp: bool) -> String {
    let mut missing = Vec::new();
    if !seccomp {
        missing.push("no seccomp: dangerous system calls are not refused");
    }
    match abi {
        i32::MIN..=0 => missing.push(
            "no Landlock: strict cannot confine files or network, scripts may signal the server's user's processes",
        ),
        1..=2 => missing.push("Landlock before ABI 3: truncation is not confined, nor network nor signals"),
        3 => missing.push("Landlock before ABI 4: strict cannot refuse TCP, and signals are not confined"),
        4..=5 => missing.push("Landlock before ABI 6: scripts may signal the server's user's processes"),
        6.. => {}
    }
    if missing.is_empty() {
        format!("sandbox: complete (Landlock ABI {abi}, seccomp)")
    } else {
        format!("sandbox: {}", missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_is_missing() {
        for (abi, seccomp, word) in [
            (0, true, "no Landlock"),
            (2, true, "ABI 3"),
            (3, true, "ABI 4"),
            (5, true, "ABI 6"),
            (6, true, "complete"),
            (7, false, "no seccomp"),
        ] {
            let report = report(abi, seccomp);
            assert!(report.contains(word) && !report.contains('\n'), "{report}");
        }
    }
}
