//! What nobody wanted of a request's body.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

/// How long an answer that was made without the request's body waits for its end, and for how many octets.
const TIME: Duration = Duration::from_millis(100);
const OCTETS: u64 = 64 * 1024;

/// Gets a [`Source`](super::Source)'s body when that is dropped.
#[derive(Debug)]
pub struct Remainder<B = Incoming>(Arc<Mutex<Option<B>>>);

impl<B> Remainder<B> {
    pub(super) fn new() -> (Self, Weak<Mutex<Option<B>>>) {
        let rest = Arc::default();
        let heir = Arc::downgrade(&rest);
        (Self(rest), heir)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Remainder<B> {
    /// Whether there is something that nobody reads any more.
    pub fn is_left(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|body| !body.is_end_stream())
    }

    /// Reads what nobody else did. False where the end does not come soon: too much is to come, it comes too slowly, or
    /// it is malformed. True as well while somebody else still reads.
    pub async fn ends(self) -> bool {
        let Some(body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        if body.size_hint().lower() > OCTETS {
            return false;
        }
        timeout(TIME, read_to_end(body)).await.unwrap_or(false)
    }
}

async fn read_to_end(mut body: impl Body<Data = Bytes> + Unpin) -> bool {
    let mut left = OCTETS;
    while let Some(frame) = body.frame().await {
        let octets = frame.map_or(u64::MAX, |frame| frame.data_ref().map_or(0, Bytes::len) as u64);
        match left.checked_sub(octets) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::body::Source;

    async fn ends<B: Body<Data = Bytes> + Unpin>(body: B) -> bool {
        let mut body = Source::new(body);
        let remainder = body.remainder();
        drop(body);
        remainder.ends().await
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wanted_is_read_if_that_does_not_take_long() {
        for (octets, soon) in [(0, true), (1, true), (65_536, true), (65_537, false)] {
            let body = || Full::new(Bytes::from(vec![0; octets]));
            assert_eq!(ends(body()).await, soon, "{octets}");
            assert_eq!(ends(body().map_frame(|frame| frame)).await, soon, "{octets} that were not announced");
        }
        let broken = futures_util::stream::once(async { Err::<Frame<Bytes>, _>("broken") });
        assert!(!ends(StreamBody::new(Box::pin(broken))).await);
        let drip = futures_util::stream::unfold((), |()| async {
            sleep(TIME * 2 / 3).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let began = Instant::now();
        assert!(!ends(StreamBody::new(Box::pin(drip))).await);
        assert_eq!(began.elapsed(), TIME);
    }

    #[tokio::test]
    async fn what_somebody_reads_is_left_alone() {
        let mut body = Source::new(Full::<Bytes>::from("x"));
        assert!(body.remainder().ends().await);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
}
