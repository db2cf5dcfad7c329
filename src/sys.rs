//! The system calls for which no safe wrapper exists, and the only unsafe code of the crate.
//!
//! Everything here is small on purpose: each function is one step that the caller composes, each `unsafe` block says
//! why it is sound. The centre is [`launch()`], the birth of a script's process.
#![allow(unsafe_code)]

mod launch;

use std::ffi::{CStr, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use launch::Step;
pub(crate) use launch::{ChildStack, Ids, Launch, Limit, Pointers, launch};

/// Forks: `Some(pid)` in the parent, `None` in the child.
///
/// Call it only while the process has one thread: the child owns a copy of every lock, and a lock held by another
/// thread at that moment stays held there for ever.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: fork has no memory preconditions; what the child may do is the caller's duty, stated above.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process at once: no destructors, no atexit handlers, which belong to the process it was forked from.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(status) }
}

/// Sets every signal back to its default disposition. Children inherit that, so a start pays nothing for it.
///
/// Without it a server under `nohup` would hand an ignored SIGHUP to every script, and Rust's ignored SIGPIPE too.
pub(crate) fn default_dispositions() {
    // All zero is SIG_DFL without flags, and more than any kernel's `struct sigaction` takes. The raw call, because the
    // C library refuses to touch the signals it uses itself, and one of those may come ignored from our parent.
    let default = [0u64; 8];
    for signal in 1..=64 {
        // SAFETY: the kernel reads from `default` and writes nothing; no handler is installed. KILL and STOP are
        // refused, which is right.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<c_void>(), KERNEL_SIGSET);
        }
    }
}

/// Bytes of the kernel's `sigset_t`, which is not the C library's.
const KERNEL_SIGSET: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 };

/// Blocks every signal in this thread.
pub(crate) fn block_signals() -> io::Result<()> {
    // SAFETY: the set is initialised by sigfillset before it is read.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &all, ptr::null_mut()))?;
    }
    Ok(())
}

/// A descriptor that becomes readable when a child has changed state. SIGCHLD must be blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use; the returned descriptor is new and owned by nobody else.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Makes this process the parent of every orphan among its descendants (`PR_SET_CHILD_SUBREAPER`).
pub(crate) fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
    Ok(())
}

/// The name `ps` and `/proc/PID/comm` show; the kernel cuts it at 15 bytes.
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: a NUL-terminated string that outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Starts a session of its own: a Ctrl-C at the terminal then reaches the server only.
pub(crate) fn new_session() {
    // SAFETY: no arguments. It fails only for a group leader, which then has its own group already.
    unsafe { libc::setsid() };
}

/// Gives up the right to gain privileges by exec, for this thread and all it starts.
pub(crate) fn no_new_privs() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

/// Installs a seccomp filter for this thread and all it starts. Needs no_new_privs or CAP_SYS_ADMIN.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions from a slice that outlives the call, and writes nothing.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER as c_long, &raw const program, 0, 0) })?;
    Ok(())
}

/// Whether the kernel knows seccomp filters.
pub(crate) fn has_seccomp() -> bool {
    // SAFETY: plain integers; mode 0 when no filter is installed, EINVAL when seccomp is not built in.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 }
}

/// The kernel's Landlock ABI, 0 without Landlock.
///
/// # Errors
/// It did not say.
pub(crate) fn landlock_abi() -> io::Result<i32> {
    const VERSION: c_long = 1;
    // SAFETY: with the version flag the kernel reads no memory.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0usize, VERSION) };
    if abi >= 0 {
        return Ok(i32::try_from(abi).unwrap_or(i32::MAX));
    }
    match errno() {
        libc::ENOSYS | libc::EOPNOTSUPP => Ok(0),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The soft and hard limit of this process; unlimited where it cannot be read.
pub(crate) fn limit(resource: u32) -> (u64, u64) {
    let mut now = libc::rlimit64 { rlim_cur: libc::RLIM64_INFINITY, rlim_max: libc::RLIM64_INFINITY };
    // SAFETY: `now` is a valid place for one rlimit64.
    unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::null::<c_void>(), &raw mut now) };
    (now.rlim_cur, now.rlim_max)
}

