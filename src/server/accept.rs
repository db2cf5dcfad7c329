//! The accept loop: counts before it opens the door, and never stops.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::drain::Drain;
use super::listener::{Listener, Stream};
use super::{Current, serve};
use crate::connection::Seat;

/// How long to wait where the system has no descriptors left: something has to close first.
const REST: Duration = Duration::from_millis(50);
/// Descriptors that are not for connections: log, spawners, epoll, files being sent and scripts' pipes.
const RESERVED: u64 = 512;

/// Accepts until the server drains.
pub(super) async fn run(listener: Listener, current: Current, drain: Drain) {
    let limits = current.get().config.limits;
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    let room = usize::try_from(descriptors.saturating_sub(RESERVED.min(descriptors / 2))).unwrap_or(usize::MAX);
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, room)));
    let crowd = Arc::new(Crowd { each: limits.per_address, ..Crowd::default() });
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = drain.begun() => return,
        };
        match stream {
            Ok(stream) => {
                let address = match &stream {
                    Stream::Tcp(_, peer) => Some(peer.ip()),
                    Stream::Unix(_) => None,
                };
                // Beyond its share an address is turned away without a word: a reset costs least.
                let Some(share) = crowd.join(address) else { continue };
                let (current, drain) = (current.clone(), drain.clone());
                tokio::spawn(async move {
                    let seat = Seat::new(drain.signal(), Box::new((share, place, drain.enter())));
                    serve::connection(stream, current, drain, Arc::new(seat)).await;
                });
            }
            Err(error) => rest_after(&error).await,
        }
    }
}

/// A connection that was gone before it was accepted is nothing; anything else is over after a while.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::error!(%error, "no connection can be accepted; trying again");
        tokio::time::sleep(REST).await;
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Crowd {
    each: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in the crowd.
struct Share {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
}

impl Crowd {
    fn join(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Share> {
        if let Some(address) = address {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(address).or_default();
            if *count >= self.each {
                return None;
            }
            *count += 1;
        }
        Some(Share { crowd: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.crowd.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}
