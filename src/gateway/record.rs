//! What became of a script, kept for whoever has to explain it: the log, the explaining page, `cgiserve run`.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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

    pub(super) fn ended(&self, ending: Ending) {
        // The first news counts; there is no second.
        let _ = self.ending.set(ending);
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    pub(super) fn output(&self, bytes: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.extend_from_slice(&bytes[..bytes.len().min(OUTPUT)]);
    }
}
