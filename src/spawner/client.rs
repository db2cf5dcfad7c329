//! The server's side: hand over jobs to the least busy spawner, and replace spawners that have died.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::family;
use super::line::{Child, Line, lock};
use super::nursery::{self, Newborn, Nursery, Wanted};
use super::orphans::{LOOK, Orphans};
use super::serve::Kind;
use super::wire::{Request, SandboxView, Start};
use super::{Job, Sandbox, SpawnError, Stdio};
use crate::sys;

/// How long a nursery may take to make a spawner, and its keeper to make a nursery.
const BIRTH: Duration = Duration::from_secs(5);

/// A spawner that lived shorter than the first is replaced only after the second, so that one which cannot live here
/// does not keep the machine busy dying.
const YOUNG: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_millis(200);

/// How many jobs more than the least busy spawner that of the own thread may have and still be given the next: news
/// from another thread's costs a wake-up.
const LEAN: usize = 4;

/// How much longer than the graces of its jobs a spawner may take to go.
const HANGING: Duration = Duration::from_secs(5);

/// Spawners tried for one job when each turns out to have died.
const TRIES: usize = 3;

/// Starts programs through the spawner processes. Clones share them.
#[derive(Debug, Clone)]
pub struct Spawner(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    /// To the nurseries; one question at a time.
    control: tokio::sync::Mutex<Control>,
    nursery: AtomicI32,
    /// Those that came to this process because nobody else is left.
    orphans: Mutex<Orphans>,
    /// Whether a nursery that has died can be replaced.
    replaceable: bool,
    confined: Mutex<Vec<Arc<Line>>>,
    plain: Mutex<Vec<Arc<Line>>>,
    /// Spawners of each kind; plain ones are made when first needed.
    size: usize,
    powerful: bool,
    closing: AtomicBool,
    /// Of the jobs so far, milliseconds.
    longest_grace: AtomicU64,
    /// The reactors where spawners are heard, each by one.
    homes: Box<[Handle]>,
}

/// Whom to ask for more.
#[derive(Debug)]
struct Control {
    nursery: AsyncFd<OwnedFd>,
    /// Until it turns out to have died.
    keeper: Option<AsyncFd<OwnedFd>>,
}

impl Nursery {
    /// Takes the spawners into service. Their news is heard at `homes`, each spawner's at one of them; a job is given to
    /// the spawner of the reactor that asks, as long as that is not much busier than others.
    ///
    /// # Errors
    /// No homes, a runtime without I/O, or out of descriptors.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn attach(self, homes: &[Handle]) -> io::Result<Spawner> {
        if homes.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let pool = Arc::new(Pool {
            control: tokio::sync::Mutex::new(Control {
                nursery: sys::watch(self.control)?,
                keeper: Some(sys::watch(self.keeper.socket)?),
            }),
            nursery: AtomicI32::new(self.pid),
            orphans: Mutex::default(),
            replaceable: self.replaceable,
            confined: Mutex::default(),
            plain: Mutex::default(),
            size: self.size,
            powerful: self.powerful,
            closing: AtomicBool::new(false),
            longest_grace: AtomicU64::new(0),
            homes: homes.into(),
        });
        // Best effort: without it, what the keeper leaves goes to init.
        let _ = sys::become_subreaper();
        pool.watch_over(self.keeper.pid);
        pool.watch_over(self.pid);
        for newborn in self.first {
            pool.connect(newborn, Kind::Confined)?;
        }
        Ok(Spawner(pool))
    }
}

impl Spawner {
    /// Hands a job over: one packet, nothing is waited for but room in the socket. Whether it could be executed is
    /// told by [`Child::wait`].
    ///
    /// # Errors
    /// See [`SpawnError`]. The descriptors are closed in any case.
    pub async fn start(&self, job: &Job, stdio: Stdio) -> Result<Child, SpawnError> {
        let kind = self.0.kind_for(job);
        let grace = millis(job.grace);
        if self.0.longest_grace.load(Ordering::Relaxed) < grace {
            self.0.longest_grace.fetch_max(grace, Ordering::Relaxed);
        }
        let fds = [stdio.stdin.as_ref(), Some(&stdio.stdout), stdio.stderr.as_ref()];
        let fds: Vec<BorrowedFd<'_>> = fds.into_iter().flatten().map(AsFd::as_fd).collect();
        let mut bytes = Vec::with_capacity(4096);
        for _ in 0..TRIES {
            let line = self.0.line(kind).await?;
            if let Some(mut child) = line.enter() {
                bytes.clear();
                let message = Request::Start(Box::new(view(job, child.id(), &stdio)));
                // The encoder refuses nothing but size.
                message.encode(&mut bytes).map_err(|_| SpawnError::TooBig)?;
                match child.hand_over(&bytes, &fds).await {
                    Ok(()) => return Ok(child),
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                    Err(error) => return Err(SpawnError::Send(error)),
                }
            }
            // That spawner has just died, and its line has not heard it yet; the job has not been taken. Should it live
            // all the same, it has to go, for nobody would know it any more.
            self.0.forget(&line, kind);
            line.close();
        }
        Err(SpawnError::NoSpawner)
    }

