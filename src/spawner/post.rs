//! What is known of one job, and who waits to hear more.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::Ending;
use super::line::lock;

/// Where the news of a job arrives. Shared by the line, which tells, and the job's holders, who wait.
#[derive(Debug, Default)]
pub(super) struct Post(Mutex<Inbox>);

/// What is known of a job.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) pid: Option<i32>,
    pub(super) ending: Option<Ending>,
    /// Nothing of it is left.
    pub(super) gone: bool,
}

impl State {
    /// The leader, once it is known to run; `Some(None)` where it ended without ever being told of.
    pub(super) fn told(&self) -> Option<Option<i32>> {
        (self.pid.is_some() || self.ending.is_some()).then_some(self.pid)
    }
}

#[derive(Debug, Default)]
struct Inbox {
    state: State,
    /// Most jobs have one task that waits, and none more than a few: its request, its standard error, its WebSocket.
    waits: Option<Waker>,
    others: Vec<Waker>,
}

impl Post {
    /// What is known now.
    pub(super) fn state(&self) -> State {
        lock(&self.0).state
    }

    /// Something has become known.
    pub(super) fn tell(&self, change: impl FnOnce(&mut State)) {
        let (first, others) = {
            let mut inbox = lock(&self.0);
            change(&mut inbox.state);
            (inbox.waits.take(), std::mem::take(&mut inbox.others))
        };
        first.into_iter().chain(others).for_each(Waker::wake);
    }

    /// What `found` makes of the state, as soon as it makes something of it; until then the task is woken by all news.
    pub(super) fn poll<T>(&self, context: &mut Context<'_>, found: impl Fn(&State) -> Option<T>) -> Poll<T> {
        let mut inbox = lock(&self.0);
        if let Some(found) = found(&inbox.state) {
            return Poll::Ready(found);
        }
        let waker = context.waker();
        if !inbox.waits.iter().chain(&inbox.others).any(|waits| waits.will_wake(waker)) {
            match &mut inbox.waits {
                free @ None => *free = Some(waker.clone()),
                Some(_) => inbox.others.push(waker.clone()),
            }
        }
        Poll::Pending
    }

    /// The same as a future.
    pub(super) async fn until<T>(&self, found: impl Fn(&State) -> Option<T>) -> T {
        std::future::poll_fn(|context| self.poll(context, &found)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_told() {
        let post = Arc::new(Post::default());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let post = post.clone();
                tokio::spawn(async move { post.until(|state| state.pid.filter(|_| state.gone)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        post.tell(|state| state.pid = Some(7));
        tokio::task::yield_now().await;
        post.tell(|state| state.gone = true);
        for told in waiting {
            assert_eq!(told.await.unwrap(), 7);
        }
        assert_eq!(post.state().pid, Some(7));
    }
}
