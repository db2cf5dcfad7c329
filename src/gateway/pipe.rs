//! Pipes between the server and a script: our end never blocks, the script's end always does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use rustix::pipe::PipeFlags;
use tokio::io::unix::AsyncFd;

/// How much is read at once, octets: a pipe's usual capacity.
pub(super) const CHUNK: usize = 64 << 10;
/// Capacity of the output pipe once an answer has shown to be long, octets; the kernel's limit for ordinary users.
const ENLARGED: usize = 1 << 20;
/// From how many octets on an answer counts as long.
const LONG: usize = 256 << 10;

/// The end that the server reads.
pub(super) struct Reader {
    fd: AsyncFd<OwnedFd>,
    read: usize,
    chunk: usize,
}

/// The end that the server writes.
pub(super) struct Writer {
    fd: AsyncFd<OwnedFd>,
}

/// A pipe whose ends both block: the one to read from, the one to write to.
pub(super) fn halves() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// A pipe for a script's output: our end, and the script's.
pub(super) fn for_output() -> io::Result<(Reader, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
    let fd = crate::sys::watch(ours)?;
    Ok((Reader { fd, read: 0, chunk: CHUNK }, theirs))
}

/// A pipe for a script's input: our end, and the script's.
pub(super) fn for_input() -> io::Result<(Writer, OwnedFd)> {
    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
    let fd = crate::sys::watch(ours)?;
    Ok((Writer { fd }, theirs))
}

impl Reader {
    /// Appends what is there to `buffer`; 0 octets mean that every writer has closed.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(context))?;
            if buffer.capacity() - buffer.len() < self.chunk / 4 {
                buffer.reserve(self.chunk);
            }
            match guard.try_io(|fd| crate::sys::read_into(fd.as_fd(), buffer)) {
                Ok(Ok(n)) => {
                    self.note(n);
                    return Poll::Ready(Ok(n));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }

    /// Widens the pipe and the reads once the answer has shown to be long.
    fn note(&mut self, n: usize) {
        self.read = self.read.saturating_add(n);
        if self.read >= LONG && self.chunk == CHUNK {
            self.chunk = LONG;
            // Best effort: over the user's share of pipe pages the kernel says EPERM and nothing is lost.
            let _ = rustix::pipe::fcntl_setpipe_size(self.fd.get_ref(), ENLARGED);
        }
    }

    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read(context, buffer)).await
    }
}

impl Writer {
    /// Writes all of `bytes`. `BrokenPipe` means that the script has closed its input.
    pub(super) async fn write_all(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut guard = self.fd.writable().await?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd, &bytes)?)) {
                Ok(Ok(n)) => bytes.advance(n),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}
