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
    // Digit by digit: the formatting machinery was a fifth of what a request costs.
    let mut day = *b"0000-00-00";
    digits(&mut day[..4], date.year().unsigned_abs().into());
    digits(&mut day[5..7], date.month().unsigned_abs().into());
    digits(&mut day[8..], date.day().unsigned_abs().into());
    let mut clock = *b"00:00:00";
    digits(&mut clock[..2], time.hour().unsigned_abs().into());
    digits(&mut clock[3..5], time.minute().unsigned_abs().into());
    digits(&mut clock[6..], time.second().unsigned_abs().into());
    let mut epoch = *b"0000000000000";
    digits(&mut epoch, now.as_millisecond().unsigned_abs());
    // A machine without a clock lives in 1970, and a JSON number has no zeros in front.
    let epoch = &epoch[epoch.iter().position(|&digit| digit != b'0').unwrap_or(epoch.len() - 1)..];
    let parts: [&[u8]; 11] = [
        b"{\"time\":\"",
        &day,
        b" ",
        &clock,
        b" UTC\",\"iso\":\"",
        &day,
        b"T",
        &clock,
        b"Z\",\"epoch_ms\":",
        epoch,
        b"}",
    ];
    parts.concat().into()
}

/// Writes the last digits of `number`, as many as there is room for.
fn digits(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_say_it() {
        let bytes = format(Timestamp::from_millisecond(1_795_244_932_000).unwrap());
        let wanted = r#"{"time":"2026-11-21 07:08:52 UTC","iso":"2026-11-21T07:08:52Z","epoch_ms":1795244932000}"#;
        assert_eq!(bytes, wanted.as_bytes());
        let bytes = format(Timestamp::from_millisecond(70_001).unwrap());
        let wanted = r#"{"time":"1970-01-01 00:01:10 UTC","iso":"1970-01-01T00:01:10Z","epoch_ms":70001}"#;
        assert_eq!(bytes, wanted.as_bytes());
    }
}
