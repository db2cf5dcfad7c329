//! A hub's process and who is with it.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::mailbox::Mailbox;
use super::speech::{self, Id, Order, To};
use super::{Hubs, Opening};
use crate::failure::Failure;
use crate::gateway::{self, Conversation};
use crate::limits;
use crate::scripts;
use crate::spawner::{Child, Spawner};
use crate::status;
use crate::websocket::bridge;
use crate::websocket::clock::{Clock, Due};
use crate::websocket::farewell::{self, End};
use crate::websocket::framing::{Data, Framing, Unframer};
use crate::websocket::pipes::{Input, Output};

/// How long a hub without clients goes on.
const GRACE: Duration = Duration::from_secs(5);
/// The code for a client that does not take what is sent to it: try again later.
const SLOW: u16 = 1013;

/// Under which number somebody is in the room, and whose it is.
pub(super) type Welcome = (Id, Arc<gateway::Context>);

/// What happens at the door and in the room.
pub(super) enum Event {
    /// Somebody comes in and wants to know under which number.
    Join { mailbox: Arc<Mailbox>, environment: Arc<[CString]>, welcome: oneshot::Sender<Result<Welcome, Failure>> },
    /// Somebody says something.
    Said(Id, Data),
    /// Somebody has left, with this code.
    Left(Id, u16),
}

/// Under which path a room is known.
pub(super) struct Key {
    pub(super) hubs: Hubs,
    pub(super) path: Vec<u8>,
    pub(super) serial: u64,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.hubs.forget(&self.path, self.serial);
    }
}

/// A hub's process, started.
struct Opened {
    input: Input,
    output: Output,
    child: Child,
    context: Arc<gateway::Context>,
    permit: gateway::Permit,
}

/// Opens a room, keeps it, and closes it.
pub(super) async fn run(
    spawner: Spawner,
    key: Key,
    opening: Opening,
    row: Arc<status::Seat>,
    mut events: mpsc::Receiver<Event>,
) {
    let talk = opening.talk.clone();
    let opened = match start(&spawner, opening, &row).await {
        Ok(opened) => opened,
        Err(failure) => {
            drop(key);
            events.close();
            while let Some(event) = events.recv().await {
                if let Event::Join { welcome, .. } = event {
                    let _ = welcome.send(Err(failure.clone()));
                }
            }
            return;
        }
    };
    let Opened { input, output, child, context, permit } = opened;
    let mut room = Room {
        events,
        input,
        unframer: Unframer::new(Framing::Line, talk.websocket.max_message),
        output,
        members: HashMap::new(),
        next: 1,
        clock: Clock::new(Duration::ZERO, None, talk.gateway.idle),
        context: context.clone(),
    };
    let ended = async {
        context.pid.store(child.leader().await.unwrap_or_default(), Ordering::Relaxed);
        row.ended().await;
    };
    let end = tokio::select! {
        end = room.over(&child) => end,
        () = ended => Some("the hub was ended".to_owned()),
    };
    drop(key);
    room.events.close();
    if let Some(how) = end {
        for mailbox in room.members.values() {
            mailbox.close(End::HubEnded(how.clone()));
        }
    }
    // Those still at the door get no answer, and try again.
    let Room { input, output, events, .. } = room;
    drop(events);
    bridge::see_off(child, input, output, &context, &talk.gateway).await;
    drop(permit);
}

async fn start(spawner: &Spawner, opening: Opening, row: &Arc<status::Seat>) -> Result<Opened, Failure> {
    let mut call = opening.call;
    let file = PathBuf::from(std::ffi::OsStr::from_bytes(call.command.0.as_bytes()));
    // The row goes with the process.
    call.permit = Box::new((limits::admit(&[&opening.admission]).await?, row.clone()));
    row.runs(&call.context);
    row.talks();
    // The room is everybody's: nothing of it may be the first visitor's own.
    call.environment.retain(|variable| {
        let name = variable.as_bytes().split(|&b| b == b'=').next().unwrap_or_default();
        let personal = name.starts_with(b"HTTP_") || name.starts_with(b"REMOTE_");
        let asked = matches!(name, b"QUERY_STRING" | b"REQUEST_URI" | b"REDIRECT_URL" | b"REDIRECT_QUERY_STRING");
        !personal && !asked && !matches!(name, b"UNIQUE_ID" | b"AUTH_TYPE")
    });
    let failed = |error| scripts::failure(error, &file);
    let started = gateway::converse(spawner, &opening.talk.gateway, call).await.map_err(failed)?;
    let Conversation { stdin, stdout, child, context, permit } = started;
    let resources = |error| failed(gateway::Error::Resources(error));
    let (input, output) = (Input::new(stdin).map_err(resources)?, Output::new(stdout).map_err(resources)?);
    Ok(Opened { input, output, child, context, permit })
}

struct Room {
    events: mpsc::Receiver<Event>,
    input: Input,
    unframer: Unframer,
    output: Output,
    members: HashMap<Id, Arc<Mailbox>>,
    next: Id,
    clock: Clock,
    context: Arc<gateway::Context>,
}

