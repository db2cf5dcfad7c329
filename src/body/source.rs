//! What the client sends, and how slowly it may do so.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError, Weak};
use std::task::{Context as Wakers, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::remainder::Remainder;

/// The body of a request, as hyper hands it over.
#[derive(Debug)]
pub struct Source<B = Incoming> {
    /// There until its end, or until it is dropped.
    body: Option<B>,
    pace: Option<Box<Pace>>,
    /// Where it goes when it is dropped.
    heir: Weak<Mutex<Option<B>>>,
}

/// The least that is expected of a client while somebody waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a body may stand still.
    pub idle: Duration,
    /// How long it is waited for in all before `rate` counts.
    pub before_rate: Duration,
    /// Octets per second.
    pub rate: u32,
}

#[derive(Debug)]
struct Pace {
    patience: Patience,
    octets: u64,
    /// Spent waiting, without the wait that began at `since`.
    waited: Duration,
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> Source<B> {
    /// A body that somebody else keeps the time of, as the edge does on HTTP/1.
    pub fn new(body: B) -> Self {
        Self { body: Some(body), pace: None, heir: Weak::new() }
    }

    /// A body that breaks off when the client is too slow.
    pub fn paced(body: B, patience: Patience) -> Self {
        let pace = Pace { patience, octets: 0, waited: Duration::ZERO, since: None, alarm: None };
        Self { body: Some(body), pace: Some(Box::new(pace)), heir: Weak::new() }
    }

    /// Where the body will be once nobody reads it any more.
    pub fn remainder(&mut self) -> Remainder<B> {
        let (remainder, heir) = Remainder::new();
        self.heir = heir;
        remainder
    }
}

impl<B> Drop for Source<B> {
    fn drop(&mut self) {
        if let Some(heir) = self.heir.upgrade() {
            *heir.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

impl Pace {
    fn came(&mut self, octets: usize) {
        self.octets += octets as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Ready when the client has had its time.
    fn poll_late(&mut self, wakers: &mut Wakers<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let paid_for = Duration::from_secs(self.octets / u64::from(self.patience.rate.max(1)));
        let by_rate = paid_for.max(self.patience.before_rate).saturating_sub(self.waited);
        let deadline = since + by_rate.min(self.patience.idle);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(wakers)
    }
}

impl<B> http_body::Body for Source<B>
where
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, wakers: &mut Wakers<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match (Pin::new(body).poll_frame(wakers), &mut this.pace) {
            (Poll::Ready(next), pace) => {
                if let Some(pace) = pace {
                    let octets = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref().map(Bytes::len));
                    pace.came(octets.unwrap_or_default());
                }
                if next.is_none() {
                    this.body = None; // nothing is left of it
                }
                Poll::Ready(next.map(|next| next.map_err(io::Error::other)))
            }
            (Poll::Pending, Some(pace)) => pace
                .poll_late(wakers)
                .map(|()| Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the request body came too slowly")))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Sends one octet every so often.
    struct Drip(Duration, Option<Pin<Box<Sleep>>>);

    impl http_body::Body for Drip {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            wakers: &mut Wakers<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let every = self.0;
            let sleep = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
            sleep.as_mut().poll(wakers).map(|()| {
                self.1 = None;
                Some(Ok(Frame::data(Bytes::from_static(b"x"))))
            })
        }
    }

    const PATIENCE: Patience =
        Patience { idle: Duration::from_secs(30), before_rate: Duration::from_secs(20), rate: 500 };

    async fn time_to_fail(mut body: Source<Drip>) -> Duration {
        let began = Instant::now();
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return began.elapsed();
                }
                None => unreachable!("a drip has no end"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_off() {
        for every in [Duration::from_secs(1), Duration::from_secs(3600)] {
            let took = time_to_fail(Source::paced(Drip(every, None), PATIENCE)).await;
            assert!((19..=22).contains(&took.as_secs()), "{took:?}");
        }
        let endless = time_to_fail(Source::new(Drip(Duration::from_secs(1), None)));
        assert!(tokio::time::timeout(Duration::from_secs(3600), endless).await.is_err(), "not ours to time");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_waits_does_not_count() {
        let mut body = Source::paced(Drip(Duration::from_secs(1), None), PATIENCE);
        for _ in 0..10 {
            body.frame().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}
