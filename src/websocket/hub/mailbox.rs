//! What waits for one client of a hub. Bounded: a client that does not read is closed, and costs the others nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio_tungstenite::tungstenite::Message;

use super::super::farewell::End;

/// How many messages may wait for a client, and how many octets; one message may always. Enough for a room that tells
/// whoever comes what was said before; a message for all is in memory once.
const MESSAGES: usize = 8192;
const OCTETS: usize = 4 << 20;

/// Messages on their way from a hub to one client.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Message>,
    octets: usize,
    end: Option<End>,
}

impl Mailbox {
    /// Puts a message in. `false`: there is no room, and the client is to be closed.
    pub(super) fn post(&self, message: Message) -> bool {
        let mut state = self.state();
        let octets = state.octets + message.len();
        let full = state.messages.len() >= MESSAGES || octets > OCTETS;
        let fits = !full || state.messages.is_empty();
        if fits {
            state.octets = octets;
            state.messages.push_back(message);
        } else {
            // It would not read these either.
            *state = State { end: Some(End::Slow), ..State::default() };
        }
        drop(state);
        self.waker.wake();
        fits
    }

    /// The last thing: once the messages are out, the client is closed.
    pub(super) fn close(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.waker.wake();
    }

    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Result<Message, End>> {
        if let Some(taken) = self.take() {
            return Poll::Ready(taken);
        }
        self.waker.register(cx.waker());
        // Something may have come in between.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Resolves when the mailbox has overflowed; for those who cannot take because their client does not.
    pub(super) fn poll_overflow(&self, cx: &mut Context<'_>) -> Poll<End> {
        self.waker.register(cx.waker());
        if self.state().end == Some(End::Slow) { Poll::Ready(End::Slow) } else { Poll::Pending }
    }

    /// Whether nothing more can come than what is in it.
    pub(super) fn is_closed(&self) -> bool {
        self.state().end.is_some()
    }

    fn take(&self) -> Option<Result<Message, End>> {
        let mut state = self.state();
        match state.messages.pop_front() {
            Some(message) => {
                state.octets -= message.len();
                Some(Ok(message))
            }
            None => state.end.take().map(Err),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mailbox: &Mailbox) -> Poll<Result<Message, End>> {
        mailbox.poll_take(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn it_is_bounded_in_number_and_octets() {
        for (count, size) in [(MESSAGES, 1), (16, OCTETS / 16)] {
            let mailbox = Mailbox::default();
            let message = Message::binary(vec![0; size]);
            for n in 0..count {
                assert!(mailbox.post(message.clone()), "{n} of {count}");
            }
            assert!(!mailbox.post(message));
            assert_eq!(taken(&mailbox).map_err(|end| end == End::Slow).map_ok(|_| ()), Poll::Ready(Err(true)));
        }
        let mailbox = Mailbox::default();
        assert!(mailbox.post(Message::binary(vec![0; 2 * OCTETS])), "one may always");
        assert!(!mailbox.post(Message::binary(vec![0; 1])));
    }

    #[test]
    fn the_end_comes_last() {
        let mailbox = Mailbox::default();
        assert!(taken(&mailbox).is_pending());
        assert!(mailbox.post(Message::text("a")));
        mailbox.close(End::Leaving);
        mailbox.close(End::Slow);
        assert!(matches!(taken(&mailbox), Poll::Ready(Ok(_))));
        assert!(matches!(taken(&mailbox), Poll::Ready(Err(End::Leaving))));
    }
}
