//! The birth of a script's process: clone, set-up, exec.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::{KERNEL_SIGSET, errno, reap};

/// A NULL-terminated array of C strings, as `execve` wants it, which cannot outlive its strings.
#[derive(Debug)]
pub(crate) struct Pointers<'a> {
    list: Vec<*const c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> Pointers<'a> {
    pub(crate) fn new(strings: impl Iterator<Item = &'a CStr>) -> Self {
        let mut list: Vec<_> = strings.map(CStr::as_ptr).collect();
        list.push(ptr::null());
        Self { list, strings: PhantomData }
    }
}

/// The user, group and supplementary groups a child takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids<'a> {
    pub(crate) uid: u32,
    /// `None` where the caller has them already.
    pub(crate) groups: Option<(u32, &'a [u32])>,
}

/// One resource limit: resource, soft, hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(pub(crate) u32, pub(crate) u64, pub(crate) u64);

/// All that [`launch`] needs, laid out before the child exists, because the child may not allocate.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) argv: &'a Pointers<'a>,
    pub(crate) env: &'a Pointers<'a>,
    pub(crate) dir: &'a CStr,
    /// Become 0, 1 and 2; each must be 3 or above.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    pub(crate) umask: u32,
    pub(crate) limits: &'a [Limit],
    pub(crate) ids: Option<Ids<'a>>,
    pub(crate) no_new_privs: bool,
    pub(crate) landlock: Option<BorrowedFd<'a>>,
    /// The caller's own pid: a child whose parent has died meanwhile must not run.
    pub(crate) parent: i32,
    /// Passed to `prlimit64` as a sixth argument, which the kernel ignores and the spawner's own filter asks for.
    pub(crate) secret: u64,
}

/// Where a child stood when it failed. The numbers travel over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Step {
    /// The job's message was not well formed.
    Message = 1,
    /// The descriptors did not arrive whole, or the spawner has none left.
    Descriptors = 2,
    /// No process could be made (EAGAIN, ENOMEM: no room; try later).
    Clone = 3,
    /// A session of its own.
    Session = 4,
    /// Placing 0, 1 and 2.
    Stdio = 5,
    /// A resource limit.
    Limits = 6,
    /// Giving up new privileges.
    NoNewPrivs = 7,
    /// The sandbox could not be built or entered.
    Sandbox = 8,
    /// Groups, group, user.
    Identity = 9,
    /// Entering the folder.
    Chdir = 10,
    /// Executing the program.
    Exec = 11,
}

impl Step {
    /// The step of this number on the wire.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        use Step::{Chdir, Clone, Descriptors, Exec, Identity, Limits, Message, NoNewPrivs, Sandbox, Session, Stdio};
        [Message, Descriptors, Clone, Session, Stdio, Limits, NoNewPrivs, Sandbox, Identity, Chdir, Exec]
            .into_iter()
            .find(|step| *step as u8 == number)
    }
}

/// The stack of the child between clone and exec. One is enough: the parent sleeps meanwhile.
#[derive(Debug)]
pub(crate) struct ChildStack(*mut c_void);

/// Bytes; the child's frame is a few hundred, and the C library's syscall wrapper adds little.
const CHILD_STACK: usize = 64 * 1024;

impl ChildStack {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice; never unmapped, never moved.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                CHILD_STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(base)) }
    }
}

/// What parent and child share: the plan going in, the failure coming out.
struct Shared<'a> {
    launch: &'a Launch<'a>,
    step: Step,
    errno: c_int,
}

/// Starts a program: clone with the parent's memory (no page tables are copied), set-up in the child, exec.
///
/// Returns when the exec has succeeded or failed, so the answer is exact. Call it with every signal blocked and from
/// a process with one thread: the child shares this memory, and a handler running there would run on its data.
///
/// # Errors
/// The step that failed and its errno; the failed child is already collected.
pub(crate) fn launch(stack: &mut ChildStack, launch: &Launch<'_>) -> Result<i32, (Step, i32)> {
    let mut shared = Shared { launch, step: Step::Clone, errno: 0 };
    let place = &raw mut shared;
    // SAFETY: `child` runs on its own stack while this thread is suspended by CLONE_VFORK, so nothing it reads can
    // change or go away; it ends in execve or _exit. The top of the mapping is page-aligned.
    let pid = unsafe {
        libc::clone(
            child,
            stack.0.byte_add(CHILD_STACK),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            place.cast(),
        )
    };
    if pid < 0 {
        return Err((Step::Clone, errno()));
    }
    // SAFETY: the child is gone from this memory. Volatile, because the compiler cannot see that it wrote here.
    let (step, errno) =
        unsafe { (ptr::read_volatile(&raw const (*place).step), ptr::read_volatile(&raw const (*place).errno)) };
    if errno != 0 {
        let _ = reap(Some(pid));
        return Err((step, errno));
    }
    Ok(pid)
}

