//! The process above the spawners: makes them, and ends what a dead one has left.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::family;
use super::orphans::{LOOK, Orphans};
use super::serve::{Kind, serve};
use super::socket;
use crate::sys::{self, Reap};

/// Spawners by default: more than four are faster than any network in front of them.
const MAX_DEFAULT: usize = 4;

/// The nursery and its first spawners, made before the runtime: see [`Nursery::fork`].
#[derive(Debug)]
pub struct Nursery {
    pub(super) control: OwnedFd,
    pub(super) pid: i32,
    /// Makes another nursery, with all the rights of the first, when this one dies.
    pub(super) keeper: Newborn,
    pub(super) first: Vec<Newborn>,
    /// Spawners of each kind.
    pub(super) size: usize,
    pub(super) powerful: bool,
    pub(super) replaceable: bool,
}

/// A spawner or nursery just made.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) socket: OwnedFd,
    pub(super) pid: i32,
}

impl Nursery {
    /// One spawner per core, at most four.
    #[must_use]
    pub fn default_size() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from).min(MAX_DEFAULT)
    }

    /// To be called first of all in `main`. If this program has been executed to replace a nursery that has died, it
    /// becomes that and does not return.
    #[must_use]
    pub fn answer_call() -> Replaceable {
        let stdin = rustix::stdio::stdin();
        let called = std::env::args_os().next().is_some_and(|name| name == ROLE)
            && rustix::net::sockopt::socket_type(stdin) == Ok(rustix::net::SocketType::SEQPACKET);
        if called && let Ok(control) = rustix::io::fcntl_dupfd_cloexec(stdin, 3) {
            enter(control, |control| nurse(&control, c"cgiserve:nursery", is_powerful()));
        }
        Replaceable(())
    }

    /// Lets a nursery that has died be replaced; without it, its spawners serve on, but none is replaced any more.
    #[must_use]
    pub fn replaceable(mut self, _proof: &Replaceable) -> Self {
        self.replaceable = true;
        self
    }

    /// Forks the keeper, the nursery and `size` spawners (at least one), with the rights the process has now.
    ///
    /// Call it first thing in `main`, while there is one thread: what is forked is this process, and another thread's
    /// locks would stay locked in it for ever. Give up root only afterwards.
    ///
    /// # Errors
    /// No processes, descriptors or memory to be had.
    pub fn fork(size: usize) -> io::Result<Self> {
        let (control, theirs) = socket::pair()?;
        let powerful = is_powerful();
        let Some(pid) = sys::fork()? else {
            enter(theirs, |control| nurse(&control, c"cgiserve:keeper", powerful));
        };
        drop(theirs);
        let keeper = Newborn { socket: control, pid };
        let bear = |control: &OwnedFd, wanted: Wanted| {
            ask(control, wanted)?;
            answer(control, RecvFlags::empty())?
        };
        let Newborn { socket: control, pid } = bear(&keeper.socket, Wanted::Nursery)?;
        let size = size.max(1);
        let first = (0..size).map(|_| bear(&control, Wanted::Spawner(Kind::Confined))).collect::<io::Result<_>>()?;
        Ok(Self { control, pid, keeper, first, size, powerful, replaceable: false })
    }
}

/// Proof that `main` has called [`Nursery::answer_call`], so that a new nursery can be had by executing this program.
#[derive(Debug)]
pub struct Replaceable(());

/// How often an answer is sent when the system is short of memory for it, [`LOOK`] apart.
const TRIES: u32 = 20;

/// `argv[0]` of this program when it is to be a nursery.
const ROLE: &str = "cgiserve: nursery";

/// A nursery in place of one that has died: this same file, executed anew, because a large server with many threads
/// cannot fork. It has the rights the server has now; once root is given up, jobs with another identity fail.
pub(super) fn call() -> io::Result<Newborn> {
    let (ours, theirs) = socket::pair()?;
    let child = Command::new("/proc/self/exe").arg0(ROLE).env_clear().stdin(theirs).stdout(Stdio::null()).spawn()?;
    Ok(Newborn { socket: ours, pid: i32::try_from(child.id()).map_err(io::Error::other)? })
}

/// Whether this process may filter system calls without giving up new privileges.
fn is_powerful() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN))
}

/// What a nursery can be asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Spawner(Kind),
    /// Another like itself; the keeper is asked for that.
    Nursery,
}

/// The number of [`Wanted::Nursery`]; those of spawners are their kinds'.
const NURSERY: u8 = 2;

/// Requests one more.
pub(super) fn ask(control: impl AsFd, wanted: Wanted) -> Result<(), Errno> {
    let number = match wanted {
        Wanted::Spawner(kind) => kind as u8,
        Wanted::Nursery => NURSERY,
    };
    socket::send(control, &[number], &[], SendFlags::DONTWAIT)
}

