//! A script's standard error: read at once, logged line by line, never a reason to block.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::Context;
use super::pipe::Reader;

/// Longest line in the log, octets; longer ones are logged in pieces.
const LINE: usize = 4 << 10;
/// How much of one request's standard error is logged, octets; the rest is counted.
const LOGGED: usize = 256 << 10;
/// How much is kept for whoever has to explain a failure, octets.
const TAIL: usize = 4 << 10;

/// The last octets a script wrote to its standard error.
#[derive(Debug, Default)]
pub struct Tail {
    kept: Mutex<VecDeque<u8>>,
    /// Every writer has closed, and everything has been read.
    complete: tokio::sync::SetOnce<()>,
}

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let over = kept.len().saturating_sub(TAIL);
        kept.drain(..over);
    }

    /// Nothing has come, and nothing will.
    pub(super) fn silent(&self) {
        let _ = self.complete.set(());
    }

    /// Waits until nothing more can come, and no longer than `patience`: a child may hold the pipe open.
    pub async fn settled(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.complete.wait()).await;
    }

    /// What has been kept so far.
    pub fn text(&self) -> Vec<u8> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// Reads until every writer has closed; `buffer` is what has been read already. `leader` is the process, which may be
/// heard of later than its first words.
pub(super) async fn log(
    mut buffer: BytesMut,
    mut pipe: Reader,
    leader: impl Future<Output = Option<i32>>,
    context: Arc<Context>,
) {
    let tail = &context.record.stderr;
    let mut leader = Some(Box::pin(leader));
    let mut left = LOGGED;
    let mut passed_over = 0usize;
    loop {
        if !buffer.is_empty()
            && let Some(leader) = leader.take()
        {
            context.pid.store(leader.await.unwrap_or_default(), Ordering::Relaxed);
        }
        while let Some(end) = line_end(&buffer, false) {
            take(&mut buffer, end, &context, tail, &mut left, &mut passed_over);
        }
        if !matches!(pipe.read(&mut buffer).await, Ok(1..)) {
            break;
        }
    }
    while let Some(end) = line_end(&buffer, true) {
        take(&mut buffer, end, &context, tail, &mut left, &mut passed_over);
    }
    if passed_over > 0 {
        context.line(&format!("... {passed_over} octets more on standard error, not logged"));
    }
    tail.silent();
}

fn line_end(buffer: &[u8], last: bool) -> Option<usize> {
    match buffer.iter().take(LINE).position(|&b| b == b'\n') {
        Some(at) => Some(at + 1),
        None if buffer.len() >= LINE => Some(LINE),
        None => (last && !buffer.is_empty()).then_some(buffer.len()),
    }
}

fn take(buffer: &mut BytesMut, end: usize, context: &Context, tail: &Tail, left: &mut usize, over: &mut usize) {
    tail.push(&buffer[..end]);
    if *left >= end {
        *left -= end;
        let line = buffer[..end].trim_ascii_end();
        context.line(&printable(line));
    } else {
        *left = 0;
        *over += end;
    }
    buffer.advance(end);
}

/// Text as it is, control characters and broken UTF-8 escaped: a terminal may be reading the log (CVE-2009-4496).
fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\t' { text.extend(c.escape_default()) } else { text.push(c) }
        }
        text.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_safe() {
        assert_eq!(printable(b"a\x1b[31mb\tc\xff\xc3\xa9"), "a\\u{1b}[31mb\tc\\xffé");
    }

    #[test]
    fn the_tail_is_bounded() {
        let tail = Tail::default();
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        assert_eq!(tail.text().len(), TAIL);
    }
}
