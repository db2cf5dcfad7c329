//! The connection to one spawner, and the jobs that go over it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::post::{Post, State};
use super::wire::{MAX_NOTICES, Notice, Request, WireError};
use super::{Ending, Usage, socket};
use crate::sys;

/// Octets of a message whose room is kept for the next.
const SPARE: usize = 16 * 1024;

/// How long to wait for room in the socket: a spawner takes some ten thousand jobs in that time, unless it hangs in a
/// file system.
const ROOM: Duration = Duration::from_secs(10);

/// Before trying again to receive when the kernel has no memory for it.
const SHORT_OF_MEMORY: Duration = Duration::from_millis(100);

/// The connection to one spawner.
#[derive(Debug)]
pub(super) struct Line {
    socket: AsyncFd<OwnedFd>,
    pub(super) pid: i32,
    pub(super) born: Instant,
    next_id: AtomicU64,
    /// Jobs of which something is left; `None` once the spawner has died.
    jobs: Mutex<Option<HashMap<u64, Arc<Post>>>>,
    load: AtomicUsize,
    /// Room for a message that is not in use.
    spare: Mutex<Vec<u8>>,
    alive: watch::Sender<bool>,
    /// The reactor that hears it.
    pub(super) home: Handle,
}

impl Line {
    pub(super) fn new(socket: OwnedFd, pid: i32, home: Handle) -> io::Result<Arc<Self>> {
        let _here = home.enter();
        Ok(Arc::new(Self {
            // Not for writing: the socket has room nearly always, and says so whenever a job is taken out of it.
            socket: sys::watch_for(socket, Interest::READABLE)?,
            pid,
            born: Instant::now(),
            next_id: AtomicU64::new(1),
            jobs: Mutex::new(Some(HashMap::new())),
            load: AtomicUsize::new(0),
            spare: Mutex::default(),
            alive: watch::Sender::new(true),
            home: home.clone(),
        }))
    }

    /// Jobs of which something is left.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Returns when the spawner has gone.
    pub(super) async fn gone(&self) {
        let _ = self.alive.subscribe().wait_for(|alive| !alive).await;
    }

