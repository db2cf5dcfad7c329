//! From the socket to hyper.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::Pace;
use super::chunk::Chunks;
use super::exchange::{Entry, Fault, OVER, PARKED, RESTING, RawTarget, UPGRADED};
use super::head::{self, Framing, Head, Scan};
use super::refusal::{self, Reason, Refusal};
use super::rest::NAP;
use super::{Edge, Phase};

/// Bytes that one read into `held` asks for.
pub(super) const FILL: usize = 16 * 1024;

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Edge<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.parked {
            this.parked = false;
            this.link.0.flags.fetch_and(!PARKED, Ordering::AcqRel);
        }
        loop {
            if !this.staged.is_empty() {
                hand_over(&mut this.staged, usize::MAX, out);
                return Poll::Ready(Ok(()));
            }
            match this.phase {
                Phase::Head => {
                    ready!(this.poll_head(cx, out))?;
                    if this.staged.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Phase::Length(left) => return this.poll_length(cx, out, left),
                Phase::Chunked(_) => return this.poll_chunked(cx, out),
                Phase::Wait => {
                    if !this.advance() {
                        return this.poll_wait(cx, out);
                    }
                }
                // The answer to the refusal is all that is left to do, and writing drives that.
                Phase::Refused => return Poll::Pending,
                Phase::Through if this.held.is_empty() => {
                    return Pin::new(&mut this.io).poll_read(cx, out);
                }
                Phase::Through => {
                    hand_over(&mut this.held, usize::MAX, out);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    /// Leaves [`Phase::Wait`] if that is due: into the next head when the exchange is over and its answer is on the
    /// wire, or to one side when the connection was upgraded.
    pub(super) fn advance(&mut self) -> bool {
        let flags = self.link.0.flags.load(Ordering::Acquire);
        if flags & UPGRADED != 0 {
            self.set_http2();
            true
        } else if flags & OVER != 0 && self.clean {
            self.phase = Phase::Head;
            self.since = None;
            self.scanned = 0;
            true
        } else {
            false
        }
    }

    /// One head, or the end of the connection. A head that hyper may read as it came, alone in the socket, is read
    /// straight into hyper's buffer and stays there; all others go through `held` and `staged`.
    fn poll_head(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() && !self.eof {
            let before = out.filled().len();
            match Pin::new(&mut self.io).poll_read(cx, out) {
                Poll::Ready(result) => result.inspect_err(|_| self.link.0.leave())?,
                Poll::Pending => {
                    self.polled = true;
                    return self.wait_for_head(cx);
                }
            }
            let fresh = &out.filled()[before..];
            if fresh.is_empty() {
                self.see_eof();
                return Poll::Ready(Ok(()));
            }
            if let Scan::Head(head) = head::scan(fresh, &self.limits)
                && head.verbatim
                && !has_bad_chunk(&head, fresh)
            {
                let body = self.begin(&head, fresh.len() - head.end, RawTarget::default());
                let fresh = &out.filled()[before..];
                self.held.extend_from_slice(&fresh[head.end + body..]);
                out.set_filled(before + head.end + body);
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(fresh);
            self.scanned = 0;
            if !self.first {
                self.since = None;
            }
            out.set_filled(before);
        }
        loop {
            // A head is scanned again only when a line has come to its end or it has doubled, so that a client that
            // sends single bytes cannot make us read a long head a thousand times.
            let fresh = &self.held[self.scanned..];
            if self.scanned == 0
                || fresh.len() >= self.scanned
                || fresh.contains(&b'\n')
                || self.held.len() >= self.limits.head
            {
                match head::scan(&self.held, &self.limits) {
                    Scan::Incomplete => self.scanned = self.held.len(),
                    Scan::Refused(reason) => {
                        self.refuse(reason);
                        return Poll::Ready(Ok(()));
                    }
                    // Whoever answers without the body never looks at it, and what an attack smuggles comes in one go.
                    Scan::Head(head) if has_bad_chunk(&head, &self.held) => {
                        self.refuse(refusal::BAD_CHUNK);
                        return Poll::Ready(Ok(()));
                    }
                    Scan::Head(head) => {
                        self.take_head(&head);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            if self.eof {
                return Poll::Ready(Ok(())); // left in mid-head
            }
            match self.poll_fill(cx, FILL) {
                Poll::Ready(result) => result?,
                Poll::Pending => return self.wait_for_head(cx),
            };
        }
    }

    fn take_head(&mut self, head: &Head) {
        let bytes = self.held.split_to(head.end);
        if self.held.is_empty() {
            // A head that came in pieces was read into a large block, which an idle connection shall not keep.
            self.held = BytesMut::new();
        }
        let raw = if head.verbatim {
            self.staged.extend_from_slice(&bytes);
            RawTarget::default()
        } else {
            head.put_canonical(&bytes, &mut self.staged)
        };
        // Of a known length, the body's first bytes follow by themselves.
        self.begin(head, 0, raw);
    }

    /// An exchange begins; returns how many of the `extra` bytes behind its head belong to it.
    pub(super) fn begin(&mut self, head: &Head, extra: usize, raw: RawTarget) -> usize {
        self.first = false;
        self.eof_kept = false;
        self.answer_from = self.bytes_out;
        self.interim_out = 0;
        self.body = Pace::default();
        self.link.0.begin(Entry::Request(raw), head.http10);
        match head.framing {
            Framing::Empty => {
                self.phase = Phase::Wait;
                0
            }
            Framing::Length(length) => {
                let here = usize::try_from(length).unwrap_or(usize::MAX).min(extra);
                self.body_came(here);
                self.phase = if here as u64 == length { Phase::Wait } else { Phase::Length(length - here as u64) };
                here
            }
            Framing::Chunked => {
                self.phase = Phase::Chunked(Chunks::new());
                0
            }
        }
    }

    /// Puts a placeholder in the place of a head, and the refusal beside it. HEAD stays HEAD, so that no body is sent to
    /// a client that does not expect one.
    fn refuse(&mut self, reason: Reason) {
        let refusal = Refusal::new(reason, &self.held);
        let method: &[u8] = if refusal.line.starts_with(b"HEAD ") { b"HEAD" } else { b"GET" };
        let http10 = refusal.line.ends_with(b" HTTP/1.0");
        self.staged.extend_from_slice(method);
        self.staged.extend_from_slice(if http10 { b" / HTTP/1.0\r\n" } else { b" / HTTP/1.1\r\n" });
        self.staged.extend_from_slice(b"host: x\r\nconnection: close\r\n\r\n");
        self.link.0.begin(Entry::Refused(Box::new(refusal)), http10);
        self.held = BytesMut::new();
        self.phase = Phase::Refused;
    }

    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let silent = self.held.iter().all(|b| matches!(b, b'\r' | b'\n'));
        let time = if silent && !self.first { self.limits.idle_time } else { self.limits.head_time };
        let since = *self.since.get_or_insert(now);
        let deadline = since + time;
        if now < deadline {
            let mut next = deadline;
            if self.held.is_empty() && !self.first && self.clean {
                if now >= since + NAP {
                    self.link.0.flags.fetch_or(RESTING, Ordering::AcqRel);
                } else {
                    next = next.min(since + NAP);
                }
            }
            self.alarm.set(cx, next, now);
            return Poll::Pending;
        }
        if silent {
            // Nothing was asked, so nothing is answered: browsers open connections in store and would take a 408 for
            // the answer to their next request.
            self.see_eof();
        } else {
            self.refuse(refusal::SLOW_HEAD);
        }
        Poll::Ready(Ok(()))
    }

    /// hyper looks for a hang-up while the exchange runs. What comes instead is kept for later.
    fn poll_wait(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while !self.eof && self.held.len() < self.limits.ahead {
            let before = out.filled().len();
            match Pin::new(&mut self.io).poll_read(cx, out) {
                Poll::Ready(result) => result.inspect_err(|_| self.lose())?,
                Poll::Pending => {
                    self.polled = true;
                    return Poll::Pending;
                }
            }
            let fresh = &out.filled()[before..];
            if fresh.is_empty() {
                self.see_eof();
            }
            self.held.extend_from_slice(fresh);
            out.set_filled(before);
        }
        if !self.eof || self.limits.half_close {
            return Poll::Pending;
        }
        if !self.eof_kept {
            // hyper would drop a service that it has not polled yet, and with it the answer to a client that sends its
            // request and half-closes in one go.
            self.eof_kept = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Looks for a hang-up when hyper does not: while an upload has no reader.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) {
        let polled = std::mem::take(&mut self.polled);
        if polled || !matches!(self.phase, Phase::Length(_) | Phase::Chunked(_) | Phase::Wait) {
            return;
        }
        while !self.eof && self.held.len() < self.limits.ahead {
            let room = (self.limits.ahead - self.held.len()).min(FILL);
            match self.poll_fill(cx, room) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.eof = true;
                    self.lose();
                }
                Poll::Pending => break,
            }
        }
        self.polled = false;
    }

    /// One read into `held`.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<()>> {
        self.held.reserve(room);
        let mut room = (&mut self.held).limit(room);
        let read = pin!(self.io.read_buf(&mut room)).poll(cx);
        match read {
            Poll::Ready(Ok(0)) => self.see_eof(),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => {
                self.link.0.leave();
                return Poll::Ready(Err(error));
            }
            Poll::Pending => {
                self.polled = true;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn see_eof(&mut self) {
        self.eof = true;
        self.link.0.leave();
    }

    pub(super) fn lose(&mut self) {
        self.link.0.fail(Fault::Gone);
        self.link.0.leave();
    }
}

/// Whether what came with a head is no chunked body.
fn has_bad_chunk(head: &Head, bytes: &[u8]) -> bool {
    head.framing == Framing::Chunked && Chunks::refuses(&bytes[head.end..])
}

/// Moves at most `max` bytes to hyper, and gives the memory back when nothing is left: idle connections keep no buffer.
pub(super) fn hand_over(from: &mut BytesMut, max: usize, out: &mut ReadBuf<'_>) {
    let n = from.len().min(max).min(out.remaining());
    out.put_slice(&from[..n]);
    if n == from.len() {
        *from = BytesMut::new();
    } else {
        let _ = from.split_to(n);
    }
}
