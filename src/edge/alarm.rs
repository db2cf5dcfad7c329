use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all deadlines of a connection. It only wakes the task; whoever waits looks at the clock. So it may ring
/// too early, and need not be moved while every new deadline is later than the one it is set to: on a busy connection it
/// is touched once in ten seconds, not once per request.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<(Pin<Box<Sleep>>, Waker)>,
}

impl Alarm {
    /// Wakes the task at `deadline` or before.
    pub(crate) fn set(&mut self, cx: &mut Context<'_>, deadline: Instant, now: Instant) {
        match &mut self.sleep {
            Some((sleep, waker)) => {
                let set_to = sleep.deadline();
                if set_to > now && set_to <= deadline && waker.will_wake(cx.waker()) {
                    return;
                }
                sleep.as_mut().reset(deadline);
                waker.clone_from(cx.waker());
            }
            None => self.sleep = Some((Box::pin(sleep_until(deadline)), cx.waker().clone())),
        }
        if let Some((sleep, _)) = &mut self.sleep
            && sleep.as_mut().poll(cx).is_ready()
        {
            cx.waker().wake_by_ref();
        }
    }

    /// No deadline is left, for good.
    pub(crate) fn clear(&mut self) {
        self.sleep = None;
    }
}