    /// Ends every job (TERM, each after its grace KILL) and the spawners; returns when all of them have gone, or hang in
    /// a file system. Jobs tell their ending as always; new ones are refused.
    pub async fn shutdown(&self) {
        self.0.closing.store(true, Ordering::Release);
        let lines = self.0.all();
        lines.iter().for_each(|line| line.close());
        let gone = async {
            for line in lines {
                line.gone().await;
            }
        };
        let longest = Duration::from_millis(self.0.longest_grace.load(Ordering::Relaxed));
        if tokio::time::timeout(longest + HANGING, gone).await.is_err() {
            tracing::error!(pids = ?self.pids(), "spawners do not end; they will, with what they have, when they can");
        }
        let control = self.0.control.lock().await;
        for control in [Some(&control.nursery), control.keeper.as_ref()].into_iter().flatten() {
            let _ = shutdown(control.get_ref(), Shutdown::Both);
        }
    }

    /// Whether at least one spawner is ready.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !lock(&self.0.confined).is_empty()
    }

    /// The spawner processes now in service.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.0.all().iter().map(|line| line.pid).collect()
    }

    /// The process that makes spawners.
    #[must_use]
    pub fn nursery_pid(&self) -> i32 {
        self.0.nursery.load(Ordering::Relaxed)
    }

    /// Jobs of which processes are left, as far as has been heard.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.all().iter().map(|line| line.load()).sum()
    }
}

impl Pool {
    fn kind_for(&self, job: &Job) -> Kind {
        match job.sandbox {
            Sandbox::Off => Kind::Plain,
            _ if !job.no_new_privs && !self.powerful => Kind::Plain,
            _ => Kind::Confined,
        }
    }

    fn lines(&self, kind: Kind) -> &Mutex<Vec<Arc<Line>>> {
        match kind {
            Kind::Confined => &self.confined,
            Kind::Plain => &self.plain,
        }
    }

    fn all(&self) -> Vec<Arc<Line>> {
        [&self.confined, &self.plain].into_iter().flat_map(|lines| lock(lines).clone()).collect()
    }

