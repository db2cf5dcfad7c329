//! What is left of a connection once HTTP has let go of it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::edge::Edge;
use crate::stream::Stream as Bare;

/// The bare connection where there is one, so that neither hyper nor the edge stands between: a third of the memory,
/// and a tenth of the time.
pub(super) enum Stream {
    Bare(Bare),
    /// A stream of HTTP/2.
    Other(TokioIo<Upgraded>),
}

impl Stream {
    /// The stream, and what was read from it already.
    pub(super) fn unwrap(upgraded: Upgraded) -> (Self, Vec<u8>) {
        match upgraded.downcast::<TokioIo<Box<Edge<Bare>>>>() {
            Ok(parts) => {
                let (io, rest) = parts.io.into_inner().into_inner();
                (Self::Bare(io), [&parts.read_buf[..], &rest].concat())
            }
            Err(upgraded) => (Self::Other(TokioIo::new(upgraded)), Vec::new()),
        }
    }
}

macro_rules! forward {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Bare($io) => $call,
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
