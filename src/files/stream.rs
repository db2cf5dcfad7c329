//! Sending pieces of an open file.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::task::JoinHandle;

use super::buffers::{Buffer, Buffers};
use super::open::{read_cached, read_waiting};
use super::range::Span;
use super::source::OnDisk;
use super::tree::Tree;
use crate::body::Stream;

/// What is sent next.
#[derive(Debug)]
pub(super) enum Piece {
    /// Octets of our own: the head of a part.
    Text(Bytes),
    /// Octets of the file.
    File(Span),
}

/// Pieces of one file, a buffer at a time. What the page cache holds is read on the spot; for the rest a thread waits.
///
/// A file that became shorter ends in an error: the length was promised, and made-up octets would be a lie.
pub(super) struct FileStream {
    file: Arc<OwnedFd>,
    /// Whether the page cache may be asked on the spot.
    local: bool,
    buffers: Arc<Buffers>,
    pieces: VecDeque<Piece>,
    reading: Option<JoinHandle<Result<(Buffer, usize), Errno>>>,
}

impl FileStream {
    pub(super) fn new(file: &OnDisk, tree: &Tree, pieces: Vec<Piece>) -> Self {
        let buffers = Arc::clone(&tree.cache.buffers);
        Self { file: Arc::clone(&file.file), local: file.local, buffers, pieces: pieces.into(), reading: None }
    }

    fn read_span(&mut self, context: &mut Context<'_>, span: Span) -> Poll<Result<(Buffer, usize), Errno>> {
        if self.reading.is_none() {
            let mut buffer = self.buffers.take();
            match self.local.then(|| read_cached(&*self.file, buffer.room(span.length), span.start)) {
                None | Some(Err(Errno::AGAIN)) => {}
                Some(result) => return Poll::Ready(result.map(|count| (buffer, count))),
            }
            let file = Arc::clone(&self.file);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let count = read_waiting(&*file, buffer.room(span.length), span.start)?;
                Ok((buffer, count))
            }));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(Err(Errno::CANCELED)) };
        let result = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        Poll::Ready(result.unwrap_or(Err(Errno::CANCELED)))
    }
}

impl Stream for FileStream {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = &mut *self;
        let span = match this.pieces.pop_front() {
            None => return Poll::Ready(None),
            Some(Piece::Text(text)) => return Poll::Ready(Some(Ok(text))),
            Some(Piece::File(span)) => span,
        };
        let read = this.read_span(context, span);
        if read.is_pending() {
            this.pieces.push_front(Piece::File(span));
        }
        let (buffer, count) = match ready!(read) {
            Ok((_, 0)) => {
                this.pieces.clear();
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent");
                return Poll::Ready(Some(Err(error)));
            }
            Ok(read) => read,
            Err(error) => {
                this.pieces.clear();
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        let sent = count as u64;
        if sent < span.length {
            this.pieces.push_front(Piece::File(Span { start: span.start + sent, length: span.length - sent }));
        }
        Poll::Ready(Some(Ok(buffer.into_bytes(count))))
    }
}

impl Piece {
    /// Octets.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(span) => span.length,
        }
    }
}
