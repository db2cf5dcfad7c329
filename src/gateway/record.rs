//! What became of a script, kept for whoever has to explain it: the log, the explaining page, `cgiserve run`.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Context as Wakers;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::SetOnce;

use super::stderr::Tail;
use crate::spawner::Ending;

/// How much of a refused answer is kept, octets.
pub(super) const OUTPUT: usize = 4 << 10;

/// What became of one run of a script.
#[derive(Debug, Default)]
pub struct Record {
    /// The last of its standard error.
    pub stderr: Tail,
    ending: SetOnce<Ending>,
    fault: Mutex<Option<Fault>>,
    output: Mutex<Vec<u8>>,
    /// No answer came of it.
    unanswered: AtomicBool,
    /// Octets of its body that were handed on.
    sent: AtomicU64,
    /// From hand-over to the running process.
    spawn: OnceLock<Duration>,
    /// Why the server ended it before its header was there.
    killed: OnceLock<&'static str>,
    /// Somebody wants it to end; whoever waits for it is woken.
    end: AtomicBool,
    waiting: AtomicWaker,
}

/// What is wrong with the body of an answer, seen when its header had been sent already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is more than Content-Length says; the rest was not sent.
    Longer {
        /// Octets too many, as far as they had been read.
        over: u64,
    },
    /// There is less than Content-Length says; the answer was broken off.
    Shorter {
        /// Octets too few.
        missing: u64,
    },
    /// It took too long; the answer was broken off.
    TimedOut {
        /// The limit that ended it.
        key: &'static str,
    },
}

impl Fault {
    /// The word for it in the catalogue of causes.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Longer { .. } => "body-longer",
            Self::Shorter { .. } => "body-shorter",
            Self::TimedOut { .. } => "killed-by-limit",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Longer { over } => {
                write!(f, "the body is longer than its Content-Length, by {over} octets at least, which were not sent")
            }
            Self::Shorter { missing } => write!(f, "the body is shorter than its Content-Length, by {missing} octets"),
            Self::TimedOut { key } => write!(f, "the program was ended in the middle of its answer by {key}"),
        }
    }
}

impl Record {
    /// How the program ended, once it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get().copied()
    }

    /// Waits for the program's end, and no longer than `patience`.
    pub async fn over(&self, patience: Duration) -> Option<Ending> {
        tokio::time::timeout(patience, self.ending.wait()).await.ok().copied()
    }

    /// What was wrong with the body.
    pub fn body_fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first octets of an answer whose header was refused.
    pub fn refused_output(&self) -> Vec<u8> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what it wrote, if anything, was no answer.
    pub fn is_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Acquire)
    }

    /// Asks for the program's end.
    pub fn end(&self) {
        self.end.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Whether somebody asked for it.
    pub fn end_asked(&self) -> bool {
        self.end.load(Ordering::Acquire)
    }

    /// Octets of its body so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How long it took to start it, where that was seen.
    pub fn spawn_time(&self) -> Option<Duration> {
        self.spawn.get().copied()
    }

    /// Why the server ended it before its header was there, if it did.
    pub fn killed_for(&self) -> Option<&'static str> {
        self.killed.get().copied()
    }

    /// Whether somebody asked for the end; otherwise the task is woken when somebody does.
    pub(super) fn poll_end(&self, wakers: &Wakers<'_>) -> bool {
        self.waiting.register(wakers.waker());
        self.end_asked()
    }

    pub(super) fn add_sent(&self, octets: usize) {
        self.sent.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(super) fn spawned(&self, after: Duration) {
        let _ = self.spawn.set(after);
    }

    pub(super) fn killed(&self, why: &'static str) {
        let _ = self.killed.set(why);
    }

    pub(super) fn ended(&self, ending: Ending) {
        // The first news counts; there is no second.
        let _ = self.ending.set(ending);
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    /// No answer came of it; these are its first octets.
    pub(super) fn output(&self, bytes: &[u8]) {
        self.unanswered.store(true, Ordering::Release);
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.extend_from_slice(&bytes[..bytes.len().min(OUTPUT)]);
    }
}
