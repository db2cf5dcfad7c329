//! The server's side: hand over jobs to the least busy spawner, and replace spawners that have died.

use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::household::Household;
use super::line::{Child, Line, lock};
use super::nursery::{Newborn, Nursery};
use super::serve::Kind;
use super::wire::{Request, SandboxView, Start};
use super::{Job, Sandbox, SpawnError, Stdio};

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
    household: Arc<Household>,
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
        let nursery = Newborn { socket: self.control, pid: self.pid };
        let pool = Arc::new(Pool {
            household: Household::new(nursery, self.keeper, self.replaceable, homes[0].clone())?,
            confined: Mutex::default(),
            plain: Mutex::default(),
            size: self.size,
            powerful: self.powerful,
            closing: AtomicBool::new(false),
            longest_grace: AtomicU64::new(0),
            homes: homes.into(),
        });
        for newborn in self.first {
            pool.household.watch_over(newborn.pid);
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
        let mut bytes = Vec::new();
        for _ in 0..TRIES {
            let line = self.0.line(kind).await?;
            if let Some(mut child) = line.enter() {
                bytes = line.message(bytes);
                let message = Request::Start(Box::new(view(job, child.id(), &stdio)));
                // The encoder refuses nothing but size.
                message.encode(&mut bytes).map_err(|_| SpawnError::TooBig)?;
                match child.hand_over(&bytes, &fds).await {
                    Ok(()) => {
                        line.give_back(bytes);
                        return Ok(child);
                    }
                    Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {}
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
        self.0.household.close().await;
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
        self.0.household.nursery_pid()
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

    /// Has as many spawners of this kind made as are missing.
    async fn refill(self: Arc<Self>, kind: Kind) {
        let missing = || lock(self.lines(kind)).len() < self.size && !self.closing.load(Ordering::Acquire);
        if let Err(error) = self.household.bear(kind, missing, |newborn| self.connect(newborn, kind)).await {
            tracing::error!(%error, "no new spawner could be made");
        }
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
