//! Opening a file once, and reading it without blocking the reactor.

use std::ffi::CStr;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, ReadWriteFlags};

use super::Symlinks;
use super::name::Name;
use crate::failure::{Failure, Kind};

/// How old a file's last change must be before its time stamps are trusted to tell two versions apart. Two seconds
/// is the coarsest clock of a file system in use (FAT); the third is for clocks read apart.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// How often an opening is repeated that a concurrent rename disturbed (`openat2(2)`: EAGAIN).
const RENAME_TRIES: usize = 64;

/// What tells one version of a file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i128,
    /// Nanoseconds since 1970. Unlike `modified` nobody can set it back.
    pub changed: i128,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether the last change is so long ago that a later one would show in the time stamps.
    pub(super) fn settled(&self, now: SystemTime) -> bool {
        let limit = now.checked_sub(SETTLED_AFTER).and_then(|limit| limit.duration_since(UNIX_EPOCH).ok());
        let limit = limit.and_then(|limit| i128::try_from(limit.as_nanos()).ok()).unwrap_or(i128::MIN);
        self.changed < limit && self.modified < limit
    }

    /// Whole seconds of the last modification, where an HTTP date can say it, never later than `now` (RFC 9110
    /// §8.8.2.1).
    pub(super) fn modified_seconds(&self, now: SystemTime) -> Option<u64> {
        let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        u64::try_from(self.modified.div_euclid(1_000_000_000)).ok().map(|seconds| seconds.min(now))
    }
}

/// A regular file or a folder that was opened. What it is was asked of the descriptor, not of the name.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: Arc<OwnedFd>,
    pub(super) identity: Identity,
    /// A folder may be one that can be entered and not read.
    pub(super) folder: bool,
}

/// Opens `name` below `root`, reading no disk on this thread.
pub(super) async fn open(name: &Name, symlinks: Symlinks) -> Result<Opened, Failure> {
    match open_now(name, symlinks, ResolveFlags::CACHED) {
        // EAGAIN: some part is not in memory. EINVAL, ENOSYS: a kernel without RESOLVE_CACHED.
        Err(Errno::AGAIN | Errno::INVAL | Errno::NOSYS) => {
            let copy = name.clone();
            on_other_thread(move || open_now(&copy, symlinks, ResolveFlags::empty())).await?
        }
        result => result,
    }
    .map_err(|error| refused(error, name, symlinks))
}

fn open_now(name: &Name, symlinks: Symlinks, cached: ResolveFlags) -> Result<Opened, Errno> {
    // NONBLOCK: a FIFO without a writer would hold the thread for ever. NOCTTY: a terminal must not become ours.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = match resolve(name, symlinks, flags, cached) {
        // A folder that may be entered and not read still has its index and its redirect.
        Err(Errno::ACCESS) => {
            let folder = resolve(name, symlinks, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, cached);
            folder.map_err(|_| Errno::ACCESS)?
        }
        result => result?,
    };
    let stat = rustix::fs::fstat(&descriptor)?;
    let folder = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => false,
        FileType::Directory => true,
        _ => return Err(Errno::NXIO), // as a socket says of itself
    };
    Ok(Opened { file: Arc::new(descriptor), identity: Identity::of(&stat), folder })
}

fn resolve(name: &Name, symlinks: Symlinks, flags: OFlags, cached: ResolveFlags) -> Result<OwnedFd, Errno> {
    // A link into /proc/*/fd or /proc/*/root is no name but a hole; nobody places one for a good reason.
    let rules = ResolveFlags::NO_MAGICLINKS | cached;
    match symlinks {
        Symlinks::Follow => match open_again(CWD, name.full(), flags, rules) {
            Err(Errno::NOSYS) => rustix::fs::openat(CWD, name.full(), flags, Mode::empty()),
            result => result,
        },
        Symlinks::Beneath => {
            let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, name.root(), root, Mode::empty())?;
            open_again(root.as_fd(), name.below(), flags, rules | ResolveFlags::BENEATH)
        }
    }
}

fn open_again(folder: BorrowedFd<'_>, name: &CStr, flags: OFlags, rules: ResolveFlags) -> Result<OwnedFd, Errno> {
    for _ in 1..RENAME_TRIES {
        match rustix::fs::openat2(folder, name, flags, Mode::empty(), rules) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if !rules.contains(ResolveFlags::CACHED) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// What `name` is now, for comparing with what it was.
pub(super) fn identity(name: &CStr) -> Option<Identity> {
    rustix::fs::stat(name).ok().map(|stat| Identity::of(&stat))
}

/// The failure for an error of opening or reading.
pub(super) fn refused(error: Errno, name: &Name, symlinks: Symlinks) -> Failure {
    let kind = match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => Kind::NotFound,
        Errno::XDEV => Kind::SymlinkEscapes,
        Errno::LOOP if symlinks == Symlinks::Beneath => Kind::SymlinkEscapes,
        // LOOP: a ring of links, or one into /proc. NXIO: a FIFO, socket or device.
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NXIO | Errno::NODEV => Kind::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Kind::OutOfResources,
        _ => Kind::Internal,
    };
    Failure::new(kind, format!("{}: {}", name.shown(), io::Error::from(error)))
}

/// Fills `room` from `offset` with what the page cache holds. `Ok(n)` with `n` below `room.len()` means that more
/// must come from the disk, or that the file ends there.
pub(super) fn read_cached(file: impl AsFd, room: &mut [u8], offset: u64) -> Result<usize, Errno> {
    read(room, offset, |room, offset| {
        rustix::io::preadv2(file.as_fd(), &mut [IoSliceMut::new(room)], offset, ReadWriteFlags::NOWAIT)
    })
}

/// Fills `room` from `offset`, waiting for the disk; for threads that may wait.
pub(super) fn read_waiting(file: impl AsFd, room: &mut [u8], offset: u64) -> Result<usize, Errno> {
    read(room, offset, |room, offset| rustix::io::pread(file.as_fd(), room, offset))
}

fn read(
    room: &mut [u8],
    offset: u64,
    mut once: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < room.len() {
        match once(&mut room[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            // EOPNOTSUPP, ENOSYS, EINVAL: a file system or kernel that does not know RWF_NOWAIT.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) if done > 0 => break,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Err(Errno::AGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The whole of a small file, as long as `identity` says, or `None` if the file turned out to be shorter. One that is
/// not `local` is read on another thread at once.
pub(super) async fn read_whole(file: &Arc<OwnedFd>, identity: Identity, local: bool) -> Result<Option<Vec<u8>>, Errno> {
    let length = usize::try_from(identity.size).map_err(|_| Errno::NOMEM)?;
    let mut octets = vec![0; length];
    let done = match if local { read_cached(file, &mut octets, 0) } else { Ok(0) } {
        Ok(done) => done,
        Err(Errno::AGAIN) => 0,
        Err(error) => return Err(error),
    };
    if done < length {
        let file = Arc::clone(file);
        let rest = move || {
            let count = read_waiting(&*file, &mut octets[done..], done as u64)?;
            Ok(if done + count == length { Some(octets) } else { None })
        };
        return on_other_thread(rest).await.map_err(|_| Errno::CANCELED)?;
    }
    Ok(Some(octets))
}

/// Runs `work` where waiting hurts nobody.
pub(super) async fn on_other_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|error| Failure::new(Kind::Internal, format!("a reading thread ended: {error}")))
}
