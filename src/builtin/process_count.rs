//! `GET /ajax/processcount`.

use std::time::{Duration, Instant};

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::sync::Mutex;

/// A count is good for this long, however many ask.
const FRESH: Duration = Duration::from_millis(250);

/// How many processes run on this host, counted at most once in 250 ms.
#[derive(Debug, Default)]
pub struct ProcessCount {
    last: Mutex<Option<(Instant, usize)>>,
}

impl ProcessCount {
    /// The count. Everybody who asks while it is being made waits for the same one.
    pub async fn get(&self) -> usize {
        let mut last = self.last.lock().await;
        if let Some((when, count)) = *last
            && when.elapsed() < FRESH
        {
            return count;
        }
        let before = last.map_or(0, |(_, count)| count);
        // Reading /proc takes some 20 µs a process: not on the reactor's thread.
        let count = tokio::task::spawn_blocking(count).await.unwrap_or(before);
        *last = Some((Instant::now(), count));
        count
    }
}

fn count() -> usize {
    let Ok(mut system) = System::new() else { return 0 };
    let what = ProcessRefreshKind::nothing().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    system.processes().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_count_is_kept_for_a_while() {
        let processes = ProcessCount::default();
        assert!(processes.get().await > 0);
        *processes.last.lock().await = Some((Instant::now(), 7));
        assert_eq!(processes.get().await, 7);
    }
}
