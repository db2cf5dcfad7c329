//! What the service knows of the connection below hyper: one [`Exchange`] per request, in order.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use super::refusal::{self, Reason, Refusal};

/// Bytes of interim responses that may wait to be written.
const INTERIM_MAX: usize = 16 * 1024;

/// The service's side of an [`Edge`](super::Edge).
#[derive(Debug, Clone)]
pub struct Exchanges {
    shared: Arc<Shared>,
}

impl Exchanges {
    pub(crate) fn new(shared: Arc<Shared>) -> Exchanges {
        Exchanges { shared }
    }

    /// What the edge knows of the request that hyper has just handed to the service. Call it exactly once per call of
    /// the service, before the first await.
    pub fn next(&self) -> Incoming {
        let entry = self.shared.slot().entry.take();
        let out_before = self.shared.bytes_out.load(Ordering::Relaxed);
        let target = match entry {
            Some(Entry::Request(raw)) => Ok(raw),
            Some(Entry::Refused(refusal)) => Err(*refusal),
            // Only a caller that breaks the rule above comes here; closing is the answer that cannot mix up two requests.
            None => Err(Refusal { reason: refusal::OUT_OF_STEP, line: Bytes::new() }),
        };
        Incoming { target, exchange: Exchange { shared: self.shared.clone(), out_before } }
    }
}

impl Exchanges {
    /// Whether the connection is silent between two requests, so that hyper holds nothing worth keeping: it may be
    /// dropped, and the edge taken out of it to [`rest`](super::Edge::rest). Ask right after hyper was polled.
    pub fn rests(&self) -> bool {
        self.shared.has(RESTING)
    }

    /// The same without the silence: the last exchange is over, and nothing of the next has come.
    pub fn idles(&self) -> bool {
        self.shared.has(IDLE)
    }
}

/// One request as the edge saw it.
#[derive(Debug)]
pub struct Incoming {
    /// The target as the client wrote it; or why there is no request, and then hyper's request is a placeholder that
    /// must be answered with this refusal and means nothing.
    pub target: Result<RawTarget, Refusal>,
    /// The life of the exchange.
    pub exchange: Exchange,
}

/// The origin form of a request target, byte for byte as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawTarget {
    raw: Option<Bytes>,
    other_form: Option<Bytes>,
}

impl RawTarget {
    pub(crate) fn new(raw: Option<Bytes>, other_form: Option<Bytes>) -> Self {
        Self { raw, other_form }
    }

    /// The whole target as sent, where it was not in origin form: with scheme and host, or without its first slash.
    pub fn other_form(&self) -> Option<&Bytes> {
        self.other_form.as_ref()
    }

    /// The bytes as sent if they differ from hyper's `Uri` (which then holds a percent-encoded twin); `None` if the
    /// `Uri` is exact.
    pub fn differs(&self) -> Option<&Bytes> {
        self.raw.as_ref()
    }

    /// The bytes as sent; `uri` is hyper's.
    pub fn bytes<'a>(&'a self, uri: &'a http::Uri) -> &'a [u8] {
        match &self.raw {
            Some(raw) => raw,
            None => uri.path_and_query().map_or(b"/", |path| path.as_str().as_bytes()),
        }
    }
}

/// Why a request body did not come to its end, or the answer not to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The client closed or half-closed the connection, or it broke.
    Gone = 1,
    /// The body came slower than the limits allow.
    SlowBody = 2,
    /// The body's chunks are malformed.
    BadChunk = 3,
    /// The client took no byte of the answer for too long.
    SlowReader = 4,
}

impl Fault {
    /// Status, slug and text that fit.
    pub fn reason(self) -> Reason {
        match self {
            Fault::Gone => refusal::CLIENT_GONE,
            Fault::SlowBody => refusal::SLOW_BODY,
            Fault::BadChunk => refusal::BAD_CHUNK,
            Fault::SlowReader => refusal::SLOW_READER,
        }
    }

    fn from_u8(n: u8) -> Option<Fault> {
        [Fault::Gone, Fault::SlowBody, Fault::BadChunk, Fault::SlowReader].into_iter().find(|fault| *fault as u8 == n)
    }
}

/// One exchange. While it lives, the edge lets no further request of the connection through: keep it until the last
/// byte of the answer has been handed to hyper (in the response body, so that the body's drop ends it), and no longer.
#[derive(Debug)]
#[must_use = "dropping it ends the exchange"]
pub struct Exchange {
    shared: Arc<Shared>,
    out_before: u64,
}