/// Closes every descriptor from 3 upwards except `keep`.
///
/// What a server inherited by accident (a harness's pipe, a log) must reach neither the spawner nor a script: a pipe
/// held open there would never come to its end.
pub(crate) fn close_inherited(keep: RawFd) {
    for (first, last) in [(3, i64::from(keep) - 1), (i64::from(keep).max(2) + 1, i64::from(u32::MAX))] {
        if first > last {
            continue;
        }
        // SAFETY: called right after fork, before the child owns any descriptor but `keep`; nothing that is closed
        // here is ever used again in this process.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            let end = last.min(i64::try_from(limit(libc::RLIMIT_NOFILE).0).unwrap_or(65_536).min(65_536));
            for fd in first..=end {
                // SAFETY: as above; kernels before 5.9 have no close_range.
                unsafe { libc::close(fd as RawFd) };
            }
        }
    }
}

/// Makes descriptor 0, 1 or 2 a copy of `fd`.
pub(crate) fn replace_standard(fd: BorrowedFd<'_>, standard: RawFd) -> io::Result<()> {
    debug_assert!((0..=2).contains(&standard));
    // SAFETY: 0, 1 and 2 are never owned by an `OwnedFd` of this crate.
    check(unsafe { libc::dup2(fd.as_raw_fd(), standard) })?;
    Ok(())
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// As `waitpid` gives it.
    pub(crate) status: i32,
    /// User and system time of the child and of those it waited for.
    pub(crate) cpu: Duration,
    /// Largest resident size, KiB. Never below that of the parent: vfork shares its memory until the exec.
    pub(crate) peak_rss_kib: u64,
}

/// What [`reap`] found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reap {
    /// One child, now gone for good.
    Child(Reaped),
    /// There are children and all of them run.
    AllRunning,
    /// There is no child at all.
    NoChildren,
}

/// Collects one ended child, any, or the one given. Never waits, unless `pid` is given.
pub(crate) fn reap(pid: Option<i32>) -> Reap {
    let mut status: c_int = 0;
    // SAFETY: zero is a valid rusage, and both places are valid for the kernel to write to.
    let (reaped, usage) = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        let flags = if pid.is_some() { 0 } else { libc::WNOHANG | libc::__WALL };
        loop {
            let reaped = libc::wait4(pid.unwrap_or(-1), &mut status, flags, &mut usage);
            if reaped != -1 || errno() != libc::EINTR {
                break (reaped, usage);
            }
        }
    };
    let time = |t: libc::timeval| {
        Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or(0))
    };
    match reaped {
        0 => Reap::AllRunning,
        pid if pid > 0 => Reap::Child(Reaped {
            pid,
            status,
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            peak_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        }),
        _ => Reap::NoChildren,
    }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes over a descriptor that was open when the process began, so that no child of ours inherits it.
///
/// # Errors
/// It is not open, or one of the standard three.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= libc::STDERR_FILENO {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: fcntl with F_SETFD takes plain numbers; an fd that is not open is an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and nothing in this process owns it: whoever started us opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers a descriptor with the runtime of the calling task.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same descriptor, and keeps it open while it is registered.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// The same for one direction only.
pub(crate) fn watch_for(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as above.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Reads once into the room that `buffer` has left, and takes what came into it.
pub(crate) fn read_into(fd: BorrowedFd<'_>, buffer: &mut bytes::BytesMut) -> io::Result<usize> {
    let (filled, _) = rustix::io::read(fd, buffer.spare_capacity_mut())?;
    let length = filled.len();
    // SAFETY: the kernel has written the first `length` octets of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + length) };
    Ok(length)
}

/// Takes on a group and groups, and stays the user it is. Per thread to the kernel: call it while there is one.
pub(crate) fn take_groups(gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: plain system calls; `groups` is valid for its length.
    let done = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) == 0 && libc::setresgid(gid, gid, gid) == 0 };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes on a user, a group and groups for good. Per thread to the kernel: call it while there is one.
pub(crate) fn become_user(
    uid: rustix::process::Uid,
    gid: rustix::process::Gid,
    groups: &[rustix::process::Gid],
) -> io::Result<()> {
    let groups: Vec<libc::gid_t> = groups.iter().map(|gid| gid.as_raw()).collect();
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    // SAFETY: plain system calls; `groups` is valid for its length.
    let done = unsafe {
        libc::setgroups(groups.len(), groups.as_ptr()) == 0
            && libc::setresgid(gid, gid, gid) == 0
            && libc::setresuid(uid, uid, uid) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
