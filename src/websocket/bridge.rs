//! One process for one connection: what the client says is written to it, what it writes is said to the client.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};

use super::Talk;
use super::client::Client;
use super::clock::{Clock, Due};
use super::errors::{self, Errors};
use super::farewell::End;
use super::framing::{Framing, Said, Unframer};
use super::pipes::{Input, Output};
use crate::connection::Seat;
use crate::gateway::{self, Conversation};
use crate::limits;
use crate::spawner::{Child, Ending};

/// How long children of a script that has ended may keep the conversation going.
pub(super) const HELD_OPEN: Duration = Duration::from_secs(1);
/// How long a script that has closed its output may take to end and so tell how.
pub(super) const STATUS: Duration = Duration::from_millis(500);
/// How often a client may take nothing for as long as [`HELD_OPEN`] of what a script that has ended left for it.
const PATIENCE: u32 = 10;
/// Longest message, octets, whatever the configuration says: the `length` framing has no larger numbers.
const LONGEST: usize = u32::MAX as usize;

/// Carries a conversation to its end, and the process to its own. `open` is its place among the open ones.
pub(super) async fn run(
    upgrade: OnUpgrade,
    seat: Arc<Seat>,
    conversation: Conversation,
    talk: Arc<Talk>,
    open: limits::Place,
) {
    let Ok(upgraded) = upgrade.await else {
        // Dropping the child ends it.
        return;
    };
    let Conversation { stdin, stdout, child, context, permit } = conversation;
    let Some(mut bridge) = Bridge::new(upgraded, stdin, stdout, &talk, &context) else { return };
    let first = {
        let ending = child.ending();
        tokio::pin!(ending);
        tokio::select! {
            biased;
            end = bridge.over() => Ok(end),
            ending = &mut ending => Err(ending),
            () = seat.leaving() => Ok(End::Leaving),
        }
    };
    // In a box, for it is needed once and late: most visitors are there, and quiet.
    Box::pin(async move {
        let end = match first {
            Ok(End::Closed) => match tokio::time::timeout(STATUS, child.ending()).await {
                Ok(ending) => End::Ended(ending),
                Err(_) => End::Closed,
            },
            Ok(end) => end,
            Err(ending) => bridge.rest(ending).await,
        };
        tracing::debug!(id = context.id, script = context.script, client = context.client, ?end, "WebSocket closed");
        let Bridge { mut client, input, output, errors, .. } = bridge;
        if let (Some(errors), End::Ended(_)) = (errors, &end) {
            // If there is no room it is in the log, as everybody's is.
            client.send_if_room(errors.rest().await);
        }
        tokio::join!(client.part(&end), see_off(child, input, output, &context, &talk.gateway));
        drop((permit, open));
    })
    .await;
}

/// Lets the script see the end of its input, waits for it to end by itself, then ends it. Its output is read to the
/// end, so that it does not hang in it.
pub(super) async fn see_off(
    mut child: Child,
    mut input: Input,
    mut output: Output,
    context: &gateway::Context,
    settings: &gateway::Settings,
) {
    let patience = if settings.kill_on_disconnect { Some(settings.grace) } else { settings.total };
    let by_itself = async { tokio::join!(input.finish(), output.drain(), child.wait()).2 };
    let ending = match patience {
        Some(patience) => tokio::time::timeout(patience, by_itself).await.ok(),
        None => Some(by_itself.await),
    };
    let ending = match ending {
        Some(ending) => ending,
        None => {
            child.end();
            child.wait().await
        }
    };
    context.ended(&ending);
}

struct Bridge {
    client: Client,
    clock: Clock,
    framing: Framing,
    input: Input,
    unframer: Unframer,
    output: Output,
    errors: Option<Box<Errors>>,
}

