//! One client of a hub.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::mailbox::Mailbox;
use super::room::Event;
use super::speech::Id;
use crate::connection::Seat;
use crate::gateway;
use crate::limits;
use crate::websocket::Talk;
use crate::websocket::client::Client;
use crate::websocket::clock::{Clock, Due};
use crate::websocket::errors::{self, Errors};
use crate::websocket::farewell::End;
use crate::websocket::framing::Data;

/// Somebody's place in a room.
pub(in crate::websocket) struct Member {
    pub(super) id: Id,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) talk: Arc<Talk>,
    /// The room's process.
    pub(super) context: Arc<gateway::Context>,
}

/// How long a client that takes nothing keeps a place in a room that has ended, or has closed it.
const PATIENCE: Duration = Duration::from_secs(10);

/// An event for which the room has no place yet.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Member {
    /// Carries the conversation to its end. `open` is its place among the open ones.
    pub(in crate::websocket) async fn run(self, upgrade: OnUpgrade, seat: Arc<Seat>, open: limits::Place) {
        let Ok(upgraded) = upgrade.await else {
            self.leave(&End::Gone).await;
            return;
        };
        let websocket = &self.talk.websocket;
        let mut visit = Visit {
            client: Client::new(upgraded, websocket.max_message),
            clock: Clock::new(websocket.ping, websocket.idle, Some(PATIENCE)),
            waiting: None,
            errors: self.talk.errors.then(|| Box::new(Errors::new(self.context.clone()))),
        };
        let end = tokio::select! {
            biased;
            end = std::future::poll_fn(|cx| visit.poll(cx, &self)) => end,
            () = seat.leaving() => End::Leaving,
        };
        // In a box, for it is needed once and late: most visitors are there, and quiet.
        Box::pin(async move {
            let Visit { mut client, waiting, errors, .. } = visit;
            if let (Some(errors), End::HubEnded(_)) = (errors, &end) {
                // If there is no room it is in the log, as everybody's is.
                client.send_if_room(errors.rest().await);
            }
            let leave = async {
                // What it said before it left is said first.
                if let Some(waiting) = waiting {
                    waiting.await;
                }
                self.leave(&end).await;
            };
            tokio::join!(client.part(&end), leave);
            drop(open);
        })
        .await;
    }

    async fn leave(&self, end: &End) {
        let code = match end {
            End::Left(code) => *code,
            end => end.farewell().map_or(1006, |(code, _)| code),
        };
        // A room that is closed knows already.
        let _ = self.events.send(Event::Left(self.id, code)).await;
    }
}

struct Visit {
    client: Client,
    clock: Clock,
    waiting: Option<Waiting>,
    errors: Option<Box<Errors>>,
}

impl Visit {
    fn poll(&mut self, cx: &mut Context<'_>, member: &Member) -> Poll<End> {
        if self.client.took() {
            self.clock.heard();
            self.clock.set_stalled(false);
        }
        while let Poll::Ready(due) = self.clock.poll(cx) {
            match due {
                Due::Ping => {
                    if let Err(end) = self.client.ping() {
                        return Poll::Ready(end);
                    }
                }
                Due::Silent => return Poll::Ready(End::Silent),
                Due::Idle => return Poll::Ready(End::Idle),
                // The room has ended, or has closed it, and it does not even hear that out.
                Due::Stalled => return Poll::Ready(End::Silent),
            }
        }
        if let Poll::Ready(end) = self.poll_inward(cx, member) {
            return Poll::Ready(end);
        }
        self.poll_outward(cx, member)
    }

    fn poll_inward(&mut self, cx: &mut Context<'_>, member: &Member) -> Poll<End> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                // Nobody can answer pings while nobody is read.
                self.clock.heard();
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            match ready!(self.client.poll_receive(cx)) {
                Ok(Some(data)) => {
                    self.clock.heard();
                    self.clock.active();
                    let event = Event::Said(member.id, data);
                    if let Err(mpsc::error::TrySendError::Full(event)) = member.events.try_send(event) {
                        let events = member.events.clone();
                        // A room that is closed says so in the mailbox.
                        self.waiting = Some(Box::pin(async move { drop(events.send(event).await) }));
                    }
                }
                Ok(None) => self.clock.heard(),
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    fn poll_outward(&mut self, cx: &mut Context<'_>, member: &Member) -> Poll<End> {
        loop {
            match self.client.poll_room(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => {
                    let overflow = member.mailbox.poll_overflow(cx);
                    if member.mailbox.is_closed() {
                        self.clock.set_stalled(true);
                    }
                    return overflow;
                }
            }
            if let Some(errors) = &mut self.errors
                && let Poll::Ready(data) = errors.poll(cx)
            {
                if let Err(end) = self.client.send(data) {
                    return Poll::Ready(end);
                }
                continue;
            }
            match member.mailbox.poll_take(cx) {
                Poll::Ready(Ok(message)) => {
                    self.clock.active();
                    let sent = match message {
                        Message::Text(text) if self.errors.is_some() => {
                            self.client.send(errors::wrap(Data { text: true, octets: text.into() }))
                        }
                        message => self.client.send_message(message),
                    };
                    if let Err(end) = sent {
                        return Poll::Ready(end);
                    }
                }
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => {
                    return match ready!(self.client.poll_flush(cx)) {
                        Err(end) => Poll::Ready(end),
                        Ok(()) => Poll::Pending,
                    };
                }
            }
        }
    }
}
