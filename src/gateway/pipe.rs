//! Pipes between the server and a script: our end never blocks, the script's end always does.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use rustix::pipe::PipeFlags;
use tokio::io::unix::AsyncFd;

/// How much is read at first, octets: most answers are no more, and large blocks are dear to allocate and to free.
const FIRST: usize = 8 << 10;
/// How much is read at once when the first did not hold it all, octets: a pipe's usual capacity.
const CHUNK: usize = 64 << 10;
/// The same for standard error.
const SMALL: usize = 4 << 10;
/// Capacity of the output pipe once an answer has shown to be long, octets; the kernel's limit for ordinary users.
const ENLARGED: usize = 1 << 20;
/// From how many octets on an answer counts as long.
const LONG: usize = 256 << 10;

/// The end that the server reads. It is registered with the reactor only when there turns out to be something to wait
/// for: most scripts have said everything and gone when they are first listened to.
pub(super) struct Reader {
    fd: Fd,
    read: usize,
    chunk: usize,
}

enum Fd {
    Unwatched(OwnedFd),
    Watched(AsyncFd<OwnedFd>),
    /// It could not be registered: nothing more can be read.
    Lost,
}

/// The end that the server writes.
pub(super) struct Writer {
    fd: AsyncFd<OwnedFd>,
}

/// A pipe whose ends both block: the one to read from, the one to write to.
pub(super) fn halves() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// A pipe for a script's standard error: our end, and the script's. Little is said there, if anything.
pub(super) fn for_errors() -> io::Result<(Reader, OwnedFd)> {
    let (reader, theirs) = for_output()?;
    Ok((Reader { chunk: SMALL, ..reader }, theirs))
}

/// A pipe for a script's output: our end, and the script's.
pub(super) fn for_output() -> io::Result<(Reader, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
    Ok((Reader { fd: Fd::Unwatched(ours), read: 0, chunk: FIRST }, theirs))
}

/// A pipe for a script's input of so many octets: our end, and the script's.
pub(super) fn for_input(length: u64) -> io::Result<(Writer, OwnedFd)> {
    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    if let Ok(long @ LONG..) = usize::try_from(length) {
        // Best effort, as for output: each filling of the pipe costs two changes from one process to the other.
        let _ = rustix::pipe::fcntl_setpipe_size(&ours, long.min(ENLARGED));
    }
    rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)?;
    let fd = crate::sys::watch(ours)?;
    Ok((Writer { fd }, theirs))
}

impl Reader {
    /// Appends what is there to `buffer`; 0 octets mean that every writer has closed.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            let fd = match &self.fd {
                Fd::Watched(fd) => fd,
                Fd::Unwatched(_) => match self.read_now(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.watch()?;
                        continue;
                    }
                    read => return Poll::Ready(read),
                },
                Fd::Lost => return Poll::Ready(Ok(0)),
            };
            let mut guard = ready!(fd.poll_read_ready(context))?;
            make_room(buffer, self.chunk);
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

    /// Appends what is there, without waiting.
    pub(super) fn read_now(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let fd = match &self.fd {
            Fd::Unwatched(fd) => fd.as_fd(),
            Fd::Watched(fd) => fd.get_ref().as_fd(),
            Fd::Lost => return Ok(0),
        };
        // The first octets by way of the stack: mostly they are few, often none, and a block for more is dear.
        let mut first = [MaybeUninit::uninit(); FIRST];
        loop {
            let read = if self.read == 0 {
                rustix::io::read(fd, &mut first[..self.chunk.min(FIRST)]).map_err(io::Error::from).map(|(octets, _)| {
                    buffer.extend_from_slice(octets);
                    octets.len()
                })
            } else {
                make_room(buffer, self.chunk);
                crate::sys::read_into(fd, buffer)
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) => {
                    self.note(n);
                    return Ok(n);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Registers it now, where waiting is what it is there for: nothing is allocated until something comes.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        self.fd = match std::mem::replace(&mut self.fd, Fd::Lost) {
            Fd::Unwatched(fd) => Fd::Watched(crate::sys::watch(fd)?),
            other => other,
        };
        Ok(())
    }

    /// Widens the pipe and the reads once the answer has shown to be long.
    fn note(&mut self, n: usize) {
        self.read = self.read.saturating_add(n);
        if self.chunk == FIRST && n >= FIRST / 2 {
            self.chunk = CHUNK;
        }
        if self.read >= LONG && self.chunk == CHUNK {
            self.chunk = LONG;
            // Best effort: over the user's share of pipe pages the kernel says EPERM and nothing is lost.
            let _ = match &self.fd {
                Fd::Unwatched(fd) => rustix::pipe::fcntl_setpipe_size(fd, ENLARGED),
                Fd::Watched(fd) => rustix::pipe::fcntl_setpipe_size(fd.get_ref(), ENLARGED),
                Fd::Lost => Ok(0),
            };
        }
    }

    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read(context, buffer)).await
    }
}

fn make_room(buffer: &mut BytesMut, chunk: usize) {
    if buffer.capacity() - buffer.len() < chunk / 4 {
        buffer.reserve(chunk);
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