impl Exchange {
    /// Resolves when the client has closed or half-closed the connection, or it broke. hyper drops the service's
    /// future by itself while it waits for an answer; this is for the times when it does not look: an upload that nobody
    /// reads, and answers made elsewhere.
    pub async fn gone(&self) {
        let notified = self.shared.left.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_gone() {
            notified.await;
        }
    }

    /// Has the client closed or half-closed the connection?
    pub fn is_gone(&self) -> bool {
        self.shared.has(GONE)
    }

    /// What went wrong below hyper, if anything did.
    pub fn fault(&self) -> Option<Fault> {
        Fault::from_u8(self.shared.fault.load(Ordering::Acquire))
    }

    /// Sends an interim response (103 Early Hints) before the final one. Returns whether it will be sent: not to an
    /// HTTP/1.0 client, which would take it for the answer, not for 100 and 101, which are hyper's business and
    /// [`upgraded`](Exchange::upgraded)'s, and not beyond 16 KiB that wait. Call it before the service returns.
    pub fn interim(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        if !(102..200).contains(&status.as_u16()) || self.shared.has(HTTP10) {
            return false;
        }
        let mut slot = self.shared.slot();
        let mut text = BytesMut::with_capacity(256);
        text.extend_from_slice(b"HTTP/1.1 ");
        text.extend_from_slice(status.as_str().as_bytes());
        text.extend_from_slice(b" ");
        text.extend_from_slice(status.canonical_reason().unwrap_or("Interim").as_bytes());
        text.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        if slot.interim.len() + text.len() > INTERIM_MAX {
            return false;
        }
        slot.interim.extend_from_slice(&text);
        let waker = slot.waker.clone();
        drop(slot);
        self.shared.flags.fetch_or(INTERIM, Ordering::AcqRel);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The answer is 101: from now on the edge hands every byte through, in both directions, and knows no deadlines but
    /// the one for writing. Call it before returning the answer.
    pub fn upgraded(&self) {
        self.shared.flags.fetch_or(UPGRADED, Ordering::AcqRel);
    }

    /// Bytes of the request body that hyper has been given.
    pub fn bytes_in(&self) -> u64 {
        self.shared.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes that the socket has taken since the exchange began, heads included. What hyper still holds is not in it.
    pub fn bytes_out(&self) -> u64 {
        self.shared.bytes_out.load(Ordering::Relaxed).wrapping_sub(self.out_before)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let before = self.shared.flags.fetch_or(OVER, Ordering::AcqRel);
        if before & PARKED != 0 {
            let waker = self.shared.slot().waker.clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The exchange is over.
pub(crate) const OVER: u32 = 1;
/// The connection's task sleeps and must be woken when the exchange is over. Not set while hyper runs, so that the usual
/// end of an exchange, inside hyper, wakes nobody.
pub(crate) const PARKED: u32 = 2;
/// The answer is 101.
pub(crate) const UPGRADED: u32 = 4;
/// The client has left.
pub(crate) const GONE: u32 = 8;
/// Interim responses wait.
pub(crate) const INTERIM: u32 = 16;
/// The request was HTTP/1.0.
pub(crate) const HTTP10: u32 = 32;
/// Nothing is in flight in any direction, and has not been for a while.
pub(crate) const RESTING: u32 = 64;
/// Nothing is in flight in any direction.
pub(crate) const IDLE: u32 = 128;

#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) flags: AtomicU32,
    pub(crate) fault: AtomicU8,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    slot: Mutex<Slot>,
    left: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The one request that hyper has been given and the service not yet asked for.
    pub(crate) entry: Option<Entry>,
    pub(crate) interim: BytesMut,
    pub(crate) waker: Option<Waker>,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Request(RawTarget),
    Refused(Box<Refusal>),
}

impl Shared {
    pub(crate) fn slot(&self) -> MutexGuard<'_, Slot> {
        // No code that can panic runs under this lock, and each field is valid by itself.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// A new exchange begins. Nobody else writes flags now: the last exchange is over.
    pub(crate) fn begin(&self, entry: Entry, http10: bool) {
        self.slot().entry = Some(entry);
        self.bytes_in.store(0, Ordering::Relaxed);
        let gone = self.flags.load(Ordering::Acquire) & GONE;
        self.flags.store(gone | if http10 { HTTP10 } else { 0 }, Ordering::Release);
    }

    /// Notes the first thing that went wrong.
    pub(crate) fn fail(&self, fault: Fault) {
        let _ = self.fault.compare_exchange(0, fault as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn leave(&self) {
        self.flags.fetch_or(GONE, Ordering::AcqRel);
        self.left.notify_waiters();
    }
}
