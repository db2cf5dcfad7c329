//! The client's end of a conversation: messages in, messages out, and a decent goodbye.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data as Kind, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, WebSocket};

use super::farewell::End;
use super::framing::Data;
use super::stream::Stream;

/// How much is read from a client at once, octets.
const READ: usize = 4 << 10;
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
    socket: WebSocket<Waiting>,
    /// The rest of a message that goes out in frames; the first has.
    rest: Bytes,
    /// A frame that found no room.
    unsent: Option<Message>,
    unflushed: bool,
    /// The connection took no more.
    blocked: bool,
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
        let waiting = Waiting { stream, waker: Waker::noop().clone(), full: false, took: false };
        let socket = WebSocket::from_partially_read(waiting, begun, Role::Server, Some(config));
        Self { socket, rest: Bytes::new(), unsent: None, unflushed: false, blocked: false }
    }

    /// The next message, `None` for a ping or an answer to one. Pings are answered, and a Close is.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Data>, End>> {
        self.wakes(cx);
        Poll::Ready(match ready!(polled(self.socket.read())) {
            Ok(Message::Text(text)) => Ok(Some(Data { text: true, octets: text.into() })),
            Ok(Message::Binary(octets)) => Ok(Some(Data { text: false, octets })),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(None),
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
        std::mem::take(&mut self.socket.get_mut().took)
    }

    fn push(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        match self.socket.write(message) {
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
            ready!(polled(self.socket.flush())).map_err(why)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn wakes(&mut self, cx: &Context<'_>) {
        self.socket.get_mut().waker.clone_from(cx.waker());
    }

    /// Says goodbye, and waits a little for the client to close: closing first while it still sends would be a reset,
    /// and a reset may overtake the goodbye.
    pub(super) async fn part(mut self, end: &End) {
        if matches!(end, End::Gone | End::Silent) {
            return;
        }
        let _ = tokio::time::timeout(LAST_WORDS, self.last_words(end)).await;
        let _ = tokio::time::timeout(LINGER, async {
            let stream = &mut self.socket.get_mut().stream;
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
    waker: Waker,
    /// The last write found no room.
    full: bool,
    /// One after that did.
    took: bool,
}

impl Read for Waiting {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(room);
        let read = Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(&self.waker), &mut room);
        blocking(read).map(|()| room.filled().len())
    }
}

impl Write for Waiting {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(&self.waker), octets);
        self.took |= self.full && matches!(written, Poll::Ready(Ok(1..)));
        self.full = written.is_pending();
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