impl Room {
    /// Resolves when the room closes: with how its process failed the members, or nothing where none is left.
    async fn over(&mut self, child: &Child) -> Option<String> {
        let mut ending = pin!(child.ending());
        loop {
            let empty = self.members.is_empty();
            tokio::select! {
                biased;
                changed = self.changed(empty) => match changed {
                    None => {}
                    Some(End::Closed) => {
                        let told = tokio::time::timeout(bridge::STATUS, ending).await;
                        return Some(told.map_or_else(|_| "the hub has closed".to_owned(), |e| farewell::describe(&e)));
                    }
                    // The process is there and does not behave; how it ends will be in the log.
                    Some(end) => return Some(end.farewell().map(|(_, reason)| reason).unwrap_or_default()),
                },
                ending = &mut ending => {
                    // Its last lines are still to be read.
                    let last = async { while self.changed(self.members.is_empty()).await.is_none() {} };
                    let _ = tokio::time::timeout(bridge::HELD_OPEN, last).await;
                    return Some(farewell::describe(&ending));
                }
                // Whoever has found the door comes in; whoever finds it afterwards opens another room.
                () = tokio::time::sleep(GRACE), if empty => if self.events.is_empty() {
                    return None;
                }
            }
        }
    }

    /// Resolves when the process fails its members, or with nothing when the room was empty and is not, or is now.
    async fn changed(&mut self, empty: bool) -> Option<End> {
        std::future::poll_fn(|cx| {
            while let Poll::Ready(due) = self.clock.poll(cx) {
                if due == Due::Stalled {
                    return Poll::Ready(Some(End::Deaf));
                }
            }
            if let Poll::Ready(end) = self.poll_outward(cx) {
                return Poll::Ready(Some(end));
            }
            self.poll_inward(cx);
            if self.members.is_empty() == empty { Poll::Pending } else { Poll::Ready(None) }
        })
        .await
    }

    /// From the process to the members. Nobody is waited for.
    fn poll_outward(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut read = false;
        loop {
            match self.unframer.line(&mut self.output.buffer, !self.output.open) {
                Ok(Some(line)) => match speech::parse(&line) {
                    Ok(order) => self.obey(order),
                    Err(why) => self.context.remark(&format!("a line of the hub was passed over: {why}")),
                },
                Ok(None) if !self.output.open => return Poll::Ready(End::Closed),
                // Once each turn: whoever is written to must come to read before there is more.
                Ok(None) if read => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(None) => {
                    ready!(self.output.poll_more(cx));
                    read = true;
                }
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Say { to, except, message } => {
                let mut slow = Vec::new();
                let mut post = |id: Id, mailbox: &Mailbox| {
                    if !except.contains(&id) && !mailbox.post(message.clone()) {
                        slow.push(id);
                    }
                };
                match to {
                    To::All => self.members.iter().for_each(|(&id, mailbox)| post(id, mailbox)),
                    To::These(ids) => {
                        ids.iter().filter_map(|id| self.members.get_key_value(id)).for_each(|(&id, m)| post(id, m));
                    }
                }
                for id in slow {
                    self.leave(id, SLOW);
                }
            }
            Order::Close { clients, code, reason } => {
                for id in clients {
                    if let Some(mailbox) = self.members.get(&id) {
                        mailbox.close(End::Wanted(code, reason.clone()));
                        self.leave(id, code);
                    }
                }
            }
        }
    }

    /// From the members to the process. A process that does not read stops the reading from the members.
    fn poll_inward(&mut self, cx: &mut Context<'_>) {
        loop {
            let mut more = true;
            while more && self.input.has_room() {
                match self.events.poll_recv(cx) {
                    Poll::Ready(Some(event)) => self.take(event),
                    Poll::Ready(None) | Poll::Pending => more = false,
                }
            }
            let mut taken = false;
            let blocked = self.input.poll_write(cx, &mut taken).is_pending();
            if taken || !blocked {
                self.clock.set_stalled(false);
            }
            self.clock.set_stalled(blocked);
            if blocked || !more {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Join { mailbox, environment, welcome } => {
                let id = self.next;
                self.next += 1;
                // Whoever did not wait for the answer is not here.
                if welcome.send(Ok((id, self.context.clone()))).is_ok() {
                    self.members.insert(id, mailbox);
                    self.tell(speech::open(id, &environment));
                }
            }
            Event::Said(id, data) => {
                if self.members.contains_key(&id) {
                    self.tell(speech::message(id, &data));
                }
            }
            Event::Left(id, code) => self.leave(id, code),
        }
    }

    /// Every client that came goes once, whoever wanted that.
    fn leave(&mut self, id: Id, code: u16) {
        if self.members.remove(&id).is_some() {
            self.tell(speech::close(id, code));
        }
    }

    fn tell(&mut self, line: String) {
        self.input.push(Framing::Binary, Data { text: true, octets: Bytes::from(line) });
    }
}
