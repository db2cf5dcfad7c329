//! What a script says while its request is answered, held back at a terminal until the request's line stands above it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after a request's arrival its words are held: whoever works longer is to be heard while he works.
const PATIENCE: Duration = Duration::from_secs(1);
/// Octets that are held in all; a request that says more is heard at once.
const OCTETS: usize = 64 << 10;
/// Requests that are waited for; the words of those beyond are not held.
const REQUESTS: usize = 1000;

/// The words of the requests that are being answered.
#[derive(Debug, Default)]
pub(super) struct Held {
    requests: HashMap<String, Words>,
    octets: usize,
}

#[derive(Debug)]
struct Words {
    until: Instant,
    lines: Vec<u8>,
}

impl Held {
    /// A request came; its line will be written, and then [`release`](Self::release) is called.
    pub(super) fn expect(&mut self, id: String, now: Instant) {
        if self.requests.len() < REQUESTS {
            self.requests.insert(id, Words { until: now + PATIENCE, lines: Vec::new() });
        }
    }

    /// A line about a request: kept, or written `to` where nothing is to be waited for.
    pub(super) fn say(&mut self, id: &str, line: &[u8], now: Instant, to: &mut Vec<u8>) {
        let room = self.octets + line.len() <= OCTETS;
        match self.requests.get_mut(id) {
            Some(words) if room && now < words.until => {
                words.lines.extend_from_slice(line);
                self.octets += line.len();
            }
            _ => {
                self.release(id, to);
                to.extend_from_slice(line);
            }
        }
    }

    /// Nothing is to be waited for any more.
    pub(super) fn release(&mut self, id: &str, to: &mut Vec<u8>) {
        if let Some(words) = self.requests.remove(id) {
            self.octets -= words.lines.len();
            to.extend_from_slice(&words.lines);
        }
    }

    /// When the first words will have been held long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.requests.values().filter(|words| !words.lines.is_empty()).map(|words| words.until).min()
    }

    /// Writes what was held long enough by `now`; without a time, everything.
    pub(super) fn overdue(&mut self, now: Option<Instant>, to: &mut Vec<u8>) {
        let octets = &mut self.octets;
        self.requests.retain(|_, words| {
            let due = now.is_none_or(|now| words.until <= now);
            if due {
                *octets -= words.lines.len();
                to.extend_from_slice(&words.lines);
            }
            !due
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wait_for_their_request_and_no_longer_than_a_second() {
        let (mut held, mut out, start) = (Held::default(), Vec::new(), Instant::now());
        let later = start + PATIENCE;
        held.expect("a".into(), start);
        held.expect("b".into(), start);
        for (id, line, now) in [("a", "1", start), ("b", "2", start), ("c", "3", start), ("a", "4", start)] {
            held.say(id, line.as_bytes(), now, &mut out);
        }
        assert_eq!((&*out, held.due()), (&b"3"[..], Some(later)), "nobody waits for c");
        held.release("a", &mut out);
        held.say("a", b"5", start, &mut out);
        assert_eq!(out, b"3145", "its line has been written");
        held.say("b", b"6", later, &mut out);
        assert_eq!((&*out, held.due()), (&b"314526"[..], None));
        held.expect("d".into(), start);
        held.say("d", b"7", start, &mut out);
        held.overdue(Some(start), &mut out);
        assert_eq!(out, b"314526");
        held.overdue(Some(later), &mut out);
        assert_eq!((&*out, held.octets), (&b"3145267"[..], 0));
    }

    #[test]
    fn it_is_bounded() {
        let (mut held, mut out, now) = (Held::default(), Vec::new(), Instant::now());
        held.expect("a".into(), now);
        held.say("a", &[b'x'; OCTETS], now, &mut out);
        assert!(out.is_empty());
        held.say("a", b"y", now, &mut out);
        assert_eq!((out.len(), held.octets), (OCTETS + 1, 0), "in order, and at once");
        for n in 0..2 * REQUESTS {
            held.expect(n.to_string(), now);
        }
        assert_eq!(held.requests.len(), REQUESTS);
    }
}
