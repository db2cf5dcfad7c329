//! The client's end of a conversation: messages in, messages out, and a decent goodbye.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data as Kind, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::farewell::End;
use super::framing::Data;
use super::intake::Intake;
use super::stream::Stream;

/// The library's own buffer for what it reads, octets: each visitor has one, and larger frames make it larger.
const READ: usize = 512;
/// How much is gathered before it is written to a client unasked, octets.
const WRITE: usize = 16 << 10;
/// Longer messages go out in frames of this many octets, so that the buffer does not stay as large as the largest.
const FRAME: usize = 64 << 10;
/// What may wait to be written to a client: a frame, what was gathered before, and answers to pings.
const WAITING: usize = 2 * FRAME;
/// How long the last octets may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long a client may take to close its side, and how much it may still send until then, octets.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 4 << 20;

/// A WebSocket to a client. The library's own asynchronous wrapper keeps four wakers; this one task needs one.
pub(super) struct Client {
    frames: WebSocketContext,
    connection: Waiting,
    /// The rest of a message that goes out in frames; the first has.
    rest: Bytes,
    /// A frame that found no room.
    unsent: Option<Message>,
    unflushed: bool,
    /// The connection took no more.
    blocked: bool,
    /// A large message went through, and the library keeps its buffers.
    grown: bool,
}

impl Client {
    /// Takes over a connection. Messages over `max` octets are refused.
    pub(super) fn new(upgraded: Upgraded, max: usize) -> Self {
        let (stream, begun) = Stream::unwrap(upgraded);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(WRITE)
            .max_write_buffer_size(WAITING)
            .max_message_size(Some(max))
            .max_frame_size(Some(max));
        let intake = Intake::new(&begun);
        let connection = Waiting { stream, intake, waker: Waker::noop().clone(), full: false, took: false, written: 0 };
        let frames = WebSocketContext::new(Role::Server, Some(config));
        Self { frames, connection, rest: Bytes::new(), unsent: None, unflushed: false, blocked: false, grown: false }
    }

    /// The next message, `None` for a ping or an answer to one. Pings are answered, and a Close is.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Data>, End>> {
        self.wakes(cx);
        let Poll::Ready(read) = polled(self.frames.read(&mut self.connection)) else {
            self.renew();
            return Poll::Pending;
        };
        Poll::Ready(match read {
            Ok(Message::Text(text)) => Ok(Some(Data { text: true, octets: text.into() })),
            Ok(Message::Binary(octets)) => Ok(Some(Data { text: false, octets })),
            Ok(Message::Ping(_)) => {
                // Its answer waits in the library.
                self.unflushed = true;
                Ok(None)
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => Ok(None),
            Ok(Message::Close(frame)) => Err(End::Left(frame.map_or(1005, |frame| frame.code.into()))),
            Err(error) => Err(why(error)),
        })
    }

