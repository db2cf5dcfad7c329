//! The end of a connection.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{Edge, Phase};

/// How far closing has come.
#[derive(Debug)]
pub(super) enum Shut {
    Open,
    Sent,
    Lingering { until: Instant, idle: Instant, left: u64 },
    Done,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    /// Discards what the client still sends, so that the kernel does not answer it with a reset that would overtake the
    /// answer (RFC 9112 section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        const READS_PER_POLL: usize = 32;
        let Shut::Lingering { until, mut idle, mut left } = self.shut else {
            return Poll::Ready(());
        };
        for _ in 0..READS_PER_POLL {
            let mut room = [MaybeUninit::uninit(); 16 * 1024];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.io).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() && room.filled().len() as u64 <= left => {
                    left -= room.filled().len() as u64;
                    idle = Instant::now() + self.limits.linger_idle;
                    self.shut = Shut::Lingering { until, idle, left };
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let now = Instant::now();
                    let deadline = until.min(idle);
                    if now >= deadline {
                        return Poll::Ready(());
                    }
                    self.alarm.set(cx, deadline, now);
                    return Poll::Pending;
                }
            }
            if Instant::now() >= until {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Would closing now throw away bytes that the client sent, and with them the answer?
    fn has_unread(&mut self, cx: &mut Context<'_>) -> bool {
        match self.phase {
            _ if self.eof => false,
            Phase::Through => false,
            Phase::Length(_) | Phase::Chunked(_) | Phase::Refused => true,
            Phase::Head | Phase::Wait if !self.held.is_empty() => true,
            Phase::Head | Phase::Wait => {
                let mut room = [MaybeUninit::uninit(); 1024];
                let mut room = ReadBuf::uninit(&mut room);
                let read = Pin::new(&mut self.io).poll_read(cx, &mut room);
                matches!(read, Poll::Ready(Ok(()))) && !room.filled().is_empty()
            }
        }
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.shut {
                Shut::Open => {
                    match Pin::new(&mut self.io).poll_shutdown(cx) {
                        Poll::Ready(result) => result?,
                        Poll::Pending => return self.wait_to_write(cx),
                    }
                    self.shut = Shut::Sent;
                }
                Shut::Sent => {
                    if !self.has_unread(cx) {
                        self.shut = Shut::Done;
                        continue;
                    }
                    let now = Instant::now();
                    let (until, idle) = (now + self.limits.linger_time, now + self.limits.linger_idle);
                    self.shut = Shut::Lingering { until, idle, left: self.limits.linger_bytes };
                }
                Shut::Lingering { .. } => {
                    ready!(self.poll_linger(cx));
                    self.shut = Shut::Done;
                }
                Shut::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::edge::{Fault, Limits};

    /// As a TLS stream whose client reads nothing: it takes octets, but never gets rid of them.
    struct Full;

    impl AsyncRead for Full {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Full {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_stream_holds_back_has_a_deadline_too() {
        let limits = Arc::new(Limits::default());
        for close in [false, true] {
            let (mut edge, exchanges) = Edge::new(Full, limits.clone());
            edge.write_all(b"x").await.unwrap();
            let began = Instant::now();
            let ended = if close { edge.shutdown().await } else { edge.flush().await };
            assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut), "{close}");
            assert!(began.elapsed() >= limits.write_idle && began.elapsed() < limits.write_idle * 2);
            assert_eq!(exchanges.next().exchange.fault(), Some(Fault::SlowReader));
        }
    }
}