impl Bridge {
    /// `None`: out of descriptors.
    fn new(
        upgraded: Upgraded,
        stdin: OwnedFd,
        stdout: OwnedFd,
        talk: &Talk,
        context: &Arc<gateway::Context>,
    ) -> Option<Self> {
        let websocket = &talk.websocket;
        let max = websocket.max_message.min(LONGEST);
        Some(Self {
            client: Client::new(upgraded, max),
            clock: Clock::new(websocket.ping, websocket.idle, talk.gateway.idle),
            framing: websocket.framing,
            input: Input::new(stdin).ok()?,
            unframer: Unframer::new(websocket.framing, max),
            output: Output::new(stdout).ok()?,
            errors: talk.errors.then(|| Box::new(Errors::new(context.clone()))),
        })
    }

    /// What is still to be said when the script has ended. Its children may keep the conversation going for a moment
    /// only; but what it has written is for the client, who may take its time as long as it takes anything.
    async fn rest(&mut self, ending: Ending) -> End {
        let mut patience = PATIENCE;
        loop {
            let before = self.client.written();
            match tokio::time::timeout(HELD_OPEN, self.over()).await {
                Ok(End::Closed) => return End::Ended(ending),
                Ok(end) => return end,
                Err(_) if !self.client.is_behind() || patience == 0 => return End::Ended(ending),
                Err(_) if self.client.written() > before => patience = PATIENCE,
                Err(_) => patience -= 1,
            }
        }
    }

    /// Resolves when the conversation is over.
    async fn over(&mut self) -> End {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.client.took() {
            self.clock.heard();
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
                Due::Stalled => return Poll::Ready(End::Deaf),
            }
        }
        if let Poll::Ready(end) = self.poll_inward(cx) {
            return Poll::Ready(end);
        }
        self.poll_outward(cx)
    }

    /// From the client to the script. A script that does not read stops the reading here.
    fn poll_inward(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut more = true;
            while more && self.input.has_room() {
                match self.client.poll_receive(cx) {
                    Poll::Ready(Ok(Some(data))) => {
                        self.clock.heard();
                        self.clock.active();
                        self.input.push(self.framing, data);
                    }
                    Poll::Ready(Ok(None)) => self.clock.heard(),
                    Poll::Ready(Err(end)) => {
                        // What it said before it left is still for the script, as far as that fits.
                        let _ = self.input.poll_write(cx, &mut false);
                        return Poll::Ready(end);
                    }
                    Poll::Pending => more = false,
                }
            }
            let mut taken = false;
            let written = self.input.poll_write(cx, &mut taken);
            if written.is_pending() {
                // Nobody can answer pings while nobody is read.
                self.clock.heard();
                if taken {
                    self.clock.set_stalled(false);
                }
                self.clock.set_stalled(true);
                return Poll::Pending;
            }
            self.clock.set_stalled(false);
            if !more {
                return Poll::Pending;
            }
        }
    }

    /// From the script to the client. A client that does not read stops the reading here.
    fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Err(end) = ready!(self.client.poll_room(cx)) {
                return Poll::Ready(end);
            }
            if let Some(errors) = &mut self.errors
                && let Poll::Ready(data) = errors.poll(cx)
            {
                if let Err(end) = self.client.send(data) {
                    return Poll::Ready(end);
                }
                continue;
            }
            match self.unframer.next(&mut self.output.buffer, !self.output.open) {
                Ok(Some(Said::Message(data))) => {
                    self.clock.active();
                    let data = if self.errors.is_some() { errors::wrap(data) } else { data };
                    if let Err(end) = self.client.send(data) {
                        return Poll::Ready(end);
                    }
                }
                Ok(Some(Said::Close(code, reason))) => return Poll::Ready(End::Wanted(code, reason)),
                Ok(None) => {
                    if let Err(end) = ready!(self.client.poll_flush(cx)) {
                        return Poll::Ready(end);
                    }
                    if !self.output.open {
                        return Poll::Ready(End::Closed);
                    }
                    ready!(self.output.poll_more(cx));
                }
                Err(end) => return Poll::Ready(end),
            }
        }
    }
}
