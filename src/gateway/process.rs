//! A script's process as the gateway holds it: dropped before its answer is complete, everything of it ends.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Wakers, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::Context;
use super::pipe::Reader;
use super::settings::Settings;
use super::stderr;
use super::upload::Feeder;
use crate::spawner::{Child, Ending};

/// How long a spawner may say nothing of a script before that is listened to all the same.
const SPAWNER: Duration = Duration::from_secs(1);

/// What has to be given back when a process is gone: the place among the running ones.
pub type Permit = Box<dyn Any + Send>;

/// A running script with everything that belongs to it.
pub(super) struct Process {
    parts: Option<Parts>,
}

pub(super) struct Parts {
    pub(super) stdout: Reader,
    /// Until somebody listens to it.
    pub(super) stderr: Option<Reader>,
    pub(super) child: Child,
    pub(super) feeder: Option<Feeder>,
    pub(super) settings: Arc<Settings>,
    pub(super) context: Arc<Context>,
    pub(super) started: Instant,
    pub(super) ending: Option<Ending>,
    /// Somebody asked for its end, and it was told.
    pub(super) told_to_end: bool,
    /// Given back when the process is gone, not when the client is: otherwise clients that leave at once could
    /// start any number of processes.
    pub(super) permit: Permit,
}

/// What becomes of a process nobody waits for any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// It may finish its work within its time.
    Finish,
    /// It ends now.
    End,
}

impl Process {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts: Some(parts) }
    }

    /// The parts; they are there until the process is let go, which takes the process by value.
    pub(super) fn parts(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("parts are taken only by value")
    }

    /// The answer is complete: the program may finish its work within its time limit, unseen.
    pub(super) fn let_finish(mut self) {
        if let Some(parts) = self.parts.take() {
            see_off(parts, Afterwards::Finish);
        }
    }
}

impl Parts {
    /// How the process ended, once it has.
    pub(super) fn poll_ending(&mut self, wakers: &mut Wakers<'_>) -> Poll<Ending> {
        if let Some(ending) = self.ending {
            return Poll::Ready(ending);
        }
        // Told of by the same channel as the ending, so this is polled when it becomes known.
        if self.context.record.spawn_time().is_none()
            && let Some(pid) = self.child.pid()
        {
            self.context.pid.store(pid, Ordering::Relaxed);
            self.context.record.spawned(self.started.elapsed());
        }
        if !self.told_to_end && self.context.record.poll_end(wakers) {
            self.told_to_end = true;
            self.child.end();
        }
        let ending = ready!(self.child.poll_ending(wakers));
        self.context.ended(&ending);
        self.ending = Some(ending);
        Poll::Ready(ending)
    }

    /// Leaves the script alone until its spawner tells that it has ended, or, some milliseconds after the start, that it
    /// runs: one that is done at once costs one wake-up then, and not one for each of its pipes. The time to wait is the
    /// spawner's; ours is for one that hangs.
    pub(super) async fn head_start(&mut self) {
        let told = std::future::poll_fn(|wakers| match self.poll_ending(wakers) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.child.poll_told(wakers),
        });
        let _ = tokio::time::timeout(SPAWNER, told).await;
        let mut said = BytesMut::new();
        if let (Some(_), Some(stderr)) = (self.ending, &mut self.stderr)
            && matches!(stderr.read_now(&mut said), Ok(0))
        {
            self.stderr = None;
            self.context.record.stderr.silent();
        }
        self.listen(said);
    }

    /// From now on somebody reads standard error, of which `said` has been read.
    fn listen(&mut self, said: BytesMut) {
        if let Some(stderr) = self.stderr.take() {
            tokio::spawn(stderr::log(said, stderr, self.child.leader(), self.context.clone()));
        }
    }

    async fn ended(&mut self) {
        std::future::poll_fn(|wakers| self.poll_ending(wakers).map(drop)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            let afterwards = if parts.settings.kill_on_disconnect { Afterwards::End } else { Afterwards::Finish };
            see_off(parts, afterwards);
        }
    }
}

/// Holds on to a process until it is gone, then gives its place back.
fn see_off(mut parts: Parts, afterwards: Afterwards) {
    if parts.ending.is_some() {
        return;
    }
    if afterwards == Afterwards::End {
        parts.child.end();
    }
    // Outside the runtime the server is coming down, and the spawner ends every script when it sees that.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    parts.listen(BytesMut::new());
    runtime.spawn(async move {
        if afterwards == Afterwards::Finish {
            if let Some(feeder) = &mut parts.feeder {
                feeder.detach();
            }
            finish(&mut parts).await;
        }
        if parts.ending.is_none() {
            parts.child.end();
            parts.ended().await;
        }
        if let Some(feeder) = &mut parts.feeder
            && afterwards == Afterwards::End
        {
            feeder.stop();
        }
        drop(parts.permit);
    });
}

/// Reads and forgets the output until the process has ended or its time is up.
async fn finish(parts: &mut Parts) {
    let deadline = parts.settings.total.map(|total| parts.started + total);
    let mut output = BytesMut::new();
    let mut open = true;
    let done = std::future::poll_fn(|wakers| {
        while open {
            match parts.stdout.poll_read(wakers, &mut output) {
                Poll::Ready(Ok(1..)) => output.clear(),
                Poll::Ready(_) => open = false,
                Poll::Pending => break,
            }
        }
        parts.poll_ending(wakers).map(drop)
    });
    match deadline {
        Some(deadline) => drop(tokio::time::timeout_at(deadline.into(), done).await),
        None => done.await,
    }
}
