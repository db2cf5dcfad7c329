//! The accept loop: counts before it opens the door, and never stops.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listener::{Accepted, Listener};
use super::serve::{self, Common};
use super::workers::Workers;
use crate::config::ServerLimits;
use crate::connection::Seat;

/// How long to wait where the system has no descriptors left: something has to close first.
const REST: Duration = Duration::from_millis(50);
/// Descriptors that are neither for connections nor for scripts: log, spawners, epoll, files being sent.
const RESERVED: u64 = 256;
/// Descriptors of a running script: its three pipes.
const OF_A_SCRIPT: u64 = 3;

/// Who may come in, over all listeners.
#[derive(Clone)]
pub(super) struct Doorman {
    places: Arc<Semaphore>,
    crowd: Arc<Crowd>,
}

impl Doorman {
    /// As many as `limits` say, but no more than there are descriptors for beside those of `scripts` at once. Each
    /// listener keeps one place ready.
    pub(super) fn new(limits: ServerLimits, scripts: usize, listeners: usize) -> Self {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        let room = room(limits.connections, scripts, descriptors);
        if room < limits.connections {
            tracing::warn!(
                "limits.connections is {}, but the limit on descriptors (ulimit -n) leaves room for {room}",
                limits.connections
            );
        }
        let places = Arc::new(Semaphore::new(room.max(listeners)));
        Self { places, crowd: Arc::default() }
    }

    /// A place, waiting for one if need be; the connection that has been idle for longest is asked to go then.
    async fn place(&self, common: &Common) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        common.make_room.notify_one();
        self.places.clone().acquire_owned().await.ok()
    }
}

/// Where there are few descriptors in all, half of them are for connections.
fn room(connections: usize, scripts: usize, descriptors: u64) -> usize {
    let scripts = OF_A_SCRIPT.saturating_mul(scripts.try_into().unwrap_or(u64::MAX));
    let room = descriptors - RESERVED.saturating_add(scripts).min(descriptors / 2);
    connections.clamp(1, usize::try_from(room).unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS))
}

/// Accepts until the server drains.
pub(super) async fn run(listener: Listener, doorman: Doorman, common: Arc<Common>, workers: Workers) {
    let drains = common.drain.begun();
    tokio::pin!(drains);
    loop {
        let next = async { (doorman.place(&common).await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = drains.as_mut() => return,
        };
        match accepted {
            Ok(accepted) => {
                let address = match &accepted {
                    Accepted::Tcp(_, peer) => Some(peer.ip().to_canonical()),
                    Accepted::Unix(_) | Accepted::Rehearsed(..) => None,
                };
                let most = common.current.get().config.limits.per_address;
                // Beyond its share an address is turned away without a word: closing costs least.
                let Some(share) = doorman.crowd.join(address, most) else { continue };
                let common = common.clone();
                let (worker, desk) = workers.least();
                worker.spawn(async move {
                    let held = Box::new((share, place, desk, common.drain.enter()));
                    let seat = Arc::new(Seat::new(common.drain.signal(), held));
                    serve::connection(accepted, common, seat).await;
                });
            }
            Err(error) => rest_after(&error, &common).await,
        }
    }
}

/// A connection that was gone before it was accepted is nothing; anything else is over after a while.
async fn rest_after(error: &io::Error, common: &Common) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::error!(%error, "no connection can be accepted; trying again");
        common.make_room.notify_one();
        tokio::time::sleep(REST).await;
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place in the crowd.
struct Share {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
}

impl Crowd {
    fn join(self: &Arc<Self>, address: Option<IpAddr>, most: usize) -> Option<Share> {
        if let Some(address) = address {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.get(&address).copied().unwrap_or_default();
            if count >= most {
                return None;
            }
            open.insert(address, count + 1);
        }
        Some(Share { crowd: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share() {
        let crowd = Arc::new(Crowd::default());
        let address = Some("192.0.2.1".parse().unwrap());
        let shares: Vec<_> = (0..2).map(|_| crowd.join(address, 2).unwrap()).collect();
        assert!(crowd.join(address, 2).is_none());
        assert!(crowd.join(None, 0).is_some(), "a Unix socket has no address");
        drop(shares);
        assert!(crowd.join(address, 0).is_none());
        assert!(crowd.0.lock().unwrap().is_empty(), "nothing is remembered of those who left");
        assert!(crowd.join(address, 1).is_some());
    }

    #[test]
    fn connections_fit_the_descriptors() {
        assert_eq!(room(10_000, 32, 1 << 20), 10_000);
        assert_eq!(room(10_000, 32, 1024), 1024 - 256 - 96);
        assert_eq!(room(10_000, 1000, 1024), 512);
        assert_eq!(room(10_000, 32, 20), 10);
        assert_eq!(room(0, 0, 1 << 20), 1);
        assert_eq!(room(usize::MAX, usize::MAX, u64::MAX), Semaphore::MAX_PERMITS);
    }
}
