//! `GET /ajax/time`.

use bytes::Bytes;
use jiff::Timestamp;

/// `{"time":"2026-11-21 07:08:52 UTC","iso":"2026-11-21T07:08:52Z","epoch_ms":1795244932000}`.
pub(super) fn now() -> Bytes {
    format(Timestamp::now())
}

fn format(now: Timestamp) -> Bytes {
    let at = now.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let (date, time) = (at.date(), at.time());
    let (y, mo, d) = (date.year(), date.month(), date.day());
    let (h, mi, s) = (time.hour(), time.minute(), time.second());
    let epoch = now.as_millisecond();
    let text = format!(
        "{{\"time\":\"{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02} UTC\",\
         \"iso\":\"{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z\",\"epoch_ms\":{epoch}}}"
    );
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_say_it() {
        let bytes = format(Timestamp::from_millisecond(1_795_244_932_000).unwrap());
        let wanted = r#"{"time":"2026-11-21 07:08:52 UTC","iso":"2026-11-21T07:08:52Z","epoch_ms":1795244932000}"#;
        assert_eq!(bytes, wanted.as_bytes());
    }
}
