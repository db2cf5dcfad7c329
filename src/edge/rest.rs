//! Between two requests: the connection without hyper, which would hold eight kilobytes for the next one.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::exchange::RESTING;
use super::{Edge, SNIFF};

/// How long a connection is silent before hyper is better taken away. Making it anew costs a microsecond.
pub(super) const NAP: Duration = Duration::from_millis(50);

/// How a rest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Bytes are here: build a hyper connection around the edge again.
    Over,
    /// The client has left, or the time between two requests is over.
    Ended,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    /// Waits for the next request of a connection that [`rests`](super::Exchanges::rests) and was taken from hyper.
    pub async fn rest(&mut self) -> Rest {
        poll_fn(|cx| self.poll_rest(cx)).await
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Rest> {
        self.link.0.flags.fetch_and(!RESTING, Ordering::AcqRel);
        if self.eof || !self.held.is_empty() {
            return Poll::Ready(if self.eof { Rest::Ended } else { Rest::Over });
        }
        let mut room = [MaybeUninit::uninit(); SNIFF];
        let mut room = ReadBuf::uninit(&mut room);
        let read: Poll<io::Result<()>> = Pin::new(&mut self.io).poll_read(cx, &mut room);
        match read {
            Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                self.held.extend_from_slice(room.filled());
                self.scanned = 0;
                // From here on it is the head's time that counts.
                self.since = None;
                Poll::Ready(Rest::Over)
            }
            Poll::Ready(_) => {
                self.see_eof();
                Poll::Ready(Rest::Ended)
            }
            Poll::Pending => {
                let now = Instant::now();
                let time = if self.first { self.limits.head_time } else { self.limits.idle_time };
                let deadline = *self.since.get_or_insert(now) + time;
                if now >= deadline {
                    return Poll::Ready(Rest::Ended);
                }
                self.alarm.set(cx, deadline, now);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::edge::Limits;

    /// One exchange over `edge`, as hyper would do it.
    async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(edge: &mut Edge<IO>, exchanges: &crate::edge::Exchanges) {
        let mut head = [0; 64];
        let n = edge.read(&mut head).await.unwrap();
        assert_eq!(&head[..n], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let exchange = exchanges.next().exchange;
        edge.write_all(b"answer").await.unwrap();
        drop(exchange);
        edge.flush().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_when_it_is_silent_and_wakes_with_its_bytes() {
        let (mut client, server) = tokio::io::duplex(1024);
        let limits = Arc::new(Limits::default());
        let (mut edge, exchanges) = Edge::new(server, limits.clone());
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            exchange(&mut edge, &exchanges).await;
            assert!(!exchanges.rests(), "not at once");
            let began = Instant::now();
            let silent = poll_fn(|cx| {
                let mut room = [0; 64];
                assert!(Pin::new(&mut edge).poll_read(cx, &mut ReadBuf::new(&mut room)).is_pending());
                if exchanges.rests() { Poll::Ready(began.elapsed()) } else { Poll::Pending }
            });
            assert!(silent.await >= NAP);
            client.write_all(b"GE").await.unwrap();
            assert_eq!(edge.rest().await, Rest::Over);
            client.write_all(b"T / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            exchange(&mut edge, &exchanges).await;
        }
        let began = Instant::now();
        assert_eq!(edge.rest().await, Rest::Ended, "the time between two requests is over");
        assert!(began.elapsed() >= limits.idle_time);
        drop(client);
        assert_eq!(edge.rest().await, Rest::Ended);
    }
}
