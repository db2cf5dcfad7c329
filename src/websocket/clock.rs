//! What time demands of a conversation: pings, and ends to silence.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a conversation without any deadline sleeps.
const FAR: Duration = Duration::from_secs(24 * 3600);
/// How many pings a client may leave unanswered.
const MISSED: u8 = 2;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping is to be sent.
    Ping,
    /// Nothing came back for two of them.
    Silent,
    /// Nobody said anything for too long.
    Idle,
    /// Somebody has not taken what is there for them for too long.
    Stalled,
}

/// The one timer of a conversation. It is set anew only when it fires, so a message costs it next to nothing.
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    /// Between two pings; zero for none.
    ping: Duration,
    ping_at: Instant,
    missed: u8,
    heard: bool,
    idle: Option<Duration>,
    last: Instant,
    stall: Option<Duration>,
    stalled: Option<Instant>,
}

impl Clock {
    pub(super) fn new(ping: Duration, idle: Option<Duration>, stall: Option<Duration>) -> Self {
        let now = Instant::now();
        let mut clock = Self {
            timer: Box::pin(sleep_until(now)),
            ping,
            ping_at: now + ping,
            missed: 0,
            heard: false,
            idle,
            last: now,
            stall,
            stalled: None,
        };
        let next = clock.next(now);
        clock.timer.as_mut().reset(next);
        clock
    }

    /// The client is there: something of it was read, or nothing can be because it is not being read.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// A message went one way or the other.
    pub(super) fn active(&mut self) {
        if self.idle.is_some() {
            self.last = Instant::now();
        }
    }

    /// Whether something waits to be taken, and nothing of it was.
    pub(super) fn set_stalled(&mut self, stalled: bool) {
        match (stalled, self.stalled) {
            (false, Some(_)) => self.stalled = None,
            (true, None) => {
                let now = Instant::now();
                self.stalled = Some(now);
                let next = self.next(now);
                if next < self.timer.deadline() {
                    self.timer.as_mut().reset(next);
                }
            }
            _ => {}
        }
    }

    fn next(&self, now: Instant) -> Instant {
        let ping = (!self.ping.is_zero()).then_some(self.ping_at);
        let idle = self.idle.map(|idle| self.last + idle);
        let stall = self.stalled.zip(self.stall).map(|(since, stall)| since + stall);
        [ping, idle, stall].into_iter().flatten().min().unwrap_or(now + FAR)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.stalled.zip(self.stall).is_some_and(|(since, stall)| now >= since + stall) {
                return Poll::Ready(Due::Stalled);
            }
            if self.idle.is_some_and(|idle| now >= self.last + idle) {
                return Poll::Ready(Due::Idle);
            }
            let ping = !self.ping.is_zero() && now >= self.ping_at;
            if ping {
                self.missed = if self.heard { 0 } else { self.missed + 1 };
                self.heard = false;
                self.ping_at = now + self.ping;
            }
            let next = self.next(now);
            self.timer.as_mut().reset(next);
            // The first count is for the time before the first ping.
            if ping {
                return Poll::Ready(if self.missed > MISSED { Due::Silent } else { Due::Ping });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn due(clock: &mut Clock) -> (Due, Duration) {
        let start = Instant::now();
        let due = std::future::poll_fn(|cx| clock.poll(cx)).await;
        (due, Instant::now() - start)
    }

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[tokio::test(start_paused = true)]
    async fn two_pings_may_be_missed() {
        let mut clock = Clock::new(S(30), None, None);
        assert_eq!(due(&mut clock).await, (Due::Ping, S(30)));
        clock.heard();
        assert_eq!(due(&mut clock).await, (Due::Ping, S(30)));
        assert_eq!(due(&mut clock).await, (Due::Ping, S(30)));
        assert_eq!(due(&mut clock).await, (Due::Ping, S(30)));
        assert_eq!(due(&mut clock).await, (Due::Silent, S(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_stalls_end() {
        let mut clock = Clock::new(S(0), Some(S(10)), Some(S(4)));
        tokio::time::advance(S(8)).await;
        clock.active();
        assert_eq!(due(&mut clock).await, (Due::Idle, S(10)));
        let mut clock = Clock::new(S(0), Some(S(10)), Some(S(4)));
        clock.set_stalled(true);
        tokio::time::advance(S(3)).await;
        clock.set_stalled(false);
        clock.set_stalled(true);
        assert_eq!(due(&mut clock).await, (Due::Stalled, S(4)));
    }
}