/// Times to try again when the program is open for writing (ETXTBSY), and the pause between. The spawner stands still
/// meanwhile, so it is short: it covers an editor's or installer's last close, no more.
const TEXT_BUSY_TRIES: u32 = 5;
const TEXT_BUSY_PAUSE_NS: c_long = 2_000_000;

/// The child: only raw system calls, no allocation, no locks, no return. Kept out of line so that none of its frame is
/// shared with the parent's.
///
/// The order matters. Limits before the identity, while there is the right to set them. no_new_privs, then Landlock
/// (which asks for it, or for CAP_SYS_ADMIN), before the identity takes that capability away. The death signal after
/// the identity, which clears it. The folder after the identity, so that its permissions count. The signal mask last.
#[inline(never)]
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: `launch` passes a valid `Shared` and sleeps until this process has left its memory.
    unsafe {
        let shared = shared.cast::<Shared<'_>>();
        if let Err((step, errno)) = prepare_and_exec((*shared).launch) {
            ptr::write_volatile(&raw mut (*shared).step, step);
            ptr::write_volatile(&raw mut (*shared).errno, errno);
        }
        libc::syscall(libc::SYS_exit_group, 127);
    }
    127
}

/// # Safety
/// Only in the child of [`launch`].
unsafe fn prepare_and_exec(launch: &Launch<'_>) -> Result<(), (Step, c_int)> {
    let at = |step: Step, result: c_long| {
        if result < 0 { Err((step, errno())) } else { Ok(result) }
    };
    // SAFETY: every pointer below comes from a reference in `launch`, valid until exec; the rest are integers.
    unsafe {
        at(Step::Session, libc::syscall(libc::SYS_setsid))?;
        for (standard, fd) in launch.stdio.iter().enumerate() {
            at(Step::Stdio, libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), standard, 0))?;
        }
        // Belt and braces: every descriptor of the spawner is close-on-exec already, so an old kernel may refuse.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::syscall(libc::SYS_umask, launch.umask);
        for Limit(resource, soft, hard) in launch.limits {
            let new = libc::rlimit64 { rlim_cur: *soft, rlim_max: *hard };
            let old = ptr::null::<c_void>();
            let set = libc::syscall(libc::SYS_prlimit64, 0, *resource, &raw const new, old, 0, launch.secret);
            at(Step::Limits, set)?;
        }
        if launch.no_new_privs {
            at(Step::NoNewPrivs, libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        }
        if let Some(ruleset) = launch.landlock {
            at(Step::Sandbox, libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0))?;
        }
        if let Some(ids) = launch.ids {
            // Raw calls: the C library's would ask every other thread to follow, and this is another's memory.
            if let Some((gid, groups)) = ids.groups {
                at(Step::Identity, libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
                at(Step::Identity, libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            }
            at(Step::Identity, libc::syscall(libc::SYS_setresuid, ids.uid, ids.uid, ids.uid))?;
        }
        // If even `kill -9` of every server process leaves nobody to clean up, the leader still goes.
        at(Step::Session, libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        if libc::syscall(libc::SYS_getppid) != c_long::from(launch.parent) {
            return Err((Step::Clone, libc::ECHILD));
        }
        at(Step::Chdir, libc::syscall(libc::SYS_chdir, launch.dir.as_ptr()))?;
        let empty = [0u64; 2];
        let none = ptr::null::<c_void>();
        let unblock = libc::SIG_SETMASK;
        at(Step::Session, libc::syscall(libc::SYS_rt_sigprocmask, unblock, empty.as_ptr(), none, KERNEL_SIGSET))?;
        let mut tries = 0;
        loop {
            libc::syscall(
                libc::SYS_execve,
                launch.program.as_ptr(),
                launch.argv.list.as_ptr(),
                launch.env.list.as_ptr(),
            );
            let error = errno();
            tries += 1;
            if error != libc::ETXTBSY || tries > TEXT_BUSY_TRIES {
                return Err((Step::Exec, error));
            }
            let pause = libc::timespec { tv_sec: 0, tv_nsec: TEXT_BUSY_PAUSE_NS };
            libc::syscall(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, &raw const pause, 0);
        }
    }
}
