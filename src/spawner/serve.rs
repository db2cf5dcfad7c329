//! The spawner's loop: read jobs, start them, collect them, tell.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::family::{COOKIE_BASE, FileId};
use super::jobs::{Birth, Jobs};
use super::sandbox::Rulesets;
use super::wire::{MAX_MESSAGE, MAX_NOTICES, Notice, Request, SandboxView, Start};
use super::{Step, seccomp, socket};
use crate::sys::{self, ChildStack, Ids, Launch, Limit, Pointers};

/// Requests taken before ended children are collected again: a start lasts some 100 µs, an ending should not wait long.
const BURST: usize = 4;

/// How long the news that a job runs may wait for other news to travel with. Most jobs end sooner, and that tells it.
const PATIENCE: Duration = Duration::from_millis(2);
/// The same where many jobs share the processors, and each takes longer. A stream's first octet waits no longer.
const MOST_PATIENCE: Duration = Duration::from_millis(10);

/// Between two looks where nothing may announce itself.
const LOOK: Duration = Duration::from_millis(50);

/// How often in succession a packet may fail to be received, [`LOOK`] apart.
const MAX_FAILURES: u32 = 100;

/// Notices in one packet; each has at most 48 bytes.
const BATCH: usize = MAX_NOTICES / 64;

/// The kinds of spawner; the numbers travel to the nursery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Carries the seccomp filter.
    Confined = 0,
    /// Does not.
    Plain = 1,
}

/// Serves until the socket closes and everything has ended. `powerful`: this process may install a filter without
/// giving up new privileges.
pub(super) fn serve(socket: OwnedFd, kind: Kind, powerful: bool) -> io::Result<()> {
    sys::set_name(c"cgiserve:spawn");
    sys::become_subreaper()?;
    let mut server = Server {
        children: sys::child_signals()?,
        null: File::options().read(true).write(true).open("/dev/null")?.into(),
        stack: ChildStack::new()?,
        rulesets: Rulesets::default(),
        hard: RESOURCES.map(|resource| sys::limit(resource).1),
        cookies: sys::limit(libc::RLIMIT_RTTIME).1 == libc::RLIM64_INFINITY,
        own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        groups: rustix::process::getgroups()?.into_iter().map(|group| group.as_raw()).collect(),
        taken: None,
        powerful,
        secret: secret()?,
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        jobs: Jobs::new(Instant::now()),
        fresh: Vec::new(),
        open: true,
        blocked: false,
        failures: 0,
        socket,
    };
    if kind == Kind::Confined
        && let Some(filter) = seccomp::program(server.secret)
    {
        if !powerful {
            sys::no_new_privs()?;
        }
        match sys::install_filter(&filter) {
            // A kernel without seccomp filters: the report has said so.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            // Out of memory, for one: better no spawner than one whose scripts lack their sandbox unseen.
            installed => installed?,
        }
    }
    server.run()
}

/// In the order of [`Start::limits`].
const RESOURCES: [u32; 6] =
    [libc::RLIMIT_CPU, libc::RLIMIT_AS, libc::RLIMIT_FSIZE, libc::RLIMIT_NOFILE, libc::RLIMIT_NPROC, libc::RLIMIT_CORE];

