//! The edge: what stands between the socket and hyper's HTTP/1 connection.
//!
//! hyper parses requests well, but it accepts what RFC 9112 forbids (no Host, two Hosts, bare line feeds), refuses what
//! browsers send (raw `"` and bytes above 0x7f in targets), and knows no deadlines. So the edge reads the socket first.
//! It finds where each message begins and ends, strictly, and hands hyper only heads that both understand alike, one
//! message at a time. What it does not take, hyper never sees: in its place comes a harmless request, and the
//! [`Refusal`] reaches the service in step with it.
//!
//! ```text
//! socket ─► Edge ─► TokioIo ─► hyper http1 ─► service
//!             └──── Exchanges::next() ──────────┘        raw target or refusal, hang-up, interim responses
//! ```
//!
//! Serve it with `half_close(false)` (hyper's default) and without hyper's own header timeout. Bytes are counted,
//! deadlines kept, and a connection that closes before its request was read to the end lingers, so that the answer is
//! not lost to a reset. HTTP/2 and upgraded connections pass through untouched.
//!
//! The module depends on nothing else of the crate.

mod alarm;
mod body;
mod chunk;
mod close;
mod exchange;
mod head;
mod input;
mod limits;
mod octets;
#[cfg(any(test, fuzzing))]
pub mod oracle;
mod output;
mod plain;
mod refusal;
mod rest;
mod target;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use alarm::Alarm;
use body::Pace;
use chunk::Chunks;
use close::Shut;
use exchange::Shared;
pub use exchange::{Exchange, Exchanges, Fault, Incoming, RawTarget};
pub use limits::Limits;
pub use plain::{Next, Plain};
pub use refusal::{Reason, Refusal};
pub use rest::Rest;
pub use target::check_authority;

/// What a client that knows HTTP/2 sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that one read takes while the protocol is not known.
const SNIFF: usize = 4 * 1024;

/// Which hyper connection to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1, or something that the edge will refuse.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// A socket or TLS stream with the edge in front. Wrap it in `hyper_util::rt::TokioIo`. Needs tokio's timer.
#[derive(Debug)]
pub struct Edge<IO> {
    io: IO,
    limits: Arc<Limits>,
    link: Link,
    phase: Phase,
    /// Read from the socket, not yet understood or not yet hyper's turn.
    held: BytesMut,
    /// How much of `held` the last scan for a head saw in vain.
    scanned: usize,
    /// For hyper: heads that had to be rewritten.
    staged: BytesMut,
    /// The client will send nothing more.
    eof: bool,
    /// The end was kept from hyper for one turn of this exchange.
    eof_kept: bool,
    /// No request has come yet, so idle time counts from accept as time for the head.
    first: bool,
    /// When the wait for a head, or between two, began.
    since: Option<Instant>,
    body: Pace,
    /// The socket's read waker is ours since hyper's last flush.
    polled: bool,
    parked: bool,
    waker: Option<Waker>,
    /// All that hyper wrote is on the wire and it holds nothing back; only now may something else be written.
    clean: bool,
    bytes_out: u64,
    /// `bytes_out` when the exchange began, and of those since then the ones of interim responses.
    answer_from: u64,
    interim_out: u64,
    write_since: Option<Instant>,
    shut: Shut,
    alarm: Alarm,
}

/// Where in a message the next byte stands.
#[derive(Debug)]
enum Phase {
    Head,
    Length(u64),
    Chunked(Chunks),
    /// hyper has the whole message; the exchange is not over.
    Wait,
    /// A head or body was refused: no byte is ever read as a request again.
    Refused,
    /// HTTP/2, or upgraded.
    Through,
}

/// Tells those who wait for the client to leave that the connection is no more.
#[derive(Debug)]
struct Link(Arc<Shared>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    /// Puts the edge before `io`. The clock for the first head starts now.
    pub fn new(io: IO, limits: Arc<Limits>) -> (Edge<IO>, Exchanges) {
        let shared = Arc::new(Shared::default());
        let edge = Edge {
            io,
            limits,
            link: Link(shared.clone()),
            phase: Phase::Head,
            held: BytesMut::new(),
            scanned: 0,
            staged: BytesMut::new(),
            eof: false,
            eof_kept: false,
            first: true,
            since: Some(Instant::now()),
            body: Pace::default(),
            polled: false,
            parked: false,
            waker: None,
            clean: true,
            bytes_out: 0,
            answer_from: 0,
            interim_out: 0,
            write_since: None,
            shut: Shut::Open,
            alarm: Alarm::default(),
        };
        (edge, Exchanges::new(shared))
    }

    /// Waits for the first bytes and tells HTTP/2 with prior knowledge from everything else. Silence until the header
    /// deadline is HTTP/1, whose connection then ends by itself.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn sniff(&mut self) -> io::Result<Protocol> {
        poll_fn(|cx| self.poll_sniff(cx)).await
    }

    fn poll_sniff(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        loop {
            if self.held.starts_with(PREFACE) {
                self.set_http2();
                return Poll::Ready(Ok(Protocol::Http2));
            }
            if self.eof || !PREFACE.starts_with(&self.held) {
                return Poll::Ready(Ok(Protocol::Http1));
            }
            let mut room = [MaybeUninit::uninit(); SNIFF];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.io).poll_read(cx, &mut room) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    let now = Instant::now();
                    let deadline = *self.since.get_or_insert(now) + self.limits.head_time;
                    if now >= deadline {
                        return Poll::Ready(Ok(Protocol::Http1));
                    }
                    self.alarm.set(cx, deadline, now);
                    return Poll::Pending;
                }
            }
            self.eof |= room.filled().is_empty();
            self.held.extend_from_slice(room.filled());
        }
    }

    /// Lets every byte through from now on, as for HTTP/2 chosen by ALPN.
    pub fn set_http2(&mut self) {
        self.phase = Phase::Through;
        self.alarm.clear();
    }

    /// The socket below.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The socket, and the bytes that were read from it and belong to whoever reads it next.
    pub fn into_inner(self) -> (IO, Bytes) {
        let mut rest = self.staged;
        rest.extend_from_slice(&self.held);
        (self.io, rest.freeze())
    }
}
