//! The other process: it makes the scripts' processes, so that the server never forks.
//!
//! The server is large, has many threads and thousands of descriptors; a child made from it costs up to a hundred
//! times what the kernel needs. So `main` calls [`Nursery::fork`] before any thread exists. What is forked there is
//! this very program, tiny and single-threaded:
//!
//! ```text
//!  server ──► keeper ──► nursery ──► spawner ──► scripts        (who forks whom)
//!  server ◄───────────────────────►  spawner                    (who talks: one socket pair each)
//! ```
//!
//! * A **spawner** starts programs ([`Spawner::start`]: one packet with the job and its descriptors, no answer waited
//!   for), collects them, and ends them. Orphans of its scripts become its children, so nothing gets away by forking
//!   twice. When its socket closes because the server has died, it ends everything.
//! * The **nursery** makes spawners, now and whenever one has died, and ends what a dead one has left.
//! * The **keeper** makes another nursery when that has died, which by then nobody else has the rights for, and ends
//!   what a nursery and its spawners have left when all of them have been killed. Where the keeper has died too, the
//!   server does that as far as it may.
//!
//! Spawners come in two kinds. A *confined* one carries the seccomp filter, which its scripts inherit for nothing; a
//! *plain* one serves jobs with [`Sandbox::Off`], and those that may gain privileges where the server is not root
//! (the kernel accepts a filter from root or with no_new_privs, and such a job has neither).
//!
//! Both keep root if the server was started as root, and take the job's [`Identity`] in the child. `cgroup.kill` is
//! not used: making and removing a cgroup per job costs more than the job, and what it would give, the cookie
//! (`family.rs`) and the subreaper give too.

mod client;
mod family;
mod household;
mod jobs;
mod line;
mod nursery;
mod orphans;
mod post;
mod sandbox;
mod seccomp;
mod serve;
mod socket;
#[cfg(test)]
mod tests;
pub mod wire;

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use crate::sys::Step;
pub use client::Spawner;
pub use line::Child;
pub use nursery::{Nursery, Replaceable};
pub use sandbox::sandbox_report;

/// A program to start, and how.
#[derive(Debug, Clone)]
pub struct Job {
    /// The path to execute; no search in `PATH`.
    pub program: CString,
    /// Its arguments, `argv[0]` first.
    pub argv: Vec<CString>,
    /// Its whole environment, `NAME=VALUE`.
    pub env: Vec<CString>,
    /// The folder it runs in.
    pub dir: CString,
    /// What it may use.
    pub limits: Limits,
    /// Whom it runs as. `None` means the spawner's own ids, so **root when the server was started as root**.
    pub identity: Option<Identity>,
    /// What it may do.
    pub sandbox: Sandbox,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// No setuid program gives it more rights (`PR_SET_NO_NEW_PRIVS`). Without it a server that is not root can apply
    /// neither seccomp nor Landlock: [`Sandbox::Standard`] is then off, [`Sandbox::Strict`] refuses to start.
    pub no_new_privs: bool,
    /// How long processes that detached from the job's descriptors may outlive its leader.
    pub linger: Duration,
    /// From TERM to KILL.
    pub grace: Duration,
}

/// `setrlimit` values; `None` leaves the spawner's own. A value above the spawner's hard limit is lowered to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Seconds of CPU per process (SIGXCPU, one second later SIGKILL).
    pub cpu: Option<u64>,
    /// Bytes of address space per process.
    pub address_space: Option<u64>,
    /// Bytes of the largest file it may write (SIGXFSZ).
    pub file_size: Option<u64>,
    /// Descriptors per process.
    pub open_files: Option<u64>,
    /// Processes of its user, all together; the kernel does not apply it to root.
    pub processes: Option<u64>,
    /// Bytes of a core dump.
    pub core: Option<u64>,
}

/// User, group and supplementary groups. A spawner without root can only take its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; empty for none.
    pub groups: Vec<u32>,
}

/// What a script may do. Best effort on kernels that lack something: see [`sandbox_report`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Anything its user may.
    Off,
    /// No mounts, tracing, kernel modules, namespaces and the like (EPERM); no signals to processes outside.
    #[default]
    Standard,
    /// Also: no TCP; reads the system's programs, libraries and `/etc`, and what is given here; the folder of the
    /// program is not added by itself.
    Strict {
        /// Files and trees it may read and execute. Each must exist.
        read: Vec<CString>,
        /// Trees it may change; what it writes there it cannot execute. Each must exist.
        write: Vec<CString>,
    },
}

/// The script's ends of its descriptors; closed in the server as soon as they have been sent. They must be blocking.
#[derive(Debug)]
pub struct Stdio {
    /// `None`: `/dev/null`.
    pub stdin: Option<OwnedFd>,
    /// Where the answer goes.
    pub stdout: OwnedFd,
    /// `None`: `/dev/null`.
    pub stderr: Option<OwnedFd>,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It returned.
    Exited {
        /// 0 to 255.
        status: i32,
        /// What it took.
        usage: Usage,
    },
    /// A signal ended it.
    Signalled {
        /// Which.
        signal: i32,
        /// What it took.
        usage: Usage,
    },
    /// It never ran.
    NotStarted {
        /// What failed.
        step: Step,
        /// And why. EAGAIN, ENOMEM, EMFILE and ENFILE mean "no room": see [`Ending::is_no_room`].
        errno: i32,
    },
    /// The process that would have told has died; the job is being ended.
    SpawnerDied,
}

impl Ending {
    /// Whether it could not be started for want of processes, memory or descriptors, so that later may be better.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        matches!(
            self,
            Self::NotStarted { errno: libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS, .. }
        )
    }
}

/// What a job's leader took, with the children it waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Largest resident size, KiB. Never below that of the spawner, a few MiB: it shares its memory until the exec.
    pub peak_rss_kib: u64,
}

/// Why a job could not even be handed over.
#[derive(Debug)]
pub enum SpawnError {
    /// Program, arguments and environment exceed [`wire::MAX_MESSAGE`]: the request was too large (431).
    TooBig,
    /// There is no spawner, and none could be made (503).
    NoSpawner,
    /// [`Spawner::shutdown`] has been called (503).
    ShuttingDown,
    /// The job could not be sent: the system is short of buffers or descriptors (503).
    Send(io::Error),
}

impl std::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooBig => write!(f, "arguments and environment exceed {} bytes", wire::MAX_MESSAGE),
            Self::NoSpawner => f.write_str("no spawner is alive and none could be started"),
            Self::ShuttingDown => f.write_str("shutting down"),
            Self::Send(error) => write!(f, "the job could not be sent to the spawner: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Send(error) = self { Some(error) } else { None }
    }
}