    /// The spawner of this kind that hears the caller's reactor, or the least busy one; made if there is none.
    async fn line(self: &Arc<Self>, kind: Kind) -> Result<Arc<Line>, SpawnError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(SpawnError::ShuttingDown);
        }
        if let Some(line) = self.best(kind) {
            return Ok(line);
        }
        // A task of its own, because an answer of the nursery left unread would be taken for the next one.
        let _ = tokio::spawn(Arc::clone(self).refill(kind)).await;
        self.best(kind).ok_or(SpawnError::NoSpawner)
    }

    fn best(&self, kind: Kind) -> Option<Arc<Line>> {
        let here = Handle::try_current().ok().map(|reactor| reactor.id());
        let lines = lock(self.lines(kind));
        let least = lines.iter().min_by_key(|line| line.load())?;
        let own = lines.iter().filter(|line| Some(line.home.id()) == here).min_by_key(|line| line.load());
        Some(own.filter(|own| own.load() <= least.load() + LEAN).unwrap_or(least).clone())
    }

    /// Asks the nursery for as many spawners of this kind as are missing; if it has died, has it replaced.
    async fn refill(self: Arc<Self>, kind: Kind) {
        let mut control = self.control.lock().await;
        let mut replaced = false;
        while lock(self.lines(kind)).len() < self.size && !self.closing.load(Ordering::Acquire) {
            let born = match ask_for_one(&control.nursery, Wanted::Spawner(kind)).await {
                Err(error) if !replaced && is_over(&control.nursery) => {
                    tracing::error!(%error, "the nursery has died; it is replaced");
                    replaced = true;
                    self.replace_nursery(&mut control).await
                }
                born => born.and_then(|newborn| self.connect(newborn, kind)),
            };
            if let Err(error) = born {
                tracing::error!(%error, "no new spawner could be made");
                return;
            }
        }
    }

    async fn replace_nursery(self: &Arc<Self>, control: &mut Control) -> io::Result<()> {
        let kept = match &control.keeper {
            Some(keeper) => ask_for_one(keeper, Wanted::Nursery).await,
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let Newborn { socket, pid } = match kept {
            Err(error) if control.keeper.as_ref().is_none_or(is_over) && self.replaceable => {
                tracing::error!(%error, "its keeper has died, too: another nursery has no more rights than the server");
                control.keeper = None;
                nursery::call()?
            }
            kept => kept?,
        };
        control.nursery = sys::watch(socket)?;
        self.nursery.store(pid, Ordering::Relaxed);
        self.watch_over(pid);
        Ok(())
    }

    /// When this process of ours has died: collects it if that is for this process to do, and ends what has been left
    /// to it. Best effort, for kernels without `pidfd_open` and when there are no descriptors.
    fn watch_over(self: &Arc<Self>, pid: i32) {
        let Some(Ok(handle)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return };
        // There is always one.
        let home = &self.homes[0];
        let _here = home.enter();
        let Ok(handle) = sys::watch_for(handle, Interest::READABLE) else { return };
        let pool = Arc::downgrade(self);
        home.spawn(async move {
            let _ = handle.readable().await;
            let collect = |pid| {
                let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
            };
            collect(pid);
            while let Some(pool) = pool.upgrade() {
                // Nobody but scripts has a cookie; a browser that `--open` started may be here, too.
                let left = lock(&pool.orphans).end(|pid| match family::is_helper(pid) {
                    // Left by its parent before that could collect it; or it lives, and nothing happens.
                    true => {
                        collect(pid);
                        false
                    }
                    false => family::is_of_a_job(pid),
                });
                left.iter().copied().for_each(collect);
                if left.is_empty() {
                    return;
                }
                drop(pool);
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    fn forget(&self, line: &Arc<Line>, kind: Kind) {
        lock(self.lines(kind)).retain(|other| !Arc::ptr_eq(other, line));
    }

    fn connect(self: &Arc<Self>, newborn: Newborn, kind: Kind) -> io::Result<()> {
        let mut lines = lock(self.lines(kind));
        let heard_at = |home: &&Handle| lines.iter().filter(|line| line.home.id() == home.id()).count();
        // There is always one.
        let home = self.homes.iter().min_by_key(heard_at).unwrap_or(&self.homes[0]);
        let line = Line::new(newborn.socket, newborn.pid, home.clone())?;
        self.watch_over(newborn.pid);
        lines.push(Arc::clone(&line));
        home.spawn(attend(Arc::downgrade(self), line, kind));
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.all().iter().for_each(|line| line.close());
    }
}

/// Whether nobody is at the other end any more.
fn is_over(control: &AsyncFd<OwnedFd>) -> bool {
    nursery::is_over(control.get_ref())
}

async fn ask_for_one(control: &AsyncFd<OwnedFd>, wanted: Wanted) -> io::Result<Newborn> {
    let born = tokio::time::timeout(BIRTH, async {
        nursery::ask(control.get_ref(), wanted)?;
        control.async_io(Interest::READABLE, |control| nursery::answer(control, RecvFlags::DONTWAIT)).await
    });
    born.await.unwrap_or_else(|late| {
        // An answer that comes after all would be taken for the next one's: no more questions.
        let _ = shutdown(control.get_ref(), Shutdown::Both);
        Err(late.into())
    })
}

/// Attends one spawner while it lives; then has it replaced.
async fn attend(pool: Weak<Pool>, line: Arc<Line>, kind: Kind) {
    line.listen().await;
    if let Some(pool) = pool.upgrade() {
        pool.forget(&line, kind);
    }
    let lost = line.die();
    let Some(pool) = pool.upgrade().filter(|pool| !pool.closing.load(Ordering::Acquire)) else { return };
    tracing::error!(pid = line.pid, jobs = lost, "a spawner has died; its jobs are ended and it is replaced");
    if line.born.elapsed() < YOUNG {
        tokio::time::sleep(REST).await;
    }
    pool.refill(kind).await;
}

fn view<'a>(job: &'a Job, id: u64, stdio: &Stdio) -> Start<'a> {
    fn list(strings: &[std::ffi::CString]) -> Vec<&std::ffi::CStr> {
        strings.iter().map(AsRef::as_ref).collect()
    }
    let limits = job.limits;
    Start {
        id,
        has_stdin: stdio.stdin.is_some(),
        has_stderr: stdio.stderr.is_some(),
        no_new_privs: job.no_new_privs,
        umask: job.umask,
        linger_ms: millis(job.linger),
        grace_ms: millis(job.grace),
        limits: [limits.cpu, limits.address_space, limits.file_size, limits.open_files, limits.processes, limits.core],
        identity: job.identity.as_ref().map(|of| (of.uid, of.gid, of.groups.clone())),
        sandbox: match &job.sandbox {
            Sandbox::Off => SandboxView::Off,
            Sandbox::Standard => SandboxView::Standard,
            Sandbox::Strict { read, write } => SandboxView::Strict { read: list(read), write: list(write) },
        },
        program: &job.program,
        dir: &job.dir,
        argv: list(&job.argv),
        env: list(&job.env),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(MAX_MILLIS)
}

/// A year: longer waits are a mistake, and instants near the end of time do not add.
const MAX_MILLIS: u64 = 365 * 24 * 3600 * 1000;
