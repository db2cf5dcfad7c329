//! Scripts as WebSocket servers.

use std::time::Duration;

/// How the WebSockets of a route speak.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How messages and octets on the script's pipes relate.
    pub framing: Framing,
    /// Sub-protocols offered (RFC 6455 §1.9), in order of preference.
    pub protocols: Vec<String>,
    /// Origins that may connect beside the server's own; `*` is every one.
    pub origins: Vec<String>,
    /// Largest message, octets; 1009 above.
    pub max_message: usize,
    /// Between two pings; a peer that answers none of two is gone. Zero: no pings.
    pub ping: Duration,
}

/// How messages and octets on the script's pipes relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line is a message.
    Line,
    /// Octets as they come.
    Binary,
    /// Four octets of length, big-endian, and one of type before each message.
    Length,
    /// One JSON object a line.
    Json,
}

impl Framing {
    /// The framing called `word` in the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "line" => Self::Line,
            "binary" => Self::Binary,
            "length" => Self::Length,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            framing: Framing::Line,
            protocols: Vec::new(),
            origins: Vec::new(),
            max_message: 16 << 20,
            ping: Duration::from_secs(30),
        }
    }
}
