//! The two pipes of a script that converses, with small buffers: there is a pair for each visitor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::unix::AsyncFd;

use super::framing::{Data, Framed, Framing};
use crate::sys;

/// How much waits to be written to a script before its client is read no further, octets.
const WAITING: usize = 16 << 10;
/// From how many octets on a message is not copied to those that wait.
const LARGE: usize = 8 << 10;
/// How much is read from a script at once, octets: at first, and once it has shown that it writes much.
const CHUNK: usize = 2 << 10;
const LONG_CHUNK: usize = 64 << 10;

/// What a script reads.
pub(super) struct Input {
    /// `None`: the script has closed its end; what comes for it is thrown away.
    pipe: Option<AsyncFd<OwnedFd>>,
    small: BytesMut,
    /// One large message that goes behind `small`, and what goes behind it.
    large: Bytes,
    behind: BytesMut,
}

impl Input {
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: Some(sys::watch(pipe)?), small: BytesMut::new(), large: Bytes::new(), behind: BytesMut::new() })
    }

    /// Whether another message may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.small.len() < WAITING
    }

    /// Takes a message up. Whoever cannot wait for room must bound what it pushes.
    pub(super) fn push(&mut self, framing: Framing, data: Data) {
        if self.pipe.is_none() {
            return;
        }
        match framing.to_script(&data) {
            Framed::Whole(text) => self.append(Bytes::new(), text.into(), b""),
            Framed::Around(front, behind) => self.append(front, data.octets, behind),
        }
    }

    fn append(&mut self, front: Bytes, octets: Bytes, behind: &'static [u8]) {
        let last = if self.large.is_empty() { &mut self.small } else { &mut self.behind };
        last.extend_from_slice(&front);
        if octets.len() >= LARGE && self.large.is_empty() {
            self.large = octets;
            self.behind.extend_from_slice(behind);
        } else {
            last.extend_from_slice(&octets);
            last.extend_from_slice(behind);
        }
    }

    /// Writes all that waits. Whether anything was taken is told in `taken`, also where something remains.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, taken: &mut bool) -> Poll<()> {
        loop {
            let waiting: &[u8] = if self.small.is_empty() { &self.large } else { &self.small };
            let Some(pipe) = self.pipe.as_ref().filter(|_| !waiting.is_empty()) else { return Poll::Ready(()) };
            let written = match ready!(pipe.poll_write_ready(cx)) {
                Ok(mut guard) => guard.try_io(|fd| Ok(rustix::io::write(fd, waiting)?)),
                Err(error) => Ok(Err(error)),
            };
            match written {
                Ok(Ok(n)) => {
                    *taken = true;
                    self.advance(n);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_closed)) => self.close(),
                Err(_would_block) => {}
            }
        }
    }

    fn advance(&mut self, n: usize) {
        if !self.small.is_empty() {
            self.small.advance(n);
            return;
        }
        self.large.advance(n);
        if self.large.is_empty() {
            self.large = Bytes::new();
            self.small = std::mem::take(&mut self.behind);
        }
    }

    /// Writes what waits, then the end.
    pub(super) async fn finish(&mut self) {
        std::future::poll_fn(|cx| self.poll_write(cx, &mut false)).await;
        self.close();
    }

    /// The end of the script's input.
    fn close(&mut self) {
        self.pipe = None;
        self.small = BytesMut::new();
        self.large = Bytes::new();
        self.behind = BytesMut::new();
    }
}

/// What a script writes.
pub(super) struct Output {
    pipe: AsyncFd<OwnedFd>,
    /// Read, and not yet understood.
    pub(super) buffer: BytesMut,
    chunk: usize,
    /// Whether `buffer` has become large.
    grown: bool,
    /// Whether more may come.
    pub(super) open: bool,
}

impl Output {
    /// # Errors
    /// Out of descriptors.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: sys::watch(pipe)?, buffer: BytesMut::new(), chunk: CHUNK, grown: false, open: true })
    }

    /// Reads what is there into `buffer`, but no more than a long chunk; at the end `open` turns false.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let before = self.buffer.len();
        loop {
            let mut guard = match self.pipe.poll_read_ready(cx) {
                Poll::Ready(Ok(guard)) => guard,
                Poll::Ready(Err(_)) => {
                    self.open = false;
                    return Poll::Ready(());
                }
                Poll::Pending if self.buffer.len() > before => return Poll::Ready(()),
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
            };
            if self.buffer.capacity() - self.buffer.len() < self.chunk / 2 {
                self.buffer.reserve(self.chunk);
            }
            let room = self.buffer.capacity() - self.buffer.len();
            match guard.try_io(|fd| sys::read_into(fd.as_fd(), &mut self.buffer)) {
                Ok(Ok(n)) => {
                    self.open = n > 0;
                    self.grown |= self.buffer.len() > LONG_CHUNK;
                    if n == room {
                        // What was written at once is to be one message where octets go out as they come.
                        self.chunk = LONG_CHUNK;
                        if self.buffer.len() - before < LONG_CHUNK {
                            continue;
                        }
                    } else if n > 0 {
                        // The pipe is empty now. Saying so spares the read that would find out; what comes in
                        // between is a new event with a new tick, which this does not clear.
                        guard.clear_ready();
                        self.chunk = CHUNK;
                    }
                    return Poll::Ready(());
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => {
                    self.open = false;
                    return Poll::Ready(());
                }
                Err(_would_block) => {}
            }
        }
    }

    /// Keeps no more memory than there is to keep: most scripts are silent most of the time.
    fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if self.grown && self.buffer.len() < CHUNK {
            self.buffer = BytesMut::from(&self.buffer[..]);
        } else {
            return;
        }
        self.grown = false;
    }

    /// Reads and forgets, to the end.
    pub(super) async fn drain(&mut self) {
        while self.open {
            self.buffer.clear();
            std::future::poll_fn(|cx| self.poll_more(cx)).await;
        }
    }
}