struct Server {
    socket: OwnedFd,
    /// Readable when a child has ended.
    children: OwnedFd,
    null: OwnedFd,
    stack: ChildStack,
    rulesets: Rulesets,
    /// Hard limits this process itself has.
    hard: [u64; 6],
    /// Whether this process may mark its children.
    cookies: bool,
    own: (u32, u32),
    /// Its groups at first.
    groups: Vec<u32>,
    /// The group and groups of this process, once it has taken those of a job: the next of the same identity, which is
    /// nearly every one, has them by birth.
    taken: Option<(u32, Vec<u32>)>,
    powerful: bool,
    /// Opens the filter for the cookie: see [`seccomp::program`].
    secret: u64,
    pid: i32,
    jobs: Jobs,
    /// Started, not yet told: job, pid, when.
    fresh: Vec<(u64, i32, Instant)>,
    /// The server is there.
    open: bool,
    /// The socket is full.
    blocked: bool,
    /// Times in succession that a packet could not be received.
    failures: u32,
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        loop {
            let (requests, endings) = self.wait()?;
            if endings {
                let _ = rustix::io::read(&self.children, &mut [0; 1024]);
            }
            let any_child =
                if endings || !self.open || self.jobs.in_doubt() { self.jobs.reap(Instant::now()) } else { true };
            if requests {
                for _ in 0..BURST {
                    if !self.receive(&mut buffer)? {
                        break;
                    }
                }
            }
            self.jobs.tick(Instant::now());
            self.flush();
            if !self.open && !any_child && self.jobs.notices.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sleeps until there is something to do: (requests, endings).
    fn wait(&self) -> io::Result<(bool, bool)> {
        let now = Instant::now();
        let told = self.fresh.first().map(|(_, _, started)| *started + self.patience());
        // When the last child has gone while closing, no signal may follow: look now and then.
        let look = (!self.open || self.jobs.in_doubt() || self.failures > 0).then(|| now + LOOK);
        let due = [self.jobs.next_due(), told, look].into_iter().flatten().min();
        let timeout = due.map(|due| {
            let left = due.saturating_duration_since(now) + Duration::from_micros(50);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        let wanted = if self.blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(&self.children, PollFlags::IN), PollFd::new(&self.socket, wanted)];
        let fds = if self.open && self.failures == 0 { &mut fds[..] } else { &mut fds[..1] };
        match poll(fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::NOMEM | Errno::AGAIN) => std::thread::sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
        let endings = !fds[0].revents().is_empty();
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let requests = match fds.get(1) {
            Some(socket) => socket.revents().intersects(readable),
            None => self.open,
        };
        Ok((requests, endings))
    }

    /// Takes one request; false when there is none, or never will be.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let packet = match socket::receive(&self.socket, buffer, RecvFlags::DONTWAIT) {
            Ok(packet) => packet,
            Err(Errno::AGAIN) => return Ok(false),
            // No memory for the packet, most likely: it stays in the queue.
            Err(error) => {
                self.failures += 1;
                return if self.failures > MAX_FAILURES { Err(error.into()) } else { Ok(false) };
            }
        };
        self.failures = 0;
        if packet.length == 0 {
            self.open = false;
            self.jobs.end_all(Instant::now());
            return Ok(false);
        }
        let bytes = &buffer[..packet.length];
        match Request::decode(bytes) {
            Ok(Request::End(id)) => self.jobs.end(id, Instant::now()),
            Ok(Request::Start(start)) => {
                let fds_whole = !packet.truncated && packet.fds.len() == start.descriptors();
                let result =
                    if fds_whole { self.start(&start, &packet.fds) } else { Err((Step::Descriptors, libc::EMFILE)) };
                if let Err((step, errno)) = result {
                    self.jobs.notices.push(Notice::NotStarted { id: start.id, step, errno });
                }
            }
            Err(_) => {
                if let Some(id) = Request::id_of(bytes) {
                    self.jobs.notices.push(Notice::NotStarted { id, step: Step::Message, errno: libc::EINVAL });
                }
            }
        }
        Ok(true)
    }

    fn start(&mut self, start: &Start<'_>, fds: &[OwnedFd]) -> Result<(), (Step, i32)> {
        if self.jobs.has(start.id) {
            return Err((Step::Message, libc::EEXIST));
        }
        let started = Instant::now();
        let mut passed = fds.iter().map(OwnedFd::as_fd);
        let mut next = |present: bool| if present { passed.next() } else { None }.unwrap_or(self.null.as_fd());
        let stdio = [next(start.has_stdin), next(true), next(start.has_stderr)];
        // Without no_new_privs and without the right to do without it, the kernel refuses every sandbox.
        let landlock = if start.no_new_privs || self.powerful {
            self.rulesets
                .get(&start.sandbox)
                .map_err(|error| (Step::Sandbox, error.raw_os_error().unwrap_or(libc::EINVAL)))?
        } else if matches!(start.sandbox, SandboxView::Strict { .. }) {
            return Err((Step::Sandbox, libc::EPERM));
        } else {
            None
        };
        let ids = match &start.identity {
            // Not being root, it may not even say that it keeps what it has.
            Some((uid, gid, _)) if self.own.0 != 0 && (*uid, *gid) == self.own => None,
            Some((uid, gid, groups)) => {
                if self.own.0 == 0 && self.taken.is_none() {
                    sys::take_groups(*gid, groups)
                        .map_err(|error| (Step::Identity, error.raw_os_error().unwrap_or(libc::EPERM)))?;
                    self.taken = Some((*gid, groups.clone()));
                }
                let born = self.taken.as_ref().is_some_and(|(taken, of)| taken == gid && of == groups);
                Some(Ids { uid: *uid, groups: (!born).then_some((*gid, groups.as_slice())) })
            }
            // Those this process had at first: it may have taken on others, or some of them before that failed.
            None if self.own.0 == 0 => Some(Ids { uid: self.own.0, groups: Some((self.own.1, &self.groups)) }),
            None => None,
        };
        let (limits, used) = limits(start, &self.hard, self.cookies);
        let launch = Launch {
            program: start.program,
            argv: &Pointers::new(start.argv.iter().copied()),
            env: &Pointers::new(start.env.iter().copied()),
            dir: start.dir,
            stdio,
            umask: start.umask,
            limits: &limits[..used],
            ids,
            no_new_privs: start.no_new_privs,
            landlock,
            parent: self.pid,
            secret: self.secret,
        };
        let pid = sys::launch(&mut self.stack, &launch)?;
        self.fresh.push((start.id, pid, started));
        // Only now: the program is on its way meanwhile.
        let files = fds.iter().filter_map(|fd| file_id(fd.as_fd())).collect();
        self.jobs.add(Birth {
            id: start.id,
            pid,
            started,
            linger: Duration::from_millis(start.linger_ms),
            grace: Duration::from_millis(start.grace_ms),
            files,
        });
        Ok(())
    }