    /// A place for a new job's news; `None` once the spawner has died.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Child> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let post = Arc::new(Post::default());
        lock(&self.jobs).as_mut()?.insert(id, post.clone());
        self.load.fetch_add(1, Ordering::Relaxed);
        Some(Child {
            line: Arc::clone(self),
            id,
            post,
            sent: false,
            released: false,
            told_to_end: AtomicBool::new(false),
        })
    }

    /// Room for a message: `used` where it has some, otherwise what the last one was written to.
    pub(super) fn message(&self, mut used: Vec<u8>) -> Vec<u8> {
        if used.capacity() == 0 {
            used = std::mem::take(&mut *lock(&self.spare));
        }
        used.clear();
        used
    }

    /// Takes a message's room for the next. Large ones are rare, and not kept.
    pub(super) fn give_back(&self, used: Vec<u8>) {
        if used.capacity() <= SPARE {
            *lock(&self.spare) = used;
        }
    }

    /// Sends one packet, waiting for room.
    async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let once = || socket::send(&self.socket, bytes, fds, SendFlags::DONTWAIT);
        match once() {
            Err(Errno::AGAIN) => {
                let twin = sys::watch_for(rustix::io::fcntl_dupfd_cloexec(&self.socket, 3)?, Interest::WRITABLE)?;
                let sent = twin.async_io(Interest::WRITABLE, |_| Ok(once()?));
                tokio::time::timeout(ROOM, sent).await?
            }
            result => Ok(result?),
        }
    }

    /// No more jobs: the spawner ends all it has, tells it, and goes.
    pub(super) fn close(&self) {
        let _ = shutdown(self.socket.get_ref(), Shutdown::Write);
    }

    /// Hears the spawner out, until it has gone or makes no sense. A spawner given up ends its jobs.
    pub(super) async fn listen(&self) {
        let mut buffer = vec![0; MAX_NOTICES];
        let mut heard = false;
        loop {
            match self.receive(&mut buffer, &mut heard).await {
                Ok(0) => break,
                Ok(length) => {
                    if let Err(error) = self.hear(&buffer[..length]) {
                        tracing::error!(pid = self.pid, ?error, "a spawner does not make sense; it is given up");
                        break;
                    }
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS)) => {
                    tokio::time::sleep(SHORT_OF_MEMORY).await;
                }
                Err(error) => {
                    tracing::error!(pid = self.pid, %error, "lost the connection to a spawner");
                    break;
                }
            }
        }
        let _ = shutdown(self.socket.get_ref(), Shutdown::Both);
    }

    /// The length of the next packet. `heard`: something has been received since the socket was last found empty. A
    /// socket said to be readable that is empty at once is looked at twice: what it holds would not be told of again.
    async fn receive(&self, buffer: &mut [u8], heard: &mut bool) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.readable().await?;
            match socket::receive(&self.socket, buffer, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => {
                    if *heard {
                        ready.clear_ready();
                    }
                    *heard = !*heard;
                }
                received => {
                    *heard = true;
                    return Ok(received?.length);
                }
            }
        }
    }

    /// Takes in a packet of news.
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
            let job = if gone { jobs.remove(&id) } else { jobs.get(&id).cloned() };
            let Some(job) = job else { continue };
            if gone {
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
            job.tell(|state| {
                state.pid = pid.or(state.pid);
                state.ending = ending.or(state.ending);
                state.gone = gone;
            });
        }
        Ok(())
    }

    /// The spawner has gone: so are its jobs, as far as can be known. How many there were.
    pub(super) fn die(&self) -> usize {
        let jobs = lock(&self.jobs).take().unwrap_or_default();
        let count = jobs.len();
        for job in jobs.into_values() {
            job.tell(|state| {
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

/// A job that has been handed over.
///
/// Dropping it before [`Child::wait`] has told the ending ends the job, unless [`Child::release`] was called: whoever
/// loses interest in a script must not leave it running by accident.
#[derive(Debug)]
pub struct Child {
    line: Arc<Line>,
    id: u64,
    post: Arc<Post>,
    sent: bool,
    released: bool,
    told_to_end: AtomicBool,
}

impl Child {
    /// The job's number on its line.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Sends the job. Until that is done, dropping this takes the job back.
    pub(super) async fn hand_over(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.line.send(bytes, fds).await?;
        self.sent = true;
        Ok(())
    }

    /// The leader's process once the spawner has told it, some milliseconds after the start or with the ending.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.post.state().pid
    }

    /// Ready once the leader is known to run, which is told some milliseconds after the start, or to have ended.
    pub fn poll_told(&self, context: &mut Context<'_>) -> Poll<()> {
        self.post.poll(context, State::told).map(|_| ())
    }

    /// How the leader ended, once it has.
    pub fn poll_ending(&self, context: &mut Context<'_>) -> Poll<Ending> {
        self.post.poll(context, |state| state.ending)
    }

    /// What [`Child::pid`] will tell, as a future of its own; `None` where nothing was started.
    pub fn leader(&self) -> impl Future<Output = Option<i32>> + Send + use<> {
        let post = self.post.clone();
        async move { post.until(State::told).await }
    }

    /// Waits for the leader to end; after [`Child::end`], for everything of the job to be gone. May be called again.
    pub async fn wait(&mut self) -> Ending {
        self.post.until(|state| state.ending).await
    }

    /// What [`Child::wait`] tells, as a future of its own.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        let post = self.post.clone();
        async move { post.until(|state| state.ending).await }
    }

    /// Waits until no process of the job is left, those it detached included. At once after [`Child::wait`], unless
    /// the script left some behind.
    pub async fn gone(&mut self) {
        self.post.until(|state| state.gone.then_some(())).await;
    }

    /// TERM to every process of the job now, KILL to what is left after its grace. Further calls do nothing.
    pub fn end(&self) {
        if self.post.state().gone || self.told_to_end.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut bytes = Vec::with_capacity(9);
        if Request::End(self.id).encode(&mut bytes).is_err() {
            return;
        }
        if let Err(Errno::AGAIN) = socket::send(&self.line.socket, &bytes, &[], SendFlags::DONTWAIT) {
            let line = Arc::clone(&self.line);
            self.line.home.spawn(async move { line.send(&bytes, &[]).await });
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
        } else if !self.released && self.post.state().ending.is_none() {
            self.end();
        }
    }
}

/// No code panics while it holds one of these locks; should one ever, the data is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_spawner_that_takes_nothing_is_given_up_on() {
        let (ours, _theirs) = socket::pair().unwrap();
        let line = Line::new(ours, 0, Handle::current()).unwrap();
        while socket::send(&line.socket, &[0; 1000], &[], SendFlags::DONTWAIT).is_ok() {}
        let mut child = line.enter().unwrap();
        let refused = child.hand_over(b"a job", &[]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(child);
        assert_eq!(line.load(), 0, "it has not been handed over");
    }
}
