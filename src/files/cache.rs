//! Small files in memory, never stale.
//!
//! An entry is served only if, at that moment, `stat` of the name says the same device, inode, size, modification
//! and change time as when it was read; nobody but the kernel sets the change time. A file that changed less than
//! three seconds before it was read is not kept, because a second change in the same tick of the file system's clock
//! would not show. What `stat` cannot show (stores through a shared mapping, a folder on the way that became a link
//! to where the same inode lies) is looked at anew each [`LIFETIME`].

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use tokio::sync::Semaphore;

use super::buffers::Buffers;
use super::disks::Disks;
use super::name::Name;
use super::open::Identity;
use crate::stripe;

/// The largest file that is kept, octets. Larger ones are read for each request, which copies them once more.
pub(super) const FILE_MAX: u64 = 256 * 1024;
/// How long an entry serves before the file is opened and read again.
const LIFETIME: Duration = Duration::from_secs(1);
/// Files kept at most, however small.
const ENTRIES_MAX: usize = 16 * 1024;
/// What an entry costs besides its octets and its name, about: two header maps and the tables' share.
const ENTRY_OVERHEAD: usize = 2 * 1024;
/// Answers that are being compressed at one time, some MiB each; more are sent as they are.
const COMPRESSORS_MAX: usize = 16;
/// Folders that are being read and shown at one time; others wait.
const LISTINGS_MAX: usize = 8;
/// Locks of each stripe.
const SHARDS: usize = 8;
/// Stripes at most: what one thread has read others read again, but none waits for another.
const STRIPES: usize = 4;

/// One store for all trees, within one budget.
#[derive(Debug)]
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    stripes: usize,
    shard_budget: usize,
    next_tree: AtomicU32,
    pub(super) buffers: Arc<Buffers>,
    pub(super) compressors: Arc<Semaphore>,
    pub(super) listings: Semaphore,
    pub(super) disks: Disks,
}

/// A file in memory with the header fields of its answers.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Name,
    pub identity: Identity,
    /// `None` where so far only the header fields were wanted (304, HEAD).
    pub octets: Option<Bytes>,
    pub answer: Answer,
    /// When the octets were read, or a little before.
    pub read_at: Instant,
}

/// The header fields ready to send, and what the preconditions compare with.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Of a 200 or of an answer to HEAD.
    pub fields: HeaderMap,
    /// Of a 304.
    pub not_modified: HeaderMap,
    /// The entity tag with its quotes, without `W/`.
    pub tag: Box<[u8]>,
    /// See [`Validators::strong`](super::decide::Validators).
    pub strong: bool,
    /// Seconds since 1970.
    pub modified: Option<u64>,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Arc<[u8]>, Slot>,
    /// Names in the order of arrival, which is the order of expiry.
    arrivals: VecDeque<(Arc<[u8]>, Instant)>,
    weight: usize,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    weight: usize,
}

impl Cache {
    /// A cache that holds at most `budget` octets; 0 keeps nothing.
    pub fn new(budget: usize) -> Self {
        let stripes = std::thread::available_parallelism().map_or(1, usize::from).min(STRIPES);
        Self {
            shards: (0..SHARDS * stripes).map(|_| Mutex::default()).collect(),
            stripes,
            shard_budget: budget / SHARDS / stripes,
            next_tree: AtomicU32::new(0),
            buffers: Arc::default(),
            compressors: Arc::new(Semaphore::new(COMPRESSORS_MAX)),
            listings: Semaphore::new(LISTINGS_MAX),
            disks: Disks::default(),
        }
    }

    /// A number for a tree's keys. Two trees may show one file under different rules and must not share entries.
    pub(super) fn enlist(&self) -> u32 {
        self.next_tree.fetch_add(1, Ordering::Relaxed)
    }

    /// The entry under `key`, if it is young enough. The caller compares its identity with the file's.
    pub(super) fn get(&self, key: &[u8], now: Instant) -> Option<Arc<Entry>> {
        let shard = self.shard(key);
        let slot = shard.entries.get(key)?;
        (now.saturating_duration_since(slot.entry.read_at) < LIFETIME).then(|| Arc::clone(&slot.entry))
    }

