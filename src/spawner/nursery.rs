//! The process above the spawners: makes them, and ends what a dead one has left.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::Signal;

use super::family::{self, OwnChildren};
use super::jobs::signal;
use super::serve::{Kind, serve};
use super::socket;
use crate::sys::{self, Reap};

/// From TERM to KILL for the processes of a dead spawner, whose jobs' own graces died with it.
const GRACE: Duration = Duration::from_secs(2);

/// Between two looks while such processes are left.
const LOOK: Duration = Duration::from_millis(50);

/// Spawners by default: more than four are faster than any network in front of them.
const MAX_DEFAULT: usize = 4;

/// The nursery and its first spawners, made before the runtime: see [`Nursery::fork`].
#[derive(Debug)]
pub struct Nursery {
    pub(super) control: OwnedFd,
    pub(super) pid: i32,
    pub(super) first: Vec<Newborn>,
    /// Spawners of each kind.
    pub(super) size: usize,
    pub(super) powerful: bool,
    pub(super) replaceable: bool,
}

/// A spawner just made.
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
            enter(control, |control| nurse(&control, is_powerful()));
        }
        Replaceable(())
    }

    /// Lets a nursery that has died be replaced; without it, its spawners serve on, but none is replaced any more.
    #[must_use]
    pub fn replaceable(mut self, _proof: &Replaceable) -> Self {
        self.replaceable = true;
        self
    }

    /// Forks the nursery and `size` spawners (at least one), with the rights the process has now.
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
            enter(theirs, |control| nurse(&control, powerful));
        };
        drop(theirs);
        let mut nursery = Self { control, pid, first: Vec::new(), size: size.max(1), powerful, replaceable: false };
        for _ in 0..nursery.size {
            ask(&nursery.control, Kind::Confined)?;
            nursery.first.push(answer(&nursery.control, RecvFlags::empty())?);
        }
        Ok(nursery)
    }
}

/// Proof that `main` has called [`Nursery::answer_call`], so that a new nursery can be had by executing this program.
#[derive(Debug)]
pub struct Replaceable(());

/// `argv[0]` of this program when it is to be a nursery.
const ROLE: &str = "cgiserve: nursery";

/// A nursery in place of one that has died: this same file, executed anew, because a large server with many threads
/// cannot fork. It has the rights the server has now; once root is given up, jobs with another identity fail.
pub(super) fn call() -> io::Result<(OwnedFd, i32)> {
    let (ours, theirs) = socket::pair()?;
    let child = Command::new("/proc/self/exe").arg0(ROLE).env_clear().stdin(theirs).stdout(Stdio::null()).spawn()?;
    Ok((ours, i32::try_from(child.id()).map_err(io::Error::other)?))
}

/// Whether this process may filter system calls without giving up new privileges.
fn is_powerful() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN))
}

/// Requests one more spawner.
pub(super) fn ask(control: impl AsFd, kind: Kind) -> Result<(), Errno> {
    socket::send(control, &[kind as u8], &[], SendFlags::DONTWAIT)
}

/// Reads the nursery's answer: errno or 0, and the pid, each an i32; the spawner's socket comes with it.
pub(super) fn answer(control: impl AsFd, flags: RecvFlags) -> io::Result<Newborn> {
    let mut bytes = [0; 8];
    let mut packet = socket::receive(control, &mut bytes, flags)?;
    let [e0, e1, e2, e3, pid @ ..] = bytes;
    match (packet.fds.pop(), i32::from_le_bytes([e0, e1, e2, e3])) {
        (Some(socket), 0) => Ok(Newborn { socket, pid: i32::from_le_bytes(pid) }),
        (None, errno) if errno != 0 => Err(io::Error::from_raw_os_error(errno)),
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

fn nurse(control: &OwnedFd, powerful: bool) -> io::Result<()> {
    sys::set_name(c"cgiserve:nursery");
    sys::become_subreaper()?;
    let endings = sys::child_signals()?;
    let mut children = OwnChildren::open().ok();
    let mut spawners = HashSet::new();
    let mut orphans = Orphans::default();
    let mut open = true;
    loop {
        let timeout = (!open || orphans.look).then(|| Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() });
        let mut fds = [PollFd::new(&endings, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        let watched = if open { 2 } else { 1 };
        match poll(&mut fds[..watched], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if open && !fds[1].revents().is_empty() {
            let mut request = [0; 1];
            match socket::receive(control, &mut request, RecvFlags::DONTWAIT) {
                Ok(packet) if packet.length == 0 => open = false,
                Ok(_) => {
                    bear(control, if request[0] == 0 { Kind::Confined } else { Kind::Plain }, powerful, &mut spawners)
                }
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
                    orphans.look |= spawners.remove(&reaped.pid);
                    orphans.known.remove(&reaped.pid);
                }
                Reap::AllRunning => break true,
                Reap::NoChildren => break false,
            }
        };
        if !open && !any_child {
            return Ok(());
        }
        if any_child
            && orphans.look
            && let Some(children) = &mut children
        {
            let mut found = Vec::new();
            children.read(|pid| {
                if !spawners.contains(&pid) {
                    found.push(pid)
                }
            })?;
            orphans.end(found);
        }
    }
}

/// Makes one spawner and hands its socket to the server.
fn bear(control: &OwnedFd, kind: Kind, powerful: bool, spawners: &mut HashSet<i32>) {
    let made = (|| {
        let (server, spawner) = socket::pair()?;
        let Some(pid) = sys::fork()? else {
            enter(spawner, |socket| serve(socket, kind, powerful));
        };
        io::Result::Ok((server, pid))
    })();
    let answer = |errno: i32, pid: i32| [errno.to_le_bytes(), pid.to_le_bytes()].concat();
    // If the server has gone, the spawner sees its socket close and goes too.
    let _ = match &made {
        Ok((server, pid)) => {
            spawners.insert(*pid);
            socket::send(control, &answer(0, *pid), &[server.as_fd()], SendFlags::DONTWAIT)
        }
        Err(error) => {
            socket::send(control, &answer(error.raw_os_error().unwrap_or(libc::EIO), 0), &[], SendFlags::DONTWAIT)
        }
    };
}

/// What dead spawners have left.
#[derive(Debug, Default)]
struct Orphans {
    /// A spawner has died, and since then no look has found nothing.
    look: bool,
    /// By the time of its TERM.
    known: HashMap<i32, Instant>,
}

impl Orphans {
    fn end(&mut self, found: Vec<i32>) {
        let now = Instant::now();
        self.look = !found.is_empty();
        for pid in found {
            let (since, first) = match self.known.entry(pid) {
                std::collections::hash_map::Entry::Occupied(known) => (*known.get(), false),
                std::collections::hash_map::Entry::Vacant(place) => (*place.insert(now), true),
            };
            let what = if now.duration_since(since) >= GRACE { Signal::KILL } else { Signal::TERM };
            if first || what == Signal::KILL {
                family::with_descendants([pid]).into_iter().for_each(|pid| signal(pid, what));
            }
        }
    }
}