    /// Waits until another message may be sent.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if self.blocked || self.unsent.is_some() {
                self.unflushed = true;
                ready!(self.poll_flush(cx))?;
                self.blocked = false;
            }
            if let Some(frame) = self.unsent.take() {
                self.push(frame)?;
            } else if self.rest.has_remaining() {
                let piece = self.rest.split_to(self.rest.len().min(FRAME));
                let last = self.rest.is_empty();
                if last {
                    // Empty, it would still hold the whole message.
                    self.rest = Bytes::new();
                }
                self.push(Message::Frame(Frame::message(piece, OpCode::Data(Kind::Continue), last)))?;
            } else if !self.blocked {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends a message; there must be room. What goes out as text is UTF-8, whatever the script wrote.
    pub(super) fn send(&mut self, data: Data) -> Result<(), End> {
        if data.text {
            let text = Utf8Bytes::try_from(data.octets.clone())
                .unwrap_or_else(|_| String::from_utf8_lossy(&data.octets).into_owned().into());
            self.send_message(Message::Text(text))
        } else {
            self.send_message(Message::Binary(data.octets))
        }
    }

    /// Sends messages, as far as there is room.
    pub(super) fn send_if_room(&mut self, messages: Vec<Data>) {
        for data in messages {
            if !self.has_room() || self.send(data).is_err() {
                return;
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.blocked && self.unsent.is_none() && self.rest.is_empty()
    }

    /// Sends what is known to be right; there must be room.
    pub(super) fn send_message(&mut self, message: Message) -> Result<(), End> {
        let (kind, octets) = match message {
            Message::Text(text) if text.len() > FRAME => (Kind::Text, Bytes::from(text)),
            Message::Binary(octets) if octets.len() > FRAME => (Kind::Binary, octets),
            short => return self.push(short),
        };
        self.rest = octets;
        let piece = self.rest.split_to(FRAME);
        self.push(Message::Frame(Frame::message(piece, OpCode::Data(kind), false)))
    }

    /// Sends a ping, or nothing where too much waits already.
    pub(super) fn ping(&mut self) -> Result<(), End> {
        if self.unsent.is_some() { Ok(()) } else { self.push(Message::Ping(Bytes::new())) }
    }

    /// Whether the client has taken something since the last call, for which there was no room on the way: whoever
    /// reads slowly is alive, however late its answers to pings come.
    pub(super) fn took(&mut self) -> bool {
        std::mem::take(&mut self.connection.took)
    }

    /// Whether something waits for the client, which does not take it.
    pub(super) fn is_behind(&self) -> bool {
        self.unflushed || !self.has_room()
    }

    /// How much the client has taken, octets.
    pub(super) fn written(&self) -> u64 {
        self.connection.written
    }

    fn push(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        self.grown |= message.len() > WRITE;
        match self.frames.write(&mut self.connection, message) {
            Ok(()) => Ok(()),
            // It was taken, and waits.
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            Err(Error::WriteBufferFull(message)) => {
                self.unsent = Some(*message);
                Ok(())
            }
            Err(error) => Err(why(error)),
        }
    }

    /// Writes everything that was sent.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.unflushed {
            self.wakes(cx);
            ready!(polled(self.frames.flush(&mut self.connection))).map_err(why)?;
            self.unflushed = false;
        }
        self.renew();
        Poll::Ready(Ok(()))
    }

    /// Begins with fresh buffers after a large message, at a moment when nothing is in the old ones: those the library
    /// would keep for as long as the visitor stays.
    fn renew(&mut self) {
        self.grown |= self.connection.intake.was_large();
        let empty = self.connection.intake.is_between_messages() && !self.is_behind();
        if self.grown && empty && self.frames.can_write() {
            self.grown = false;
            self.frames = WebSocketContext::new(Role::Server, Some(*self.frames.get_config()));
        }
    }

    fn wakes(&mut self, cx: &Context<'_>) {
        self.connection.waker.clone_from(cx.waker());
    }

    /// Says goodbye, and waits a little for the client to close: closing first while it still sends would be a reset,
    /// and a reset may overtake the goodbye.
    pub(super) async fn part(mut self, end: &End) {
        if matches!(end, End::Gone | End::Silent) {
            return;
        }
        let _ = tokio::time::timeout(LAST_WORDS, self.last_words(end)).await;
        let _ = tokio::time::timeout(LINGER, async {
            let stream = &mut self.connection.stream;
            let _ = stream.shutdown().await;
            let mut left = LINGER_OCTETS;
            let mut scrap = [0; 1024];
            while let Ok(n @ 1..) = stream.read(&mut scrap).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    return;
                }
            }
        })
        .await;
    }

    async fn last_words(&mut self, end: &End) -> Result<(), End> {
        if let Some((code, reason)) = end.farewell() {
            // Perhaps in the middle of a message: nobody is going to hear the rest of it.
            self.push(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })))?;
        }
        self.unflushed = true;
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }
}

/// A stream whose operations say `WouldBlock` where they have to wait, and wake the task that asked last.
struct Waiting {
    stream: Stream,
    intake: Intake,
    waker: Waker,
    /// The last write found no room.
    full: bool,
    /// One after that did.
    took: bool,
    /// Octets that were written.
    written: u64,
}

impl Read for Waiting {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Self { stream, intake, waker, .. } = self;
        blocking(
            intake.poll_take(room, |buffer| Pin::new(&mut *stream).poll_read(&mut Context::from_waker(waker), buffer)),
        )
    }
}

impl Write for Waiting {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(&self.waker), octets);
        self.took |= self.full && matches!(written, Poll::Ready(Ok(1..)));
        self.full = written.is_pending();
        if let Poll::Ready(Ok(n)) = written {
            self.written += n as u64;
        }
        blocking(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(&self.waker)))
    }
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

fn polled<T>(result: Result<T, Error>) -> Poll<Result<T, Error>> {
    match result {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

fn why(error: Error) -> End {
    match error {
        Error::Capacity(_) => End::TooBig,
        Error::Utf8(_) => End::BadText,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => End::Gone,
        Error::Protocol(error) => End::Violation(error.to_string()),
        _ => End::Gone,
    }
}