/// Whether the other end has closed.
pub(super) fn is_over(control: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&control, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_err() || fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Reads the nursery's answer: errno or 0, and the pid, each an i32; the newborn's socket comes with it.
///
/// # Errors
/// There is none, or not yet. What the nursery itself could not do is inside: its EAGAIN is no reason to wait for more.
pub(super) fn answer(control: impl AsFd, flags: RecvFlags) -> io::Result<io::Result<Newborn>> {
    let mut bytes = [0; 8];
    let mut packet = socket::receive(control, &mut bytes, flags)?;
    let [e0, e1, e2, e3, pid @ ..] = bytes;
    match (packet.fds.pop(), i32::from_le_bytes([e0, e1, e2, e3])) {
        (Some(socket), 0) => Ok(Ok(Newborn { socket, pid: i32::from_le_bytes(pid) })),
        (None, errno) if errno != 0 => Ok(Err(io::Error::from_raw_os_error(errno))),
        // Closed, or the descriptor could not be received.
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The first steps of a forked process: keeps `socket` and standard error, nothing else of its parent's; then runs
/// `body` and never returns, not even by a panic: the frames above belong to the parent.
fn enter(socket: OwnedFd, body: impl FnOnce(OwnedFd) -> io::Result<()>) -> ! {
    let result = catch_unwind(AssertUnwindSafe(|| {
        sys::close_inherited(socket.as_raw_fd());
        sys::default_dispositions();
        sys::block_signals()?;
        sys::new_session();
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        sys::replace_standard(null.as_fd(), 0)?;
        sys::replace_standard(null.as_fd(), 1)?;
        body(socket)
    }));
    let trouble = match result {
        Ok(Ok(())) => sys::exit_now(0),
        Ok(Err(error)) => format!("cgiserve: process {} gives up: {error}\n", std::process::id()),
        Err(_) => format!("cgiserve: process {} gives up: it panicked\n", std::process::id()),
    };
    // Not through std, whose lock on standard error may have been held when this process was forked.
    let _ = rustix::io::write(rustix::stdio::stderr(), trouble.as_bytes());
    sys::exit_now(70)
}

/// Keeper and nursery do the same; the difference is what they are asked for.
fn nurse(control: &OwnedFd, name: &CStr, powerful: bool) -> io::Result<()> {
    sys::set_name(name);
    sys::become_subreaper()?;
    let endings = sys::child_signals()?;
    let mut born = HashSet::new();
    let mut orphans = Orphans::default();
    let mut open = true;
    loop {
        let timeout = (!open || orphans.any()).then(|| Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() });
        let mut fds = [PollFd::new(&endings, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        let watched = if open { 2 } else { 1 };
        match poll(&mut fds[..watched], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::NOMEM | Errno::AGAIN) => std::thread::sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
        if open && !fds[1].revents().is_empty() {
            let mut request = [0; 1];
            match socket::receive(control, &mut request, RecvFlags::DONTWAIT) {
                Ok(packet) if packet.length == 0 => open = false,
                Ok(_) => born.extend(bear(control, request[0], powerful)),
                Err(_) => {}
            }
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&endings, &mut [0; 1024]);
        }
        let any_child = loop {
            match sys::reap(None) {
                Reap::Child(reaped) => {
                    // What it has left, or what an orphan has left in turn, is this process's child by now.
                    born.remove(&reaped.pid);
                    orphans.buried(reaped.pid);
                }
                Reap::AllRunning => break true,
                Reap::NoChildren => break false,
            }
        };
        if !open && !any_child {
            return Ok(());
        }
        if any_child && orphans.any() {
            // The spawners of a dead nursery serve on below the keeper.
            orphans.end(|pid| !born.contains(&pid) && !family::is_helper(pid));
        }
    }
}

/// Makes what `number` asks for, hands its socket to the server, and tells its pid.
fn bear(control: &OwnedFd, number: u8, powerful: bool) -> Option<i32> {
    let made = (|| {
        let (server, ours) = socket::pair()?;
        let Some(pid) = sys::fork()? else {
            match number {
                0 => enter(ours, |socket| serve(socket, Kind::Confined, powerful)),
                NURSERY => enter(ours, |socket| nurse(&socket, c"cgiserve:nursery", powerful)),
                _ => enter(ours, |socket| serve(socket, Kind::Plain, powerful)),
            }
        };
        io::Result::Ok((server, pid))
    })();
    let answer = |errno: i32, pid: i32| [errno.to_le_bytes(), pid.to_le_bytes()].concat();
    for _ in 0..TRIES {
        let sent = match &made {
            Ok((server, pid)) => socket::send(control, &answer(0, *pid), &[server.as_fd()], SendFlags::DONTWAIT),
            Err(error) => {
                socket::send(control, &answer(error.raw_os_error().unwrap_or(libc::EIO), 0), &[], SendFlags::DONTWAIT)
            }
        };
        match sent {
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => std::thread::sleep(LOOK),
            // If the server has gone, the newborn sees its socket close and goes too.
            _ => break,
        }
    }
    made.ok().map(|(_, pid)| pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_nursery_cannot_do_is_no_reason_to_wait() {
        let (ours, theirs) = socket::pair().unwrap();
        let would_block = answer(&ours, RecvFlags::DONTWAIT).unwrap_err();
        assert_eq!(would_block.kind(), io::ErrorKind::WouldBlock);
        socket::send(&theirs, &[libc::EAGAIN.to_le_bytes(), [0; 4]].concat(), &[], SendFlags::empty()).unwrap();
        let no_room = answer(&ours, RecvFlags::DONTWAIT).unwrap().unwrap_err();
        assert_eq!(no_room.raw_os_error(), Some(libc::EAGAIN));
    }
}
