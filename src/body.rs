//! The bodies of requests and of answers.

mod remainder;
mod source;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

pub use remainder::Remainder;
pub use source::{Patience, Source};

/// A stream of octets that somebody else makes: a file, a script's output.
///
/// Dropping it must end whatever makes the octets. An error aborts the connection (HTTP/1) or resets the stream
/// (HTTP/2), so that the client can tell a broken answer from a short one.
pub trait Stream: Send {
    /// The next piece, `None` at the end.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
}

/// What is sent behind the header of an answer.
pub struct Body {
    content: Content,
    on_end: Option<Box<dyn Watcher>>,
}

enum Content {
    Empty,
    Whole(Bytes),
    Stream {
        stream: Pin<Box<dyn Stream>>,
        length: Option<u64>,
    },
    /// A stream that broke, one turn before the connection is told: hyper throws away what it has not written yet when
    /// a body fails, and the head of a short answer with it.
    Broken(io::Error),
}

/// Told what becomes of a body; its `Drop` means that nothing more will come.
pub trait Watcher: Send {
    /// `length` octets were handed to the connection.
    fn sent(&mut self, length: usize);
    /// The body ended as it should.
    fn complete(&mut self);
    /// The body broke off.
    fn broken(&mut self, error: &io::Error);
}

impl Body {
    /// No octets at all.
    pub const fn empty() -> Self {
        Self { content: Content::Empty, on_end: None }
    }

    /// Octets that are in memory already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let content = if bytes.is_empty() { Content::Empty } else { Content::Whole(bytes) };
        Self { content, on_end: None }
    }

    /// Octets that are made while they are sent; `length` where it is known in advance.
    pub fn stream(stream: impl Stream + 'static, length: Option<u64>) -> Self {
        Self { content: Content::Stream { stream: Box::pin(stream), length }, on_end: None }
    }

    /// The number of octets, where known.
    pub fn length(&self) -> Option<u64> {
        match &self.content {
            Content::Empty => Some(0),
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Stream { length, .. } => *length,
            Content::Broken(_) => None,
        }
    }

    /// Whether all of it is in memory.
    pub fn is_whole(&self) -> bool {
        matches!(self.content, Content::Empty | Content::Whole(_))
    }

    /// The octets of a body that is [whole](Self::is_whole), and who watches it; none of another's.
    pub fn into_whole(self) -> (Bytes, Option<Box<dyn Watcher>>) {
        let octets = if let Content::Whole(octets) = self.content { octets } else { Bytes::new() };
        (octets, self.on_end)
    }

    /// The same body with somebody watching it.
    pub fn watched(mut self, watcher: Box<dyn Watcher>) -> Self {
        self.on_end = Some(watcher);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let next = match &mut this.content {
            Content::Empty => None,
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Empty;
                Some(Ok(bytes))
            }
            Content::Stream { stream, .. } => match stream.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => {
                    this.content = Content::Broken(error);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(next) => next,
            },
            Content::Broken(_) => match std::mem::replace(&mut this.content, Content::Empty) {
                Content::Broken(error) => Some(Err(error)),
                _ => None,
            },
        };
        if let Some(watcher) = &mut this.on_end {
            match &next {
                Some(Ok(bytes)) => watcher.sent(bytes.len()),
                Some(Err(error)) => watcher.broken(error),
                None => watcher.complete(),
            }
        }
        Poll::Ready(next.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
