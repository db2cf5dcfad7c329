//! The threads that serve: one for each processor, each with a reactor of its own.
//!
//! A connection stays on one of them for as long as it lives, and so do its scripts, their pipes and the news of their
//! spawner: nothing of a request wakes another thread, which costs more than most requests do. The first of them is
//! the thread that runs `main`; it accepts, and hears the signals.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::stripe;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// For what still runs to be taken down, at the very end, so that its lines get into the log.
const TAKE_DOWN: Duration = Duration::from_millis(500);
/// How much longer a thread that hangs in a file system is waited for.
const HANGING: Duration = Duration::from_millis(250);
/// Threads that wait for disks and sums, of each worker, at most.
const BLOCKING: usize = 64;
/// They stay, for where there is none and none can be had the runtime panics; where there is one it only waits.
const STAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// The reactor of the thread that runs `main`.
///
/// # Errors
/// Out of descriptors or threads.
pub(super) fn runtime() -> io::Result<Runtime> {
    with_a_thread(Builder::new_current_thread().enable_all())
}

/// A reactor with the first of its threads for what waits.
fn with_a_thread(builder: &mut Builder) -> io::Result<Runtime> {
    let runtime = builder.thread_name("wait").max_blocking_threads(BLOCKING).thread_keep_alive(STAY).build()?;
    // Asks whether there is one to be had: the runtime would not say so.
    std::thread::Builder::new().spawn(|| {})?;
    runtime.spawn_blocking(|| ());
    Ok(runtime)
}

/// All threads that serve. Clones share them.
#[derive(Clone)]
pub(super) struct Workers(Arc<[Worker]>);

struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

/// The threads beside the first.
pub(super) struct Others(Vec<Other>);

struct Other {
    end: oneshot::Sender<()>,
    ended: mpsc::Receiver<()>,
}

/// A connection's place on its worker.
pub(super) struct Desk(Arc<AtomicUsize>);

impl Workers {
    /// As many threads as there are processors, the one whose reactor is `first` among them.
    ///
    /// # Errors
    /// No threads or descriptors to be had.
    pub(super) fn start(first: &Handle) -> io::Result<(Self, Others)> {
        Self::of(std::thread::available_parallelism().map_or(1, NonZero::get), first)
    }

    fn of(count: usize, first: &Handle) -> io::Result<(Self, Others)> {
        let (mut all, mut others) = (vec![Worker::new(first.clone())], Vec::new());
        for number in 1..count {
            let (worker, other) = beside(number)?;
            all.push(worker);
            others.push(other);
        }
        Ok((Self(all.into()), Others(others)))
    }

    /// The reactors, the first thread's first.
    pub(super) fn reactors(&self) -> Vec<Handle> {
        self.0.iter().map(|worker| worker.handle.clone()).collect()
    }

    /// The thread with the fewest connections.
    pub(super) fn least(&self) -> (&Handle, Desk) {
        // There is always the first.
        let fewest = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let worker = self.0.iter().min_by_key(fewest).unwrap_or(&self.0[0]);
        worker.connections.fetch_add(1, Ordering::Relaxed);
        (&worker.handle, Desk(worker.connections.clone()))
    }
}

fn beside(number: usize) -> io::Result<(Worker, Other)> {
    let runtime = with_a_thread(Builder::new_current_thread().enable_io().enable_time())?;
    let worker = Worker::new(runtime.handle().clone());
    let (end, ends) = oneshot::channel();
    let (tell, ended) = mpsc::channel();
    std::thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
        stripe::set(number);
        // An error means that nobody is left who could say so: the server has gone.
        let _ = runtime.block_on(ends);
        runtime.shutdown_timeout(TAKE_DOWN);
        let _ = tell.send(());
    })?;
    Ok((worker, Other { end, ended }))
}

impl Others {
    /// Takes down what still runs there.
    pub(super) fn end(self) {
        let tell = |other: Other| {
            let _ = other.end.send(());
            other.ended
        };
        let ended: Vec<_> = self.0.into_iter().map(tell).collect();
        for ended in ended {
            let _ = ended.recv_timeout(TAKE_DOWN + HANGING);
        }
    }
}

/// Takes down what still runs on the first thread.
pub(super) fn take_down(first: Runtime) {
    first.shutdown_timeout(TAKE_DOWN);
}

impl Worker {
    fn new(handle: Handle) -> Self {
        Self { handle, connections: Arc::default() }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_and_threads_end() {
        let first = runtime().unwrap();
        let (workers, others) = Workers::of(2, first.handle()).unwrap();
        let (one, desk) = workers.least();
        let (two, _) = workers.least();
        assert_ne!(one.id(), two.id());
        let (three, _) = workers.least();
        assert_eq!(three.id(), two.id(), "whoever left is not counted");
        drop(desk);
        let there = two.spawn(async { std::thread::current().name().map(str::to_owned) });
        assert_eq!(first.block_on(there).unwrap().as_deref(), Some("serve-1"));
        let endless = two.spawn(std::future::pending::<()>());
        others.end();
        assert!(first.block_on(endless).unwrap_err().is_cancelled());
        take_down(first);
    }
}
