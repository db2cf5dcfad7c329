//! Everything a request may touch. Built once; a reload builds another.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use crate::access_log::LogFile;
use crate::builtin::ProcessCount;
use crate::config::Config;
use crate::connection::RequestId;
use crate::edge;
use crate::explain::Evidence;
use crate::files;
use crate::spawner::Spawner;
use crate::status;
use crate::websocket;

/// The state of a running server.
pub struct App {
    /// What the operator wants.
    pub config: Config,
    /// Starts programs.
    pub spawner: Spawner,
    /// Small files.
    pub files: Arc<files::Cache>,
    /// Media types.
    pub types: Arc<files::Types>,
    /// Request lines and messages.
    pub log: Arc<LogFile>,
    /// For `/ajax/processcount`.
    pub processes: ProcessCount,
    /// The rooms of hub scripts.
    pub hubs: websocket::Hubs,
    /// When the server came up.
    pub started: Instant,
    /// The scripts that run, and what has become of others. They survive a reload, as do the numbers.
    pub live: Arc<status::Registry>,
    /// Numbers for machines.
    pub metrics: Arc<status::Metrics>,
    /// Places for looking into failures.
    pub explaining: Semaphore,
    /// Where `cgiserve run` and `check` learn what scripts did; nobody else keeps it.
    pub witness: Option<Witness>,
    /// How much a connection may take, as the edge needs it.
    pub edge: Arc<edge::Limits>,
    ids: Arc<RequestIds>,
}

/// What scripts did, for somebody who asked for it.
#[derive(Debug, Default)]
pub struct Witness {
    seen: Mutex<Vec<Arc<Evidence>>>,
    only_look: AtomicBool,
}

impl Witness {
    /// Keeps `evidence`.
    pub fn saw(&self, evidence: Arc<Evidence>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(evidence);
    }

    /// What was seen since the last time.
    pub fn take(&self) -> Vec<Arc<Evidence>> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on no script is started.
    pub fn look_only(&self) {
        self.only_look.store(true, Ordering::Relaxed);
    }

    /// Whether no script shall be started.
    pub fn only_looks(&self) -> bool {
        self.only_look.load(Ordering::Relaxed)
    }
}

/// Failures that are looked into at once; of those beyond only the slug is logged, so that nobody can keep the disk
/// busy by asking for what fails.
const EXPLAINED_AT_ONCE: usize = 4;

impl App {
    /// Puts the parts together.
    pub fn new(config: Config, spawner: Spawner, log: Arc<LogFile>) -> Self {
        Self {
            files: config.cache.clone(),
            types: config.types.clone(),
            edge: Arc::new(edge_limits(&config)),
            config,
            spawner,
            log,
            processes: ProcessCount::default(),
            hubs: websocket::Hubs::default(),
            started: Instant::now(),
            live: Arc::default(),
            metrics: Arc::default(),
            explaining: Semaphore::new(EXPLAINED_AT_ONCE),
            witness: None,
            ids: Arc::new(RequestIds::new()),
        }
    }

    /// The same server with another configuration. Requests in flight keep `old`; what they occupy counts here too.
    pub fn renew(old: &Self, mut config: Config) -> Self {
        config.inherit(&old.config);
        let new = Self::new(config, old.spawner.clone(), old.log.clone());
        let (live, metrics) = (old.live.clone(), old.metrics.clone());
        Self { started: old.started, ids: old.ids.clone(), hubs: old.hubs.clone(), live, metrics, ..new }
    }

    /// Makes the state folder, for the scripts' user alone.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make_state_folder(config: &Config) -> io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt, chown};
        if let Some(base) = config.state.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(base)?;
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&config.state) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(identity) = &config.identity {
            chown(&config.state, Some(identity.uid), Some(identity.gid))?;
        }
        Ok(())
    }
}

fn edge_limits(config: &Config) -> edge::Limits {
    let limits = &config.limits;
    edge::Limits {
        head_time: limits.header,
        idle_time: limits.keep_alive,
        write_idle: limits.write,
        add_slash: config.add_slash,
        ..edge::Limits::default()
    }
}

/// Request ids. Connections take them by the block, so that requests do not meet here.
struct RequestIds {
    run: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { run: since.as_secs() ^ u64::from(std::process::id()) << 40, next: AtomicU64::new(1) }
    }
}

/// Ids that one connection's requests may take.
#[derive(Debug, Default)]
pub struct IdBlock {
    run: u64,
    next: u64,
    end: u64,
}

/// Ids in a block: as many requests as most connections have at most.
const BLOCK: u64 = 16;

impl IdBlock {
    /// The next one; from another block of `app` where this is used up.
    pub fn next(&mut self, app: &App) -> RequestId {
        self.take(&app.ids)
    }

    fn take(&mut self, ids: &RequestIds) -> RequestId {
        if self.next == self.end {
            let first = ids.next.fetch_add(BLOCK, Ordering::Relaxed);
            *self = Self { run: ids.run, next: first, end: first + BLOCK };
        }
        self.next += 1;
        RequestId::new(self.run, self.next - 1)
    }
}

/// The application as one connection holds it: requests count their references here, and not where all threads do.
#[derive(Clone)]
pub struct Lease(Arc<Leased>);

struct Leased {
    app: Arc<App>,
}

impl Lease {
    /// Of `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self(Arc::new(Leased { app }))
    }
}

impl Deref for Lease {
    type Target = Arc<App>;

    fn deref(&self) -> &Arc<App> {
        &self.0.app
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_short_and_never_twice() {
        assert_eq!(&*RequestId::new(0x6a0, 31), "6a0-1f");
        let ids = RequestIds::new();
        let (mut one, mut other) = (IdBlock::default(), IdBlock::default());
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2 * BLOCK + 1 {
            assert!(seen.insert(one.take(&ids).to_string()));
            assert!(seen.insert(other.take(&ids).to_string()));
        }
        assert_eq!(ids.next.load(Ordering::Relaxed), 1 + 6 * BLOCK);
    }
}
