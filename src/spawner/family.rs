//! Which processes belong to a job: children, orphans, and who still holds a pipe. Reads `/proc`, changes nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::sys;

/// Every process of job N has `RLIMIT_RTTIME` = this + N. The limit is meaningless for a process that is not
/// real-time, survives fork, exec and `setsid`, and anybody may read it in `/proc/PID/limits`: so an orphan says whose
/// it was. The standard sandbox refuses to change it; an orphan without a valid one is a stray and is killed.
pub(super) const COOKIE_BASE: u64 = 1 << 62;

/// Processes looked at in one walk. A fork bomb beyond it is met again in the next round.
const MAX_FAMILY: usize = 65_536;

/// Bytes of one children list: 9 bytes each for the largest pids.
const MAX_LIST: usize = 1 << 20;

/// The list of this process's own children. Exact: a child leaves it only when this process collects it.
#[derive(Debug)]
pub(super) struct OwnChildren {
    file: File,
    buffer: Vec<u8>,
}

impl OwnChildren {
    /// # Errors
    /// No `/proc`, or a kernel without `CONFIG_PROC_CHILDREN`.
    pub(super) fn open() -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { file: File::open(format!("/proc/{pid}/task/{pid}/children"))?, buffer: vec![0; 4096] })
    }

    /// Calls `each` with the pid of every child, ended ones included.
    pub(super) fn read(&mut self, mut each: impl FnMut(i32)) -> io::Result<()> {
        let mut length = 0;
        loop {
            match self.file.read_at(&mut self.buffer[length..], length as u64)? {
                0 => break,
                n => length += n,
            }
            if length == self.buffer.len() {
                if length >= MAX_LIST {
                    break;
                }
                self.buffer.resize(length * 2, 0);
            }
        }
        pids(&self.buffer[..length]).for_each(&mut each);
        Ok(())
    }
}

/// `roots` and all their descendants that can be seen now.
///
/// A process that forks meanwhile may be missed; whoever kills looks again until none is left.
pub(super) fn with_descendants(roots: impl IntoIterator<Item = i32>) -> Vec<i32> {
    let mut found: Vec<i32> = roots.into_iter().collect();
    let mut next = 0;
    while next < found.len() && found.len() < MAX_FAMILY {
        children_of(found[next], &mut found);
        next += 1;
    }
    found
}

fn children_of(pid: i32, found: &mut Vec<i32>) {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for thread in threads.flatten() {
        if let Ok(list) = std::fs::read(thread.path().join("children")) {
            found.extend(pids(&list));
        }
    }
}

/// The job whose cookie this process carries.
pub(super) fn job_of(pid: i32) -> Option<u64> {
    cookie(&std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
}

/// Whether a job has marked it. False where this process is marked itself, and so cannot mark others.
pub(super) fn is_of_a_job(pid: i32) -> bool {
    sys::limit(libc::RLIMIT_RTTIME).1 == libc::RLIM64_INFINITY && job_of(pid).is_some()
}

/// Whether it is a nursery or a spawner. No script gets away by taking on their name: it carries its job's cookie.
pub(super) fn is_helper(pid: i32) -> bool {
    let named = std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(b"cgiserve:"));
    named && !is_of_a_job(pid)
}

/// The cookie in the text of `/proc/PID/limits`.
fn cookie(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_sub(COOKIE_BASE)
}

/// A pipe or socket by device and inode.
pub(super) type FileId = (u64, u64);

/// Whether the process has one of these open. True if that cannot be found out: a leftover is given no more time than
/// it has shown to deserve.
pub(super) fn holds(pid: i32, files: &[FileId]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return std::fs::exists(format!("/proc/{pid}")).unwrap_or(true);
    };
    descriptors
        .flatten()
        .filter_map(|fd| std::fs::metadata(fd.path()).ok())
        .any(|file| files.contains(&(file.dev(), file.ino())))
}

fn pids(list: &[u8]) -> impl Iterator<Item = i32> {
    list.split(u8::is_ascii_whitespace).filter_map(|pid| std::str::from_utf8(pid).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_from_the_limits_table() {
        let table = |value: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max realtime priority     0                    0                    \n\
                     Max realtime timeout      {value:<20} {value:<20} us        \n"
            )
        };
        for (value, job) in [
            ("unlimited", None),
            ("4611686018427387904", Some(0)),
            ("4611686018427387946", Some(42)),
            ("200000", None),
            ("", None),
        ] {
            assert_eq!(cookie(&table(value)), job, "{value:?}");
        }
        assert_eq!(cookie(""), None);
    }

    #[test]
    fn lists_of_pids() {
        for (list, expected) in [("", vec![]), ("12 ", vec![12]), ("1 22 333 ", vec![1, 22, 333]), ("x 7", vec![7])] {
            assert_eq!(pids(list.as_bytes()).collect::<Vec<_>>(), expected);
        }
    }
}
