//! The time of a log line. Formatting it costs more than all the rest of the line, so it is done once a second.

use std::time::{SystemTime, UNIX_EPOCH};

/// The second that was formatted last.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    second: u64,
    /// `21/Nov/2026 10:46:28`, local time.
    pub(super) python: String,
    /// `21/Nov/2026:10:46:28 +0000`, local time.
    pub(super) common: String,
    /// `2026-11-21T10:46:28Z`
    pub(super) iso: String,
}

impl Stamps {
    /// Those of now.
    pub(super) fn now(&mut self) -> &Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second || self.iso.is_empty() {
            let now = jiff::Zoned::now();
            self.second = since.as_secs();
            self.python = now.strftime("%d/%b/%Y %H:%M:%S").to_string();
            self.common = now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
            self.iso = now.with_time_zone(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        }
        self
    }
}
