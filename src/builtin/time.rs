//! `GET /ajax/time`.

use std::cell::RefCell;

use bytes::Bytes;
use jiff::Timestamp;

/// `{"time":"2026-11-21 07:08:52 UTC","iso":"2026-11-21T07:08:52Z","epoch_ms":1795244932000}`.
pub(super) fn now() -> Bytes {
    format(Timestamp::now())
}

fn format(now: Timestamp) -> Bytes {
    thread_local! {
        /// The second that was asked for last, and all that is said of it: that was most of what a request costs.
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != now.as_second() {
            let iso = now.strftime("%Y-%m-%dT%H:%M:%SZ");
            let time = now.strftime("%Y-%m-%d %H:%M:%S UTC");
            (*second, *text) = (now.as_second(), format!("{{\"time\":\"{time}\",\"iso\":\"{iso}\",\"epoch_ms\":"));
        }
        let mut epoch = *b"0000000000000";
        digits(&mut epoch, now.as_millisecond().unsigned_abs());
        // A machine without a clock lives in 1970, and a JSON number has no zeros in front.
        let epoch = &epoch[epoch.iter().position(|&digit| digit != b'0').unwrap_or(epoch.len() - 1)..];
        let mut whole = Vec::with_capacity(text.len() + epoch.len() + 1);
        whole.extend_from_slice(text.as_bytes());
        whole.extend_from_slice(epoch);
        whole.push(b'}');
        whole.into()
    })
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
