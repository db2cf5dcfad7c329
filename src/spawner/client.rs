//! The server's side: hand over jobs, hear what became of them, replace spawners that have died.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::nursery::{self, Newborn, Nursery};
use super::serve::Kind;
use super::wire::{MAX_NOTICES, Notice, Request, SandboxView, Start, WireError};
use super::{Ending, Job, Sandbox, SpawnError, Stdio, Usage, socket};
use crate::sys;

/// How long the nursery may take to make a spawner.
const BIRTH: Duration = Duration::from_secs(5);

/// A spawner that lived shorter than the first is replaced only after the second, so that one which cannot live here
/// does not keep the machine busy dying.
const YOUNG: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_millis(200);

/// Starts programs through the spawner processes. Clones share them.
#[derive(Debug, Clone)]
pub struct Spawner(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    /// To the nursery; one question at a time.
    control: tokio::sync::Mutex<AsyncFd<OwnedFd>>,
    nursery: i32,
    confined: Mutex<Vec<Arc<Line>>>,
    plain: Mutex<Vec<Arc<Line>>>,
    /// Spawners of each kind; plain ones are made when first needed.
    size: usize,
    powerful: bool,
    closing: AtomicBool,
}

impl Nursery {
    /// Takes the spawners into service.
    ///
    /// # Errors
    /// Not inside a tokio runtime with I/O, or out of descriptors.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn attach(self) -> io::Result<Spawner> {
        let pool = Arc::new(Pool {
            control: tokio::sync::Mutex::new(sys::watch(self.control)?),
            nursery: self.pid,
            confined: Mutex::default(),
            plain: Mutex::default(),
            size: self.size,
            powerful: self.powerful,
            closing: AtomicBool::new(false),
        });
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
        let line = self.0.line(self.0.kind_for(job)).await?;
        let id = line.next_id.fetch_add(1, Ordering::Relaxed);
        let mut bytes = Vec::with_capacity(4096);
        Request::Start(Box::new(view(job, id, &stdio))).encode(&mut bytes).map_err(|error| match error {
            WireError::TooBig => SpawnError::TooBig,
            other => SpawnError::Send(io::Error::other(format!("{other:?}"))),
        })?;
        let fds: Vec<BorrowedFd<'_>> = [stdio.stdin.as_ref(), Some(&stdio.stdout), stdio.stderr.as_ref()]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
            .collect();
        // From here on, being dropped means taking the job back.
        let mut child = line.enter(id).ok_or(SpawnError::NoSpawner)?;
        line.send(&bytes, &fds).await.map_err(SpawnError::Send)?;
        child.sent = true;
        Ok(child)
    }

    /// Ends every job (TERM, each after its grace KILL) and the spawners; returns when all of them have gone, or when
    /// dropped. Jobs tell their ending as always; new ones are refused.
    pub async fn shutdown(&self) {
        self.0.closing.store(true, Ordering::Release);
        let lines: Vec<_> =
            [&self.0.confined, &self.0.plain].into_iter().flat_map(|lines| lock(lines).clone()).collect();
        for line in &lines {
            line.close();
        }
        for line in lines {
            let _ = line.alive.subscribe().wait_for(|alive| !alive).await;
        }
        let _ = shutdown(self.0.control.lock().await.get_ref(), Shutdown::Both);
    }

    /// Whether at least one spawner is ready.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !lock(&self.0.confined).is_empty()
    }

    /// The spawner processes now in service.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        [&self.0.confined, &self.0.plain]
            .into_iter()
            .flat_map(|lines| lock(lines).iter().map(|l| l.pid).collect::<Vec<_>>())
            .collect()
    }

    /// The process that makes spawners.
    #[must_use]
    pub fn nursery_pid(&self) -> i32 {
        self.0.nursery
    }

    /// Jobs of which processes are left, as far as has been heard.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        [&self.0.confined, &self.0.plain]
            .into_iter()
            .flat_map(|lines| lock(lines).clone())
            .map(|l| l.load.load(Ordering::Relaxed))
            .sum()
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

    /// The least busy spawner of this kind; made if there is none.
    async fn line(self: &Arc<Self>, kind: Kind) -> Result<Arc<Line>, SpawnError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(SpawnError::ShuttingDown);
        }
        let least = || lock(self.lines(kind)).iter().min_by_key(|line| line.load.load(Ordering::Relaxed)).cloned();
        if let Some(line) = least() {
            return Ok(line);
        }
        // A task of its own, because an answer of the nursery left unread would be taken for the next one.
        let _ = tokio::spawn(Arc::clone(self).refill(kind)).await;
        least().ok_or(SpawnError::NoSpawner)
    }

    /// Asks the nursery for as many spawners of this kind as are missing.
    async fn refill(self: Arc<Self>, kind: Kind) {
        let control = self.control.lock().await;
        while lock(self.lines(kind)).len() < self.size && !self.closing.load(Ordering::Acquire) {
            let born = tokio::time::timeout(BIRTH, async {
                nursery::ask(control.get_ref(), kind)?;
                control.async_io(Interest::READABLE, |control| nursery::answer(control, RecvFlags::DONTWAIT)).await
            });
            let connected = match born.await {
                Ok(Ok(newborn)) => self.connect(newborn, kind),
                Ok(Err(error)) => Err(error),
                Err(late) => {
                    // An answer that comes after all would be taken for the next one's: no more questions.
                    let _ = shutdown(control.get_ref(), Shutdown::Both);
                    Err(late.into())
                }
            };
            if let Err(error) = connected {
                tracing::error!(%error, "no new spawner could be made");
                return;
            }
        }
    }

    fn connect(self: &Arc<Self>, newborn: Newborn, kind: Kind) -> io::Result<()> {
        let line = Arc::new(Line {
            socket: sys::watch(newborn.socket)?,
            pid: newborn.pid,
            born: Instant::now(),
            next_id: AtomicU64::new(1),
            jobs: Mutex::new(Some(HashMap::new())),
            load: AtomicUsize::new(0),
            alive: watch::Sender::new(true),
            runtime: tokio::runtime::Handle::current(),
        });
        lock(self.lines(kind)).push(Arc::clone(&line));
        tokio::spawn(listen(Arc::downgrade(self), line, kind));
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for lines in [&self.confined, &self.plain] {
            lock(lines).iter().for_each(|line| line.close());
        }
    }
}

