//! The live view as server-sent events.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::page;
use crate::app::App;
use crate::body::Stream;

/// Between two events.
const EVERY: Duration = Duration::from_secs(1);
/// Events of one answer. Then the browser asks again by itself, so that a server that ends need not wait for it long.
const EVENTS: usize = 5;

/// The answer that never says the same twice.
pub(super) struct Events {
    app: Arc<App>,
    token: Option<String>,
    ticks: Interval,
    left: usize,
}

impl Events {
    pub(super) fn new(app: Arc<App>, token: Option<String>) -> Self {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { app, token, ticks, left: EVENTS }
    }
}

impl Stream for Events {
    fn poll_next(mut self: Pin<&mut Self>, wakers: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.ticks.poll_tick(wakers).is_pending() {
            return Poll::Pending;
        }
        self.left -= 1;
        let mut event = String::from("retry: 300\n");
        for line in page::tables(&self.app, self.token.as_deref()).lines() {
            event.push_str("data: ");
            event.push_str(line);
            event.push('\n');
        }
        event.push('\n');
        Poll::Ready(Some(Ok(event.into())))
    }
}
