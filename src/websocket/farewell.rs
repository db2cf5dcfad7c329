//! Why a conversation ends, and what the client is told of it.

use crate::spawner::Ending;

/// Longest reason in a Close frame, octets (RFC 6455 §5.5).
const REASON: usize = 123;

/// Why a conversation ends.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// The client closed, with this code.
    Left(u16),
    /// The connection broke.
    Gone,
    /// The client answered none of two pings.
    Silent,
    /// The client broke the protocol.
    Violation(String),
    /// A text message of the client is not UTF-8.
    BadText,
    /// A message of the client is over `max-message`.
    TooBig,
    /// The script closed its output and has ended so.
    Ended(Ending),
    /// The script closed its output and works on.
    Closed,
    /// The script's output breaks its framing, or is over `max-message`.
    BadOutput(&'static str),
    /// The script does not take its input.
    Deaf,
    /// Nobody said anything for `idle-timeout`.
    Idle,
    /// The server goes.
    Leaving,
    /// The script wants it.
    Wanted(u16, String),
    /// A hub's client does not take what is sent to it.
    Slow,
    /// The hub has ended.
    HubEnded(String),
}

impl End {
    /// Code and reason of the Close frame (RFC 6455 §7.4.1); `None` where the client has closed or is gone.
    pub(super) fn farewell(&self) -> Option<(u16, String)> {
        let (code, reason) = match self {
            Self::Left(_) | Self::Gone | Self::Silent => return None,
            Self::Violation(what) => (1002, what.clone()),
            Self::BadText => (1007, "not UTF-8".to_owned()),
            Self::TooBig => (1009, "message over max-message".to_owned()),
            Self::Ended(Ending::Exited { status: 0, .. }) | Self::Closed => (1000, String::new()),
            Self::Ended(ending) => (1011, describe(ending)),
            Self::BadOutput(what) => (1011, (*what).to_owned()),
            Self::Deaf => (1011, "the program does not read".to_owned()),
            Self::Idle => (1001, "idle-timeout".to_owned()),
            Self::Leaving => (1001, "the server is going away".to_owned()),
            Self::Wanted(code, reason) => (allowed(*code), reason.clone()),
            Self::Slow => (1013, "too slow".to_owned()),
            Self::HubEnded(how) => (1011, how.clone()),
        };
        Some((code, shorten(reason)))
    }
}

/// How a script ended, in few words: a client may know that it failed, not why.
pub(super) fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Exited { status, .. } => format!("exit status {status}"),
        Ending::Signalled { signal, .. } => format!("signal {signal}"),
        Ending::NotStarted { .. } => "the program could not be started".to_owned(),
        Ending::SpawnerDied => "the program was lost".to_owned(),
    }
}

/// A code that may stand in a Close frame (RFC 6455 §7.4.2).
fn allowed(code: u16) -> u16 {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => code,
        _ => 1000,
    }
}

fn shorten(mut reason: String) -> String {
    if reason.len() > REASON {
        reason.truncate(reason.floor_char_boundary(REASON));
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawner::Usage;

    #[test]
    fn ends_have_codes() {
        let usage = Usage::default();
        for (end, code, reason) in [
            (End::Ended(Ending::Exited { status: 0, usage }), 1000, ""),
            (End::Ended(Ending::Exited { status: 3, usage }), 1011, "exit status 3"),
            (End::Ended(Ending::Signalled { signal: 9, usage }), 1011, "signal 9"),
            (End::Wanted(4000, "bye".into()), 4000, "bye"),
            (End::Wanted(1006, String::new()), 1000, ""),
            (End::Wanted(77, String::new()), 1000, ""),
            (End::TooBig, 1009, "message over max-message"),
            (End::BadText, 1007, "not UTF-8"),
        ] {
            assert_eq!(end.farewell(), Some((code, reason.to_owned())), "{end:?}");
        }
        assert_eq!(End::Gone.farewell(), None);
        let long = End::Wanted(1000, "ä".repeat(100)).farewell().unwrap().1;
        assert_eq!(long, "ä".repeat(61), "123 octets, and no half letter");
    }
}