/// The connection to one spawner.
#[derive(Debug)]
struct Line {
    socket: AsyncFd<OwnedFd>,
    pid: i32,
    born: Instant,
    next_id: AtomicU64,
    /// Jobs of which something is left; `None` once the spawner has died.
    jobs: Mutex<Option<HashMap<u64, watch::Sender<State>>>>,
    load: AtomicUsize,
    alive: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
}

/// What is known of a job.
#[derive(Debug, Default)]
struct State {
    pid: Option<i32>,
    ending: Option<Ending>,
    gone: bool,
}

impl Line {
    /// A place for a new job's news; `None` once the spawner has died.
    fn enter(self: &Arc<Self>, id: u64) -> Option<Child> {
        let (sender, state) = watch::channel(State::default());
        lock(&self.jobs).as_mut()?.insert(id, sender);
        self.load.fetch_add(1, Ordering::Relaxed);
        Some(Child {
            line: Arc::clone(self),
            id,
            state,
            sent: false,
            released: false,
            told_to_end: AtomicBool::new(false),
        })
    }

    async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let once = || socket::send(&self.socket, bytes, fds, SendFlags::DONTWAIT);
        match once() {
            Err(Errno::AGAIN) => self.socket.async_io(Interest::WRITABLE, |_| Ok(once()?)).await,
            result => Ok(result?),
        }
    }

    /// No more jobs: the spawner ends all it has, tells it, and goes.
    fn close(&self) {
        let _ = shutdown(self.socket.get_ref(), Shutdown::Write);
    }

    fn hear(&self, mut packet: &[u8]) -> Result<(), WireError> {
        let mut guard = lock(&self.jobs);
        let Some(jobs) = guard.as_mut() else {
            return Ok(());
        };
        while let Some(notice) = Notice::decode(&mut packet)? {
            let (id, pid, ending, gone) = match notice {
                Notice::Started { id, pid } => (id, Some(pid), None, false),
                Notice::NotStarted { id, step, errno } => (id, None, Some(Ending::NotStarted { step, errno }), true),
                Notice::Ended { id, pid, leftovers, .. } => (id, Some(pid), Some(ending(&notice)), !leftovers),
                Notice::Gone { id } => (id, None, None, true),
            };
            let tell = |state: &mut State| {
                state.pid = pid.or(state.pid);
                state.ending = ending.or(state.ending);
                state.gone = gone;
            };
            if gone {
                if let Some(job) = jobs.remove(&id) {
                    self.load.fetch_sub(1, Ordering::Relaxed);
                    job.send_modify(tell);
                }
            } else if let Some(job) = jobs.get(&id) {
                job.send_modify(tell);
            }
        }
        Ok(())
    }

    fn die(&self) -> usize {
        let jobs = lock(&self.jobs).take().unwrap_or_default();
        let count = jobs.len();
        for job in jobs.into_values() {
            job.send_modify(|state| {
                state.ending.get_or_insert(Ending::SpawnerDied);
                state.gone = true;
            });
        }
        self.load.store(0, Ordering::Relaxed);
        self.alive.send_replace(false);
        count
    }
}

