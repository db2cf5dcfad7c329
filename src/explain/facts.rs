//! What is known of a script: gathered by [`super::observe`] and the gateway, judged by pure functions.

use std::path::PathBuf;
use std::time::Duration;

use crate::gateway::{Fault, HeadError, Settings};
use crate::spawner::{Ending, Step};

use super::program::Program;

/// As whom a script runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The user's name, or its number.
    pub name: String,
}

/// Owner and mode of a file or folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `user:group` by name.
    pub owner: String,
    /// Whether it is a folder.
    pub folder: bool,
}

/// What can be seen of a script's file without running it.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// Absolute path.
    pub file: PathBuf,
    /// `None`: it is not there, or cannot be looked at.
    pub stat: Option<Stat>,
    /// The folders above it, the root first.
    pub folders: Vec<(PathBuf, Stat)>,
    /// Its first octets; `None`: it cannot be read.
    pub head: Option<Vec<u8>>,
    /// The mount point, where that is mounted noexec.
    pub noexec: Option<PathBuf>,
    /// Whether the configuration names the program that runs it: neither x bit nor `#!` is needed then.
    pub interpreted: bool,
    /// What runs it, as the system sees it.
    pub program: Program,
    /// Names of the files in its folder; bounded.
    pub neighbours: Vec<String>,
    /// The first octets of the Python modules beside it that it imports, or that these import; bounded.
    pub helpers: Vec<(String, Vec<u8>)>,
    /// As whom it runs.
    pub who: Who,
    /// Whether a file that everybody may write is refused.
    pub refuse_writable: bool,
}

/// What went wrong, as the gateway saw it.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Nothing that it saw.
    None,
    /// The program could not be started: the step, and errno.
    NotStarted(Step, i32),
    /// Its header block was refused.
    Head(HeadError),
    /// It ended, after so many octets, and there was no header block.
    NoHead(usize),
    /// This limit in time ended it before its header was there.
    Timeout(&'static str),
    /// Its body was not what its header said.
    Body(Fault),
}

/// What was seen of one run.
#[derive(Clone, Debug)]
pub struct RunFacts<'a> {
    /// What went wrong.
    pub trouble: Trouble,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
    /// The first octets of a refused answer.
    pub output: &'a [u8],
    /// The last octets of its standard error.
    pub stderr: &'a [u8],
    /// Its limits, as far as it has any.
    pub limits: &'a [Limit],
    /// Whether files are confined (`sandbox = "strict"`).
    pub strict: bool,
    /// Owner and mode of the files that its standard error names: see [`super::run::named_files`].
    pub named: &'a [(PathBuf, Stat)],
}

/// A limit that a script can run into: key, value, and a larger value, as one writes them in cgiserve.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The key.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// Twice that.
    pub more: String,
}

/// The limits of a route's scripts.
pub fn limits(settings: &Settings) -> Vec<Limit> {
    let time = |key, limit: Option<Duration>| {
        limit.map(|limit| Limit { key, value: format!("{limit:?}"), more: format!("\"{}ms\"", limit.as_millis() * 2) })
    };
    let size = |key, limit: Option<u64>| {
        limit.map(|limit| Limit { key, value: size(limit), more: format!("\"{}\"", size(limit.saturating_mul(2))) })
    };
    let number = |key, limit: Option<u64>| {
        limit.map(|limit| Limit { key, value: limit.to_string(), more: limit.saturating_mul(2).to_string() })
    };
    let of = &settings.limits;
    [
        time("first-byte-timeout", settings.first_byte),
        time("idle-timeout", settings.idle),
        time("timeout", settings.total),
        time("cpu", of.cpu.map(Duration::from_secs)),
        size("memory", of.address_space),
        size("file-size", of.file_size),
        number("open-files", of.open_files),
        number("processes", of.processes),
        size("head-size", Some(settings.head.octets as u64)),
        number("head-fields", Some(settings.head.fields as u64)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Octets as one writes them: in the largest unit that divides them.
fn size(octets: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if octets != 0 && octets.trailing_zeros() >= shift {
            return format!("{} {unit}", octets >> shift);
        }
    }
    octets.to_string()
}

/// A right to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// r
    Read = 4,
    /// w
    Write = 2,
    /// x: execute, search.
    Execute = 1,
}

impl Who {
    /// Whether the mode bits give this user `right`. Root needs an x bit somewhere to execute a file, nothing else.
    pub fn may(&self, right: Right, stat: &Stat) -> bool {
        let bit = right as u32;
        if self.uid == 0 {
            return right != Right::Execute || stat.folder || stat.mode & 0o111 != 0;
        }
        let shift = if self.uid == stat.uid {
            6
        } else if self.gid == stat.gid || self.groups.contains(&stat.gid) {
            3
        } else {
            0
        };
        stat.mode >> shift & bit != 0
    }
}