    /// Keeps `entry` under its name, and lets the oldest go where room is short.
    pub(super) fn put(&self, entry: Arc<Entry>) {
        let (key, read_at) = (entry.name.key(), entry.read_at);
        let octets = entry.octets.as_ref().map_or(0, Bytes::len);
        let weight = octets + 4 * key.len() + ENTRY_OVERHEAD;
        if weight > self.shard_budget {
            return;
        }
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        let key: Arc<[u8]> = key.into();
        shard.weight += weight;
        if let Some(old) = shard.entries.insert(Arc::clone(&key), Slot { entry, weight }) {
            shard.weight -= old.weight;
        }
        shard.arrivals.push_back((key, read_at));
        while let Some((key, arrived)) = shard.arrivals.front() {
            let expired = read_at.saturating_duration_since(*arrived) >= LIFETIME;
            let full = shard.weight > self.shard_budget || shard.arrivals.len() > ENTRIES_MAX / SHARDS / self.stripes;
            if !expired && !full {
                break;
            }
            if shard.entries.get(key).is_some_and(|slot| slot.entry.read_at == *arrived)
                && let Some(old) = shard.entries.remove(key)
            {
                shard.weight -= old.weight;
            }
            shard.arrivals.pop_front();
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        // The end of a name is where names differ. A client who aims at one lock gains nothing worth having.
        let sum = key.iter().rev().take(12).fold(0_usize, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()));
        let stripe = stripe::number() % self.stripes;
        self.shards[stripe * SHARDS + sum % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cache {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 * 1024 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn entry(name: &str, size: usize, read_at: Instant) -> Arc<Entry> {
        let name = key(name);
        let identity = Identity { device: 1, inode: 1, size: size as u64, modified: 0, changed: 0 };
        let answer = Answer {
            fields: HeaderMap::new(),
            not_modified: HeaderMap::new(),
            tag: Box::default(),
            strong: true,
            modified: None,
        };
        Arc::new(Entry { name, identity, octets: Some(vec![0; size].into()), answer, read_at })
    }

    fn weight(cache: &Cache) -> (usize, usize) {
        cache.shards.iter().fold((0, 0), |(weight, count), shard| {
            let shard = shard.lock().unwrap();
            assert!(shard.arrivals.len() >= shard.entries.len());
            assert_eq!(shard.weight, shard.entries.values().map(|slot| slot.weight).sum::<usize>());
            (weight + shard.weight, count + shard.arrivals.len())
        })
    }

    fn key(name: &str) -> Name {
        Name::new(0, 0, Path::new("/"), &[name.as_bytes()]).unwrap()
    }

    #[test]
    fn entries_end_after_their_lifetime() {
        let cache = Cache::default();
        let now = Instant::now();
        let later = now + LIFETIME;
        cache.put(entry("a", 10, now));
        assert!(cache.get(key("a").key(), now).is_some());
        assert!(cache.get(key("a").key(), later).is_none());
        assert!(cache.get(key("b").key(), now).is_none());
        cache.put(entry("a", 10, later));
        assert!(cache.get(key("a").key(), later).is_some());
    }

    #[test]
    fn the_budget_holds_whatever_comes() {
        let mut cache = Cache::new(0);
        cache.shard_budget = 64 * 1024;
        let now = Instant::now();
        for number in 0..5_000_usize {
            cache.put(entry(&number.to_string(), number % 3_000, now));
            cache.put(entry("always the same", number % 60, now + Duration::from_nanos(number as u64)));
        }
        cache.put(entry("too large", 70_000, now));
        assert!(cache.get(key("too large").key(), now).is_none());
        let (octets, count) = weight(&cache);
        assert!(octets <= SHARDS * 64 * 1024 && octets > SHARDS * 16 * 1024, "{octets}");
        assert!(count <= ENTRIES_MAX / cache.stripes);
        let nothing = Cache::new(0);
        nothing.put(entry("a", 0, now));
        assert!(nothing.get(key("a").key(), now).is_none());
    }
}
