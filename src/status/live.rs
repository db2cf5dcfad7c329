//! The scripts that run or wait, and what has become of those before them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::metrics::Metrics;
use super::pulse::Pulse;
use crate::gateway::Context;
use crate::spawner::Ending;

/// Scripts that are remembered; of those beyond nothing is.
const SCRIPTS: usize = 500;
/// Times of one script that its percentiles are made of: the last ones.
const TIMES: usize = 256;
/// How much of a script's last words is kept, octets.
const LAST_WORDS: usize = 500;

/// A request for a script, from its arrival to the end of its process.
#[derive(Debug)]
pub struct Live {
    /// The request's id.
    pub id: String,
    /// SCRIPT_NAME.
    pub script: String,
    /// The client.
    pub client: String,
    /// Since when.
    pub since: Instant,
    /// Whether it has a place among the running.
    pub running: AtomicBool,
    /// Whether it is a conversation over a WebSocket rather than one answer.
    pub talks: AtomicBool,
    /// What is known of its process, once it has one.
    context: Mutex<Option<Arc<Context>>>,
    /// Turns true when somebody wants a conversation to end.
    end: watch::Sender<bool>,
}

/// What has become of one script's requests.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// How many.
    pub(super) count: u64,
    /// How many of them did not end well.
    pub(super) errors: u64,
    /// The last times, from arrival to the end of the process.
    times: VecDeque<Duration>,
    /// The last words of the last one that had any, but for the very last one: what that said may still be read.
    words: Vec<u8>,
    last: Option<Arc<Context>>,
}

/// Everything that the live view shows.
#[derive(Debug, Default)]
pub struct Registry {
    live: Mutex<HashMap<u64, Arc<Live>>>,
    scripts: Mutex<HashMap<String, History>>,
    next: AtomicU64,
    /// Requests of the last minute.
    pub(super) pulse: Pulse,
}

/// A request's entry; it goes when this is dropped, which is when its process has gone.
pub struct Seat {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    key: u64,
    live: Arc<Live>,
}

impl Registry {
    /// Enters a request that waits for its place.
    pub fn enter(self: &Arc<Self>, metrics: &Arc<Metrics>, id: &str, script: &str, client: String) -> Seat {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live {
            id: id.to_owned(),
            script: script.to_owned(),
            client,
            since: Instant::now(),
            running: AtomicBool::new(false),
            talks: AtomicBool::new(false),
            context: Mutex::default(),
            end: watch::Sender::new(false),
        });
        lock(&self.live).insert(key, live.clone());
        Seat { registry: self.clone(), metrics: metrics.clone(), key, live }
    }

    /// Ends the script of a request; whether there is one.
    pub fn end(&self, id: &str) -> bool {
        let live = lock(&self.live).values().find(|live| live.id == id).cloned();
        let Some(live) = live.filter(|live| live.can_end()) else { return false };
        live.end.send_replace(true);
        if let Some(context) = live.context() {
            context.record.end();
        }
        true
    }

    /// Who runs and who waits, the oldest first.
    pub(super) fn now(&self) -> Vec<Arc<Live>> {
        let mut all: Vec<_> = lock(&self.live).values().cloned().collect();
        all.sort_by_key(|live| live.since);
        all
    }

    /// What has become of each script, the busiest first.
    pub(super) fn histories(&self) -> Vec<(String, History)> {
        let mut all: Vec<_> =
            lock(&self.scripts).iter().map(|(name, history)| (name.clone(), history.clone())).collect();
        all.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

impl Live {
    /// What is known of its process.
    pub fn context(&self) -> Option<Arc<Context>> {
        lock(&self.context).clone()
    }

    /// Whether there is anything to end.
    pub(super) fn can_end(&self) -> bool {
        self.talks.load(Ordering::Relaxed) || self.context().is_some()
    }

    /// Whether somebody asked for its end.
    pub(super) fn is_ending(&self) -> bool {
        *self.end.borrow()
    }
}

impl History {
    /// The last words of the last one that had any.
    pub(super) fn last_words(&self) -> String {
        let newest = self.last.as_ref().map(|last| last.record.stderr.text()).filter(|words| !words.is_empty());
        let words = newest.unwrap_or_else(|| self.words.clone());
        String::from_utf8_lossy(&words[words.len().saturating_sub(LAST_WORDS)..]).into_owned()
    }

    /// The time that `share` of the last requests did not exceed.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self.times.iter().copied().collect();
        times.sort();
        // In range: the index is at most the last one, and an empty list has none.
        let at = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
        times.get(at).copied().unwrap_or_default()
    }
}

