//! A script's standard error, for its author who tries it in the console.
//!
//! The console asks for it by a sub-protocol, and gets it on the author's own machine only: anybody else would be told
//! what a script says to its log. Text comes in envelopes then, `{"stream":"stdout","data":"…"}` or `"stderr"`, the
//! same as websocketd's `--passstderr` has; octets come bare.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::framing::Data;
use crate::gateway;

/// What the console asks by.
pub(super) const PROTOCOL: &str = "stderr.cgiserve";
/// How often to look. The log's reader keeps the last of standard error, and wakes nobody.
const LOOK: Duration = Duration::from_millis(100);
/// How long what a script says as it dies may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Longest line that is waited for, octets; longer ones come in pieces.
const LINE: usize = 4 << 10;

/// What one script says on its standard error.
pub(super) struct Errors {
    context: Arc<gateway::Context>,
    /// What was there when it was last looked at.
    seen: Vec<u8>,
    /// Of that, what has not been told.
    fresh: Vec<u8>,
    timer: Interval,
}

impl Errors {
    pub(super) fn new(context: Arc<gateway::Context>) -> Self {
        let mut timer = interval(LOOK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { context, seen: Vec::new(), fresh: Vec::new(), timer }
    }

    /// Its next line, in an envelope.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Data> {
        loop {
            if let Some(line) = line(&mut self.fresh, false) {
                return Poll::Ready(envelope("stderr", &line));
            }
            ready!(self.timer.poll_tick(cx));
            self.look();
        }
    }

    /// The last that it says, once it has ended.
    pub(super) async fn rest(mut self) -> Vec<Data> {
        self.context.record.stderr.settled(LAST_WORDS).await;
        self.look();
        std::iter::from_fn(|| line(&mut self.fresh, true)).map(|line| envelope("stderr", &line)).collect()
    }

    fn look(&mut self) {
        let now = self.context.record.stderr.text();
        self.fresh.extend_from_slice(&now[known(&self.seen, &now)..]);
        self.seen = now;
    }
}

/// Takes a line out of `fresh`, without its end; with `last` one that has none, too.
fn line(fresh: &mut Vec<u8>, last: bool) -> Option<Vec<u8>> {
    let (length, end) = match fresh.iter().position(|&b| b == b'\n') {
        Some(at) => (at, 1),
        None if fresh.len() >= LINE || last && !fresh.is_empty() => (fresh.len(), 0),
        None => return None,
    };
    let line = fresh[..length].to_vec();
    fresh.drain(..length + end);
    Some(line)
}

/// Puts a message of the script into its envelope.
pub(super) fn wrap(data: Data) -> Data {
    if data.text { envelope("stdout", &data.octets) } else { data }
}

#[derive(Serialize)]
struct Envelope<'a> {
    stream: &'a str,
    data: &'a str,
}

fn envelope(stream: &str, octets: &[u8]) -> Data {
    let data = String::from_utf8_lossy(octets);
    // Two strings: nothing that JSON could not hold.
    let text = serde_json::to_string(&Envelope { stream, data: &data }).unwrap_or_default();
    Data { text: true, octets: text.into() }
}

/// How much of `now` was there when it was `before`: what is kept is the end of all that was said, so it begins with an
/// end of what was kept then.
fn known(before: &[u8], now: &[u8]) -> usize {
    (0..=before.len()).find(|&gone| now.starts_with(&before[gone..])).map_or(0, |gone| before.len() - gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new() {
        for (before, now, fresh) in [
            ("", "a\n", "a\n"),
            ("a\n", "a\n", ""),
            ("a\n", "a\nb\n", "b\n"),
            ("abc", "bcd", "d"),
            ("abc", "xyz", "xyz"),
            ("aaa", "aaa", ""),
        ] {
            assert_eq!(&now[known(before.as_bytes(), now.as_bytes())..], fresh, "{before} {now}");
        }
    }

    #[test]
    fn lines() {
        let mut fresh = b"a\n\nb".to_vec();
        assert_eq!(line(&mut fresh, false).as_deref(), Some(&b"a"[..]));
        assert_eq!(line(&mut fresh, false).as_deref(), Some(&b""[..]));
        assert_eq!(line(&mut fresh, false), None);
        assert_eq!(line(&mut fresh, true).as_deref(), Some(&b"b"[..]));
        assert_eq!(line(&mut fresh, true), None);
        assert_eq!(line(&mut vec![b'x'; LINE], false).map(|piece| piece.len()), Some(LINE));
    }

    #[test]
    fn envelopes() {
        let text = |octets: &'static [u8]| Data { text: true, octets: octets.into() };
        assert_eq!(wrap(text(b"a\"\xff")), text("{\"stream\":\"stdout\",\"data\":\"a\\\"\u{fffd}\"}".as_bytes()));
        let octets = Data { text: false, octets: (&b"\0"[..]).into() };
        assert_eq!(wrap(octets.clone()), octets);
    }
}
