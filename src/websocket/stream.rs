//! What is left of a connection once HTTP has let go of it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::edge::Edge;

/// The bare socket where there is one, so that neither hyper nor the edge stands between: a third of the memory, and a
/// tenth of the time.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// TLS, or a stream of HTTP/2.
    Other(TokioIo<Upgraded>),
}

impl Stream {
    /// The stream, and what was read from it already.
    pub(super) fn unwrap(upgraded: Upgraded) -> (Self, Vec<u8>) {
        let upgraded = match bare::<TcpStream>(upgraded) {
            Ok((io, rest)) => return (Self::Tcp(io), rest),
            Err(upgraded) => upgraded,
        };
        match bare::<UnixStream>(upgraded) {
            Ok((io, rest)) => (Self::Unix(io), rest),
            Err(upgraded) => (Self::Other(TokioIo::new(upgraded)), Vec::new()),
        }
    }
}

fn bare<IO>(upgraded: Upgraded) -> Result<(IO, Vec<u8>), Upgraded>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<TokioIo<Edge<IO>>>()?;
    let (io, rest) = parts.io.into_inner().into_inner();
    Ok((io, [&parts.read_buf[..], &rest].concat()))
}

macro_rules! forward {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($io) => $call,
            Stream::Unix($io) => $call,
            Stream::Other($io) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