impl Seat {
    /// It has its place, and is about to start.
    pub fn runs(&self, context: &Arc<Context>) {
        *lock(&self.live.context) = Some(context.clone());
        self.live.running.store(true, Ordering::Relaxed);
    }

    /// It is a conversation, and has begun. Where its process is everybody's (a hub), none was named.
    pub fn talks(&self) {
        self.live.talks.store(true, Ordering::Relaxed);
        self.live.running.store(true, Ordering::Relaxed);
    }

    /// Resolves when somebody wants the conversation to end.
    pub async fn ended(&self) {
        // The sender is in the same seat, so that waiting cannot fail.
        let _ = self.live.end.subscribe().wait_for(|end| *end).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.registry.live).remove(&self.key);
        let Some(context) = self.live.context() else { return };
        let took = self.live.since.elapsed();
        let ending = context.record.ending();
        let well = match ending {
            // It may end as it should and still have said nothing that is an answer.
            Some(Ending::Exited { status: 0, .. }) => {
                context.record.body_fault().is_none() && !context.record.is_unanswered()
            }
            // A conversation ends when its client leaves; whoever reads no further is ended then.
            Some(Ending::Signalled { signal: libc::SIGTERM | libc::SIGKILL, .. }) => {
                self.live.talks.load(Ordering::Relaxed)
            }
            _ => false,
        };
        self.registry.pulse.beat(!well);
        self.metrics.script(took, ending, &context.record);
        let mut scripts = lock(&self.registry.scripts);
        if scripts.len() >= SCRIPTS && !scripts.contains_key(&self.live.script) {
            return;
        }
        let history = scripts.entry(self.live.script.clone()).or_default();
        history.count += 1;
        history.errors += u64::from(!well);
        if history.times.len() == TIMES {
            history.times.pop_front();
        }
        history.times.push_back(took);
        if let Some(words) = history.last.replace(context).map(|last| last.record.stderr.text())
            && !words.is_empty()
        {
            history.words = words;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let history = History { times: (1..=100).map(Duration::from_secs).collect(), ..History::default() };
        assert_eq!(history.percentile(0.5), Duration::from_secs(50));
        assert_eq!(history.percentile(0.95), Duration::from_secs(95));
        assert_eq!(History::default().percentile(0.5), Duration::ZERO);
    }

    #[test]
    fn an_entry_goes_with_its_seat() {
        let registry = Arc::new(Registry::default());
        let seat = registry.enter(&Arc::default(), "id-1", "/cgi-bin/x", "127.0.0.1".into());
        assert_eq!(registry.now().len(), 1);
        assert!(!registry.end("id-1"), "it has no process yet");
        seat.runs(&Arc::new(Context::new("id-1".into(), "/cgi-bin/x".into(), String::new())));
        assert!(registry.end("id-1") && !registry.end("id-2"));
        drop(seat);
        assert!(registry.now().is_empty());
        assert_eq!(registry.histories()[0].1.count, 1);
    }

    #[tokio::test]
    async fn a_conversation_is_told_to_end() {
        let registry = Arc::new(Registry::default());
        let seat = registry.enter(&Arc::default(), "id-1", "/cgi-bin/hub-x", "127.0.0.1".into());
        assert!(!registry.end("id-1"), "it waits still");
        seat.talks();
        assert!(registry.end("id-1") && registry.now()[0].is_ending());
        seat.ended().await;
        drop(seat);
        assert!(registry.histories().is_empty(), "its process goes on");
    }
}
