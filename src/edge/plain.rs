//! Requests that need nothing of hyper: GET of HTTP/1.1 without a body, as most are. Whoever can answer one at once reads
//! its head from here and writes the answer to the edge; everything else goes hyper's way, with not a byte missing.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::exchange::{OVER, RawTarget};
use super::head::{self, Framing, Head, Scan};
use super::rest::NAP;
use super::{Edge, Phase, SNIFF};

/// What comes next on a connection between two exchanges.
#[derive(Debug)]
pub enum Next {
    /// A whole head: see [`Edge::accept`] and [`Edge::decline`].
    Plain(Plain),
    /// Something for hyper.
    Other,
    /// Nothing for a while: the connection may [`rest`](Edge::rest).
    Silent,
    /// The client has left.
    Ended,
}

/// The head of a plain request, found correct.
#[derive(Debug)]
pub struct Plain {
    bytes: Bytes,
    head: Head,
}

impl Plain {
    /// All of it, its empty line included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its target, in origin form.
    pub fn target(&self) -> Bytes {
        self.bytes.slice(self.head.target_range())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Edge<IO> {
    /// What comes next. Call it between two exchanges only.
    pub async fn next(&mut self) -> Next {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if !matches!(self.phase, Phase::Head) || !self.staged.is_empty() {
            return Poll::Ready(Next::Other);
        }
        if !self.held.is_empty() {
            return Poll::Ready(match head::scan(&self.held, &self.limits) {
                Scan::Head(head) if is_plain(&self.held, &head) => {
                    let bytes = self.held.split_to(head.end).freeze();
                    if self.held.is_empty() {
                        self.held = BytesMut::new();
                    }
                    Next::Plain(Plain { bytes, head })
                }
                _ => Next::Other,
            });
        }
        if self.eof {
            return Poll::Ready(Next::Ended);
        }
        let mut room = [MaybeUninit::uninit(); SNIFF];
        let mut room = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.io).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) if !room.filled().is_empty() => {}
            Poll::Ready(_) => {
                self.see_eof();
                return Poll::Ready(Next::Ended);
            }
            Poll::Pending => return self.poll_silence(cx),
        }
        let fresh = room.filled();
        // From here on it is the head's time that counts.
        if !self.first {
            self.since = None;
        }
        Poll::Ready(match head::scan(fresh, &self.limits) {
            Scan::Head(head) if is_plain(fresh, &head) => {
                let bytes = Bytes::copy_from_slice(&fresh[..head.end]);
                self.held.extend_from_slice(&fresh[head.end..]);
                Next::Plain(Plain { bytes, head })
            }
            _ => {
                self.held.extend_from_slice(fresh);
                self.scanned = 0;
                Next::Other
            }
        })
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let deadline = since + NAP;
        if now >= deadline {
            return Poll::Ready(Next::Silent);
        }
        self.alarm.set(cx, deadline, now);
        Poll::Pending
    }

    /// The exchange for a plain request begins: ask [`Exchanges::next`](super::Exchanges::next) for it. While it lives
    /// nothing more is read.
    pub fn accept(&mut self, plain: &Plain) {
        self.begin(&plain.head, 0, RawTarget::default());
    }

    /// Whoever took the request cannot answer it: hyper shall. Whether it was accepted before makes no difference to
    /// what hyper reads; the service is not to ask for the exchange a second time then.
    pub fn decline(&mut self, plain: Plain) {
        if matches!(self.phase, Phase::Head) {
            let mut held = BytesMut::from(plain.bytes);
            held.extend_from_slice(&self.held);
            self.held = held;
            self.scanned = 0;
        } else {
            self.staged.extend_from_slice(&plain.bytes);
        }
    }

    /// Writes the answer to a request that was accepted: all of `head`, then all of `body`.
    ///
    /// # Errors
    /// Those of the socket, and that the client takes nothing for too long.
    pub async fn reply(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let (whole, mut done) = (head.len() + body.len(), 0);
        poll_fn(|cx| {
            while done < whole {
                let written = if done >= head.len() {
                    Pin::new(&mut *self).poll_write(cx, &body[done - head.len()..])
                } else if body.is_empty() {
                    Pin::new(&mut *self).poll_write(cx, &head[done..])
                } else {
                    Pin::new(&mut *self).poll_write_vectored(cx, &[IoSlice::new(&head[done..]), IoSlice::new(body)])
                };
                match ready!(written)? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => done += n,
                }
            }
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => self.wait_to_write(cx),
            }
        })
        .await?;
        self.write_since = None;
        self.clean = true;
        Ok(())
    }

    /// The answer is written and its exchange has been dropped: the next request may come. False if somebody still
    /// holds it.
    pub fn finish(&mut self) -> bool {
        self.link.0.has(OVER) && self.advance()
    }
}

