//! From hyper to the socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::exchange::{Fault, IDLE, INTERIM, OVER, PARKED};
use super::rest::NAP;
use super::{Edge, Phase};

/// What hyper itself writes before an answer, if anything.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Edge<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        this.clean = false;
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        this.clean = false;
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper calls this when it holds nothing back, at the end of each turn.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        // A TLS stream takes octets before the socket does, so a reader that stands still may show here alone.
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Ready(result) => result?,
            Poll::Pending => return this.wait_to_write(cx),
        }
        this.write_since = None;
        this.clean = true;
        if matches!(this.phase, Phase::Wait) && this.advance() {
            this.begin_idle(cx);
        } else if matches!(this.phase, Phase::Wait | Phase::Length(_) | Phase::Chunked(_)) {
            this.watch(cx);
            this.park(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(n)) => {
                self.write_since = None;
                self.bytes_out = self.bytes_out.wrapping_add(*n as u64);
                self.link.0.bytes_out.store(self.bytes_out, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {
                self.link.0.fail(Fault::Gone);
                self.link.0.leave();
            }
            Poll::Pending => {
                if let Poll::Ready(Err(error)) = self.wait_to_write(cx) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        written
    }

    /// The socket takes nothing now; it may do so for so long only.
    pub(super) fn wait_to_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let deadline = *self.write_since.get_or_insert(now) + self.limits.write_idle;
        if now >= deadline {
            self.link.0.fail(Fault::SlowReader);
            self.link.0.leave();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.alarm.set(cx, deadline, now);
        Poll::Pending
    }

    /// Writes interim responses, but only where a response may begin: hyper may hold the rest of the one before, and
    /// then they wait for its flush.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.clean || !self.link.0.has(INTERIM) {
            return Poll::Ready(Ok(()));
        }
        let answered = self.bytes_out - self.answer_from - self.interim_out;
        if answered != 0 && answered != CONTINUE.len() as u64 {
            // Too late: the final response has begun, and this would land in the middle of it.
            self.link.0.slot().interim.clear();
            self.link.0.flags.fetch_and(!INTERIM, Ordering::AcqRel);
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut text = std::mem::take(&mut self.link.0.slot().interim);
            while !text.is_empty() {
                let written = Pin::new(&mut self.io).poll_write(cx, &text);
                match self.wrote(cx, written) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => {
                        self.interim_out += n as u64;
                        let _ = text.split_to(n);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        let mut slot = self.link.0.slot();
                        text.extend_from_slice(&slot.interim);
                        slot.interim = text;
                        return Poll::Pending;
                    }
                }
            }
            let slot = self.link.0.slot();
            if slot.interim.is_empty() {
                self.link.0.flags.fetch_and(!INTERIM, Ordering::AcqRel);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The answer is out and nobody holds the exchange: the time between two requests begins.
    fn begin_idle(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.phase, Phase::Head) {
            return;
        }
        if !self.held.is_empty() || self.eof {
            cx.waker().wake_by_ref(); // hyper sleeps until the socket has something, but we have it already
            return;
        }
        self.link.0.flags.fetch_or(IDLE, Ordering::AcqRel);
        let now = Instant::now();
        self.since = Some(now);
        self.alarm.set(cx, now + self.limits.idle_time.min(NAP), now);
    }

    /// The task goes to sleep in mid-exchange. Whoever ends the exchange from another task must wake it.
    fn park(&mut self, cx: &mut Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.link.0.slot().waker = Some(cx.waker().clone());
        }
        if !self.parked {
            self.parked = true;
            let before = self.link.0.flags.fetch_or(PARKED, Ordering::AcqRel);
            if before & OVER != 0 && matches!(self.phase, Phase::Wait) {
                cx.waker().wake_by_ref();
            }
        }
    }
}
