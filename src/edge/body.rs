//! Request bodies on their way to hyper, and how fast they must come.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::chunk::Piece;
use super::exchange::Fault;
use super::input::{FILL, hand_over};
use super::{Edge, Phase};

/// Bytes that the frame of one chunk takes at most, in hyper's buffer: sixteen digits and two line ends.
const CHUNK_FRAME: usize = 20;

/// How fast a body comes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How long the server has waited for the bytes that came.
    waited: Duration,
    /// Since when it waits for the next.
    since: Option<Instant>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    pub(super) fn poll_length(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        if !self.held.is_empty() {
            hand_over(&mut self.held, usize::try_from(left).unwrap_or(usize::MAX), out);
        } else if !self.eof {
            match Pin::new(&mut (&mut self.io).take(left)).poll_read(cx, out) {
                Poll::Ready(result) => result.inspect_err(|_| self.lose())?,
                Poll::Pending => {
                    self.polled = true;
                    return self.wait_for_body(cx);
                }
            }
        }
        let came = out.filled().len() - before;
        if came == 0 {
            self.see_eof();
            self.lose();
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.body_came(came);
        self.phase = match left - came as u64 {
            0 => Phase::Wait,
            left => Phase::Length(left),
        };
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_chunked(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        loop {
            let Phase::Chunked(chunks) = &mut self.phase else {
                return Poll::Ready(Ok(()));
            };
            let (eaten, piece) = match chunks.advance(&self.held) {
                Ok(found) => found,
                Err(reason) => {
                    self.link.0.fail(Fault::BadChunk);
                    self.phase = Phase::Refused;
                    self.held = BytesMut::new();
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason.text)));
                }
            };
            let _ = self.held.split_to(eaten);
            match piece {
                Piece::Data(here) => {
                    let here = here.min(out.remaining().saturating_sub(CHUNK_FRAME));
                    if here == 0 {
                        return self.full(out.filled().len() > before);
                    }
                    out.put_slice(format_size(here, &mut [0; 18]));
                    out.put_slice(&self.held[..here]);
                    out.put_slice(b"\r\n");
                    chunks.took(here);
                    let _ = self.held.split_to(here);
                    self.body_came(here);
                }
                Piece::End => {
                    if out.remaining() < 5 {
                        return self.full(out.filled().len() > before);
                    }
                    out.put_slice(b"0\r\n\r\n");
                    self.phase = Phase::Wait;
                    return Poll::Ready(Ok(()));
                }
                Piece::More if out.filled().len() > before => return Poll::Ready(Ok(())),
                Piece::More if self.eof => {
                    self.lose();
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Piece::More => match self.poll_fill(cx, FILL) {
                    Poll::Ready(result) => result.inspect_err(|_| self.lose())?,
                    Poll::Pending => return self.wait_for_body(cx),
                },
            }
        }
    }

    /// hyper's buffer has no room for a frame. hyper asks with kilobytes of room, so nothing ever comes of this but an
    /// error instead of an endless loop.
    fn full(&mut self, something: bool) -> Poll<io::Result<()>> {
        Poll::Ready(if something { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) })
    }

    pub(super) fn body_came(&mut self, n: usize) {
        let before = self.link.0.bytes_in.load(Ordering::Relaxed); // nobody else writes it
        self.link.0.bytes_in.store(before.saturating_add(n as u64), Ordering::Relaxed);
        if let Some(since) = self.body.since.take() {
            self.body.waited += since.elapsed();
        }
    }

    pub(super) fn wait_for_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let since = *self.body.since.get_or_insert(now);
        let came = self.link.0.bytes_in.load(Ordering::Relaxed);
        let paid_for = Duration::from_secs(came / u64::from(self.limits.body_rate.max(1)));
        let by_rate = paid_for.max(self.limits.body_rate_after).saturating_sub(self.body.waited);
        let deadline = since + by_rate.min(self.limits.body_idle);
        if now < deadline {
            self.alarm.set(cx, deadline, now);
            return Poll::Pending;
        }
        self.link.0.fail(Fault::SlowBody);
        self.phase = Phase::Refused;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// `n` in hexadecimal and a line end.
fn format_size(n: usize, buffer: &mut [u8; 18]) -> &[u8] {
    let mut at = 16;
    buffer[16..].copy_from_slice(b"\r\n");
    let mut rest = n;
    loop {
        at -= 1;
        buffer[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 || at == 0 {
            return &buffer[at..];
        }
    }
}
