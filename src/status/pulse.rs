//! How many scripts ended in each second of the last minute.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Seconds that are kept.
pub(super) const SECONDS: usize = 60;

#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// Second, all, errors.
    beats: Mutex<VecDeque<(u64, u32, u32)>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), beats: Mutex::default() }
    }
}

impl Pulse {
    pub(super) fn beat(&self, error: bool) {
        let now = self.start.elapsed().as_secs();
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        match beats.back_mut() {
            Some((second, all, errors)) if *second == now => {
                *all += 1;
                *errors += u32::from(error);
            }
            _ => {
                beats.push_back((now, 1, u32::from(error)));
                if beats.len() > SECONDS {
                    beats.pop_front();
                }
            }
        }
    }

    /// All and errors of each second, the current one last.
    pub(super) fn minute(&self) -> [(u32, u32); SECONDS] {
        let now = self.start.elapsed().as_secs();
        let mut minute = [(0, 0); SECONDS];
        for (second, all, errors) in self.beats.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let ago = usize::try_from(now - second).unwrap_or(usize::MAX);
            if let Some(slot) = SECONDS.checked_sub(ago + 1).and_then(|at| minute.get_mut(at)) {
                *slot = (*all, *errors);
            }
        }
        minute
    }
}
