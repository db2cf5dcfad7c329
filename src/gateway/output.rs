//! A script's answer behind its header block, as it is made.

use std::io;
use std::pin::Pin;
use std::task::{Context as Wakers, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::time::Sleep;

use super::dechunk::Dechunk;
use super::process::Process;
use super::record::Fault;
use crate::body::Stream;
use crate::spawner::Ending;

/// How long a child that still holds the output may keep the answer open once its leader has exited.
pub(super) const HELD_OPEN: Duration = Duration::from_secs(1);
/// How long the end of an answer waits for the exit status that tells a crash from an end. The two come together
/// unless the program closed its output and works on.
pub(super) const STATUS: Duration = Duration::from_millis(50);

/// The rest of a script's output. Dropped early, the script ends.
pub struct Output {
    process: Option<Process>,
    /// Octets that were taken out already, to be handed on first.
    front: Bytes,
    /// What is to be said behind `front`.
    failed: Option<io::Error>,
    buffer: BytesMut,
    /// Octets still owed under the script's own Content-Length.
    owed: Option<u64>,
    dechunk: Option<Dechunk>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when there was nothing to read although somebody wanted it: a slow client is not an idle script.
    waiting_since: Option<Instant>,
    /// Every writer has closed, since then.
    closed: Option<Instant>,
    /// The leader has exited, since then.
    exited: Option<Instant>,
}

/// What [`Output::settle`] found.
pub enum Settled {
    /// The whole body.
    Whole(Bytes),
    /// It goes on.
    Stream(Box<Output>),
}

impl Output {
    pub(super) fn new(process: Process, buffer: BytesMut, owed: Option<u64>, chunked: bool) -> Self {
        Self {
            process: Some(process),
            front: Bytes::new(),
            failed: None,
            buffer,
            owed: if chunked { None } else { owed },
            dechunk: chunked.then(Dechunk::default),
            timer: None,
            waiting_since: None,
            closed: None,
            exited: None,
        }
    }

    /// Forgets the rest: the answer has no body (HEAD, 204, 304). The program may finish.
    pub fn discard(mut self) {
        if let Some(process) = self.process.take() {
            process.let_finish();
        }
    }

    /// The whole body if all of it is there within `patience` and it is not more than `most` octets; otherwise a
    /// stream. Most answers are whole at once, and one write with a length costs less than three without.
    pub async fn settle(mut self, patience: Duration, most: usize) -> Settled {
        let mut gathered = BytesMut::new();
        let gather = std::future::poll_fn(|wakers| {
            while gathered.len() <= most {
                match self.poll_data(wakers) {
                    Poll::Ready(Some(Ok(data))) if gathered.is_empty() => gathered = BytesMut::from(data),
                    Poll::Ready(Some(Ok(data))) => gathered.extend_from_slice(&data),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error)),
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(None)
        });
        // A timer only where the answer is not there at once.
        let outcome = tokio::time::timeout(patience, gather).await;
        self.failed = outcome.unwrap_or_default();
        self.front = gathered.freeze();
        if self.process.is_none() && self.failed.is_none() {
            Settled::Whole(self.front)
        } else {
            Settled::Stream(Box::new(self))
        }
    }

    fn poll_data(&mut self, wakers: &mut Wakers<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.front.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.front))));
        }
        if let Some(error) = self.failed.take() {
            self.process = None;
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            if self.process.is_none() {
                return Poll::Ready(None);
            }
            if let Some(next) = self.next_piece() {
                return Poll::Ready(next);
            }
            match self.poll_more(wakers) {
                Poll::Ready(Ok(true)) => self.waiting_since = None,
                Poll::Ready(Ok(false)) => return Poll::Ready(self.finish()),
                Poll::Ready(Err(error)) => {
                    // Dropping the process ends it.
                    if let Some(mut process) = self.process.take() {
                        process.parts().context.broke_off(&error);
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The next octets for the client out of the buffer, or the end where the script's own length says so.
    fn next_piece(&mut self) -> Option<Option<io::Result<Bytes>>> {
        if self.owed == Some(0) {
            return Some(self.finish());
        }
        if let Some(dechunk) = &mut self.dechunk {
            let piece = match dechunk.take(&mut self.buffer) {
                Ok(piece) => piece,
                Err(error) => {
                    self.process = None;
                    return Some(Some(Err(io::Error::other(error))));
                }
            };
            if dechunk.is_done() && piece.is_empty() {
                return Some(self.finish());
            }
            return (!piece.is_empty()).then_some(Some(Ok(piece)));
        }
        if self.buffer.is_empty() {
            return None;
        }
        let mut take = self.buffer.len();
        if let Some(owed) = &mut self.owed {
            take = take.min(usize::try_from(*owed).unwrap_or(usize::MAX));
            *owed -= take as u64;
        }
        if let Some(process) = &mut self.process {
            process.parts().context.record.add_sent(take);
        }
        Some(Some(Ok(self.buffer.split_to(take).freeze())))
    }

    fn finish(&mut self) -> Option<io::Result<Bytes>> {
        let mut process = self.process.take()?;
        if !self.buffer.is_empty() {
            process.parts().context.fault(Fault::Longer { over: self.buffer.len() as u64 });
        }
        process.let_finish();
        None
    }

    /// Waits for more output. `Ok(false)` is the end, an error means that the answer is broken.
    fn poll_more(&mut self, wakers: &mut Wakers<'_>) -> Poll<io::Result<bool>> {
        loop {
            let Some(process) = &mut self.process else { return Poll::Ready(Ok(false)) };
            let parts = process.parts();
            if self.closed.is_none() {
                match parts.stdout.poll_read(wakers, &mut self.buffer) {
                    Poll::Ready(Ok(0)) => self.closed = Some(Instant::now()),
                    Poll::Ready(Ok(_)) => return Poll::Ready(Ok(true)),
                    // Not the end: a short answer must not look like a whole one.
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            if let (Some(_), Some(missing @ 1..)) = (self.closed, self.owed) {
                parts.context.fault(Fault::Shorter { missing });
                return Poll::Ready(Err(io::Error::other("the body is shorter than its Content-Length")));
            }
            if self.closed.is_some() && self.dechunk.is_some() {
                return Poll::Ready(Err(io::Error::other("the chunked body has no end")));
            }
            let ended = match parts.poll_ending(wakers) {
                Poll::Ready(Ending::Signalled { signal, .. }) if self.closed.is_some() => {
                    return Poll::Ready(Err(io::Error::other(format!("the program was ended by signal {signal}"))));
                }
                Poll::Ready(Ending::SpawnerDied) => {
                    return Poll::Ready(Err(io::Error::other("the spawner died")));
                }
                Poll::Ready(_) if self.closed.is_some() => return Poll::Ready(Ok(false)),
                Poll::Ready(_) => true,
                Poll::Pending => false,
            };
            if parts.feeder.as_mut().is_some_and(|feeder| feeder.poll_broken(wakers)) {
                return Poll::Ready(Err(io::Error::other("the client left in mid-upload")));
            }
            let now = Instant::now();
            if ended {
                self.exited.get_or_insert(now);
            }
            let waiting_since = *self.waiting_since.get_or_insert(now);
            let settings = &parts.settings;
            if let Some(closed) = self.closed {
                if now >= closed + STATUS {
                    return Poll::Ready(Ok(false));
                }
            } else if self.exited.is_some_and(|exited| now >= exited + HELD_OPEN) {
                self.closed = Some(now);
                continue;
            }
            if settings.total.is_some_and(|total| now >= parts.started + total) {
                parts.context.fault(Fault::TimedOut { key: "timeout" });
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the program ran too long (timeout)")));
            }
            if settings.idle.is_some_and(|idle| now >= waiting_since + idle) {
                parts.context.fault(Fault::TimedOut { key: "idle-timeout" });
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the program was silent too long (idle-timeout)",
                )));
            }
            let deadlines = [
                self.closed.map(|closed| closed + STATUS),
                self.exited.map(|exited| exited + HELD_OPEN),
                settings.total.map(|total| parts.started + total),
                settings.idle.map(|idle| waiting_since + idle),
            ];
            let Some(next) = deadlines.into_iter().flatten().min() else { return Poll::Pending };
            if super::poll_timer(&mut self.timer, next, wakers).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Stream for Output {
    fn poll_next(mut self: Pin<&mut Self>, wakers: &mut Wakers<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.poll_data(wakers)
    }
}