fn is_plain(bytes: &[u8], head: &Head) -> bool {
    head.verbatim && !head.http10 && head.framing == Framing::Empty && bytes.starts_with(b"GET /")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::edge::Limits;

    const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn plain_requests_are_answered_in_order_and_silence_is_told() {
        let (mut client, server) = tokio::io::duplex(4096);
        let (mut edge, exchanges) = Edge::new(server, Arc::new(Limits::default()));
        client.write_all(&GET.repeat(3)).await.unwrap();
        for n in 0..3u8 {
            let Next::Plain(plain) = edge.next().await else { panic!("a plain request") };
            assert_eq!((&plain.bytes()[..], &plain.target()[..]), (GET, &b"/a?b"[..]));
            edge.accept(&plain);
            let exchange = exchanges.next().exchange;
            edge.reply(&[b'0' + n], b"body").await.unwrap();
            assert!(!edge.finish(), "the exchange is not over");
            drop(exchange);
            assert!(edge.finish());
        }
        let mut answers = [0; 15];
        client.read_exact(&mut answers).await.unwrap();
        assert_eq!(&answers, b"0body1body2body");
        assert!(matches!(edge.next().await, Next::Silent));
        drop(client);
        assert!(matches!(edge.next().await, Next::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_declined_reaches_hyper_whole() {
        for accepted in [false, true] {
            let (mut client, server) = tokio::io::duplex(4096);
            let (mut edge, exchanges) = Edge::new(server, Arc::new(Limits::default()));
            client.write_all(&GET.repeat(2)).await.unwrap();
            let Next::Plain(plain) = edge.next().await else { panic!("a plain request") };
            let exchange = accepted.then(|| {
                edge.accept(&plain);
                exchanges.next().exchange
            });
            edge.decline(plain);
            let mut head = vec![0; GET.len()];
            edge.read_exact(&mut head).await.unwrap();
            assert_eq!(head, GET, "{accepted}");
            drop(exchange.unwrap_or_else(|| exchanges.next().exchange));
            edge.write_all(b"answer").await.unwrap();
            edge.flush().await.unwrap();
            edge.read_exact(&mut head).await.unwrap();
            assert_eq!(head, GET, "the next one follows");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_else_is_hypers() {
        for other in [
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /\" HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HT",
            "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            let (mut client, server) = tokio::io::duplex(4096);
            let (mut edge, _) = Edge::new(server, Arc::new(Limits::default()));
            client.write_all(other.as_bytes()).await.unwrap();
            assert!(matches!(edge.next().await, Next::Other), "{other}");
            assert_eq!(edge.held, other.as_bytes());
        }
        let (client, server) = tokio::io::duplex(4096);
        let (mut edge, _) = Edge::new(server, Arc::new(Limits::default()));
        let began = Instant::now();
        assert!(matches!(edge.next().await, Next::Silent));
        assert_eq!(edge.rest().await, crate::edge::Rest::Ended, "nothing ever comes");
        assert_eq!(began.elapsed(), Limits::default().head_time);
        drop(client);
    }
}
