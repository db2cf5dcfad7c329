//! The request's body on its way to the script's standard input.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as Wakers, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use rustix::fs::{Mode, OFlags};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Error;
use super::pipe::{self, Writer};
use crate::body::Source;

/// A chunked body up to this many octets is kept in memory: it fits into a pipe at once.
const IN_MEMORY: usize = 64 << 10;

/// A request body, ready for a script.
pub enum Upload {
    /// There is none: the script reads from `/dev/null`.
    Empty,
    /// Of known length: it streams while the script runs (RFC 3875 §3.4 lets it start before the body is there).
    Stream(Source, u64),
    /// A chunked body that has arrived and is small.
    Memory(Bytes),
    /// A chunked body that has arrived, in a file without a name.
    Spooled(File, u64),
}

impl Upload {
    /// Prepares `body`. A chunked one (`length` is `None`) is taken in whole, so that CONTENT_LENGTH is right; more
    /// than `max` octets are refused, before anything is started.
    pub async fn prepare(mut body: Source, length: Option<u64>, max: u64, spool: &Path) -> Result<Self, Error> {
        if let Some(length) = length {
            return match length {
                0 => Ok(Self::Memory(Bytes::new())),
                _ if length > max => Err(Error::BodyTooLarge),
                _ => Ok(Self::Stream(body, length)),
            };
        }
        let mut memory = BytesMut::new();
        let mut spooled = 0u64;
        let mut file = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Error::client)?.into_data() else { continue };
            if spooled + memory.len() as u64 + data.len() as u64 > max {
                return Err(Error::BodyTooLarge);
            }
            memory.extend_from_slice(&data);
            if memory.len() > IN_MEMORY {
                let full = memory.split().freeze();
                spooled += full.len() as u64;
                file = Some(append(file, full, spool.to_path_buf()).await?);
            }
        }
        let Some(file) = file else { return Ok(Self::Memory(memory.freeze())) };
        spooled += memory.len() as u64;
        let mut file = append(Some(file), memory.freeze(), spool.to_path_buf()).await?;
        file.rewind().map_err(Error::Resources)?;
        Ok(Self::Spooled(file, spooled))
    }

    /// CONTENT_LENGTH, octets.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::Stream(_, length) | Self::Spooled(_, length) => Some(*length),
        }
    }

    /// The script's standard input, and the task that fills it where one is needed.
    pub(super) fn start(self) -> io::Result<(Option<OwnedFd>, Option<Feeder>)> {
        match self {
            Self::Empty => Ok((None, None)),
            Self::Memory(bytes) if bytes.is_empty() => Ok((None, None)),
            Self::Spooled(file, _) => Ok((Some(file.into()), None)),
            Self::Memory(bytes) => {
                let (mut ours, theirs) = pipe::for_input(bytes.len() as u64)?;
                Ok((Some(theirs), Some(Feeder::run(async move { ours.write_all(bytes).await }))))
            }
            Self::Stream(body, length) => {
                let (ours, theirs) = pipe::for_input(length)?;
                Ok((Some(theirs), Some(Feeder::pump(body, ours))))
            }
        }
    }
}

/// Appends to the spool off the reactor's threads: a disk may be slow.
async fn append(file: Option<File>, bytes: Bytes, folder: PathBuf) -> Result<File, Error> {
    let work = tokio::task::spawn_blocking(move || -> io::Result<File> {
        let mut file = match file {
            Some(file) => file,
            None => unnamed_file(&folder)?,
        };
        file.write_all(&bytes)?;
        Ok(file)
    });
    match work.await {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Err(Error::DiskFull)
        }
        Ok(Err(error)) => Err(Error::Resources(error)),
        Err(_) => Err(Error::Resources(io::Error::other("spooling was cut short"))),
    }
}

/// A file that has no name from the start, so that nothing of it is left whatever happens.
fn unnamed_file(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// A task that writes a body into a script's standard input; aborted when dropped.
pub(super) struct Feeder {
    task: JoinHandle<()>,
    /// Told when the client left in mid-body; `None` once that can no longer happen.
    broken: Option<oneshot::Receiver<()>>,
    /// Once the answer is complete the rest of the body is read and thrown away, so that the connection keeps step.
    detached: bool,
}

impl Feeder {
    fn run(write: impl Future<Output = io::Result<()>> + Send + 'static) -> Self {
        // A script that does not read is no error; whoever wrote less than it wanted has nobody to tell.
        Self { task: tokio::spawn(async { drop(write.await) }), broken: None, detached: true }
    }

    fn pump(mut body: Source, pipe: Writer) -> Self {
        let (tell, broken) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut pipe = Some(pipe);
            while let Some(frame) = body.frame().await {
                let data = match frame {
                    Ok(frame) => frame.into_data().unwrap_or_default(),
                    Err(_gone) => {
                        // The pipe stays open until this task is aborted, after the script's end: an early end of
                        // file would look like a complete body.
                        let _ = tell.send(());
                        return std::future::pending().await;
                    }
                };
                if let Some(open) = &mut pipe
                    && open.write_all(data).await.is_err()
                {
                    // The script has closed its input. The rest is read all the same: a client that is still
                    // sending would not see the answer otherwise.
                    pipe = None;
                }
            }
        });
        Self { task, broken: Some(broken), detached: false }
    }

    /// Whether the client left before the body was complete; otherwise the task is woken when it does.
    pub(super) fn poll_broken(&mut self, wakers: &mut Wakers<'_>) -> bool {
        let Some(broken) = self.broken.as_mut().filter(|_| !self.detached) else { return false };
        match Pin::new(broken).poll(wakers) {
            Poll::Pending => false,
            Poll::Ready(told) => {
                self.broken = None;
                told.is_ok()
            }
        }
    }

    /// Lets the task go on by itself: the answer is complete.
    pub(super) fn detach(&mut self) {
        self.detached = true;
    }

    /// Ends the task, and with it the script's input.
    pub(super) fn stop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if !self.detached {
            self.task.abort();
        }
    }
}
