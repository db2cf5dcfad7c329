//! What dead spawners have left: it becomes the child of the nursery, of its keeper where that has died too, and of the
//! server itself in the end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::family::{self, OwnChildren};
use super::jobs::signal;

/// From TERM to KILL for the processes of a dead spawner, whose jobs' own graces died with it.
const GRACE: Duration = Duration::from_secs(2);

/// Between two looks while such processes are left.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Children by adoption that have to go.
#[derive(Debug)]
pub(super) struct Orphans {
    children: Option<OwnChildren>,
    /// A child has ended, and since then no look has found nothing.
    look: bool,
    /// By the time of its TERM.
    known: HashMap<i32, Instant>,
}

impl Default for Orphans {
    fn default() -> Self {
        Self { children: OwnChildren::open().ok(), look: false, known: HashMap::new() }
    }
}

impl Orphans {
    /// Whether there may be some.
    pub(super) fn any(&self) -> bool {
        self.look
    }

    /// A child has been collected: if it was none of these, it may have left some.
    pub(super) fn buried(&mut self, pid: i32) {
        self.look |= self.known.remove(&pid).is_none();
    }

    /// TERM to those children for which `is_one` holds, and to all below them; KILL when their grace is over. Returns
    /// those that are left.
    pub(super) fn end(&mut self, is_one: impl Fn(i32) -> bool) -> Vec<i32> {
        let mut found = Vec::new();
        let read = self.children.as_mut().map(|children| children.read(|pid| found.push(pid)));
        found.retain(|pid| is_one(*pid));
        // What could not be read is read again.
        self.look = !found.is_empty() || matches!(read, Some(Err(_)));
        self.known.retain(|pid, _| found.contains(pid));
        let now = Instant::now();
        for pid in &found {
            let first = !self.known.contains_key(pid);
            let since = *self.known.entry(*pid).or_insert(now);
            let what = if now.duration_since(since) >= GRACE { Signal::KILL } else { Signal::TERM };
            if first || what == Signal::KILL {
                family::with_descendants([*pid]).into_iter().for_each(|pid| signal(pid, what));
            }
        }
        found
    }
}