fn ending(notice: &Notice) -> Ending {
    let Notice::Ended { status, wall_us, cpu_us, peak_rss_kib, .. } = *notice else {
        return Ending::SpawnerDied;
    };
    let usage = Usage { wall: Duration::from_micros(wall_us), cpu: Duration::from_micros(cpu_us), peak_rss_kib };
    if libc::WIFSIGNALED(status) {
        Ending::Signalled { signal: libc::WTERMSIG(status), usage }
    } else {
        Ending::Exited { status: libc::WEXITSTATUS(status), usage }
    }
}

/// Hears one spawner out; then has it replaced.
async fn listen(pool: Weak<Pool>, line: Arc<Line>, kind: Kind) {
    let mut buffer = vec![0; MAX_NOTICES];
    loop {
        let received = line.socket.async_io(Interest::READABLE, |socket| {
            let packet = socket::receive(socket, &mut buffer, RecvFlags::DONTWAIT)?;
            Ok(packet.length)
        });
        match received.await {
            Ok(0) => break,
            Ok(length) => {
                if let Err(error) = line.hear(&buffer[..length]) {
                    tracing::error!(pid = line.pid, ?error, "a spawner does not make sense; it is given up");
                    break;
                }
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS)) => {
                tokio::time::sleep(REST).await;
            }
            Err(error) => {
                tracing::error!(pid = line.pid, %error, "lost the connection to a spawner");
                break;
            }
        }
    }
    // Closed both ways, so that a spawner given up ends its jobs.
    let _ = shutdown(line.socket.get_ref(), Shutdown::Both);
    if let Some(pool) = pool.upgrade() {
        lock(pool.lines(kind)).retain(|other| !Arc::ptr_eq(other, &line));
    }
    let lost = line.die();
    let Some(pool) = pool.upgrade().filter(|pool| !pool.closing.load(Ordering::Acquire)) else {
        return;
    };
    tracing::error!(pid = line.pid, jobs = lost, "a spawner has died; its jobs are ended and it is replaced");
    if line.born.elapsed() < YOUNG {
        tokio::time::sleep(REST).await;
    }
    pool.refill(kind).await;
}

/// A job that has been handed over.
///
/// Dropping it before [`Child::wait`] has told the ending ends the job, unless [`Child::release`] was called: whoever
/// loses interest in a script must not leave it running by accident.
#[derive(Debug)]
pub struct Child {
    line: Arc<Line>,
    id: u64,
    state: watch::Receiver<State>,
    sent: bool,
    released: bool,
    told_to_end: AtomicBool,
}

impl Child {
    /// The leader's process once the spawner has told it, some milliseconds after the start or with the ending.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.state.borrow().pid
    }

    /// Waits for the leader to end; after [`Child::end`], for everything of the job to be gone. May be called again.
    pub async fn wait(&mut self) -> Ending {
        // The sender is dropped only after the ending has been told.
        self.state
            .wait_for(|state| state.ending.is_some())
            .await
            .ok()
            .and_then(|state| state.ending)
            .unwrap_or(Ending::SpawnerDied)
    }

    /// What [`Child::wait`] tells, as a future of its own.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            let told = state.wait_for(|state| state.ending.is_some()).await;
            told.ok().and_then(|state| state.ending).unwrap_or(Ending::SpawnerDied)
        }
    }

    /// Waits until no process of the job is left, those it detached included. At once after [`Child::wait`], unless
    /// the script left some behind.
    pub async fn gone(&mut self) {
        let _ = self.state.wait_for(|state| state.gone).await;
    }

    /// TERM to every process of the job now, KILL to what is left after its grace. Further calls do nothing.
    pub fn end(&self) {
        if self.state.borrow().gone || self.told_to_end.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut bytes = Vec::with_capacity(9);
        if Request::End(self.id).encode(&mut bytes).is_err() {
            return;
        }
        if let Err(Errno::AGAIN) = socket::send(&self.line.socket, &bytes, &[], SendFlags::DONTWAIT) {
            let line = Arc::clone(&self.line);
            self.line.runtime.spawn(async move { line.send(&bytes, &[]).await });
        }
    }

    /// Lets the job finish by itself, up to its limits, when this is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.sent {
            if lock(&self.line.jobs).as_mut().is_some_and(|jobs| jobs.remove(&self.id).is_some()) {
                self.line.load.fetch_sub(1, Ordering::Relaxed);
            }
        } else if !self.released && self.state.borrow().ending.is_none() {
            self.end();
        }
    }
}

fn view<'a>(job: &'a Job, id: u64, stdio: &Stdio) -> Start<'a> {
    fn list(strings: &[std::ffi::CString]) -> Vec<&std::ffi::CStr> {
        strings.iter().map(AsRef::as_ref).collect()
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(MAX_MILLIS);
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

/// A year: longer waits are a mistake, and instants near the end of time do not add.
const MAX_MILLIS: u64 = 365 * 24 * 3600 * 1000;

/// No code panics while it holds one of these locks; should one ever, the data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