    fn patience(&self) -> Duration {
        let jobs = u32::try_from(self.jobs.count()).unwrap_or(u32::MAX);
        PATIENCE.saturating_mul(jobs / 2 + 1).min(MOST_PATIENCE)
    }

    /// Sends what there is to tell, as many notices in a packet as fit.
    fn flush(&mut self) {
        let told = |id: u64| {
            self.jobs.notices.iter().any(|notice| matches!(notice, Notice::Ended { id: ended, .. } if *ended == id))
        };
        let overdue = self.fresh.first().is_some_and(|(_, _, started)| started.elapsed() >= self.patience());
        if !overdue && self.jobs.notices.is_empty() {
            return;
        }
        self.fresh.retain(|(id, _, _)| !told(*id));
        let started = self.fresh.drain(..).map(|(id, pid, _)| Notice::Started { id, pid });
        self.jobs.notices.splice(0..0, started);
        let mut packet = Vec::with_capacity(64 * self.jobs.notices.len().min(BATCH));
        self.blocked = false;
        while !self.jobs.notices.is_empty() {
            let count = self.jobs.notices.len().min(BATCH);
            packet.clear();
            self.jobs.notices[..count].iter().for_each(|notice| notice.encode(&mut packet));
            match socket::send(&self.socket, &packet, &[], SendFlags::DONTWAIT) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
                    self.blocked = true;
                    return;
                }
                // Sent; or nobody is there any more to be told.
                _ => drop(self.jobs.notices.drain(..count)),
            }
        }
    }
}

/// A number that no script can guess, and that no 32-bit register can hold.
fn secret() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes) | 1 << 63)
}

/// The job's limits, never above what this process may give, and its cookie.
fn limits(start: &Start<'_>, hard: &[u64; 6], cookies: bool) -> ([Limit; 7], usize) {
    let mut limits = [Limit(0, 0, 0); 7];
    let mut used = 0;
    let mut push = |limit| {
        limits[used] = limit;
        used += 1;
    };
    for ((resource, value), hard) in RESOURCES.into_iter().zip(start.limits).zip(hard) {
        if let Some(value) = value {
            let soft = value.min(*hard);
            // A second between SIGXCPU and SIGKILL, so that the cause shows and the script may tidy up.
            let extra = u64::from(resource == libc::RLIMIT_CPU);
            push(Limit(resource, soft, soft.saturating_add(extra).min(*hard)));
        }
    }
    if cookies {
        let cookie = COOKIE_BASE + start.id;
        push(Limit(libc::RLIMIT_RTTIME, cookie, cookie));
    }
    (limits, used)
}

fn file_id(fd: BorrowedFd<'_>) -> Option<FileId> {
    debug_assert!(fd.as_raw_fd() > 2, "0, 1 and 2 are taken, so the kernel cannot have given one of them");
    let stat = rustix::fs::fstat(fd).ok()?;
    Some((stat.st_dev, stat.st_ino))
}
