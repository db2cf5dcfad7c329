//! One process for everybody at a URL path: the path is a room, the process speaks of its clients by number.
//!
//! ```text
//!  member ─► events ─► room ─► standard input        a room that does not read stops the reading from its members
//!  member ◄─ mailbox ◄─ room ◄─ standard output      a member that does not read is closed, alone
//! ```

mod mailbox;
mod member;
mod room;
mod speech;

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::Talk;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::gateway::Call;
use crate::limits::Admission;
use mailbox::Mailbox;
pub(super) use member::Member;
use room::Event;

/// How many events may wait for a room; then its members wait.
const EVENTS: usize = 32;
/// How often to try again where a room ends at the very moment somebody comes.
const TRIES: usize = 4;

/// The rooms that are open.
#[derive(Clone, Default)]
pub struct Hubs(Arc<Mutex<Rooms>>);

#[derive(Default)]
struct Rooms {
    open: HashMap<Vec<u8>, Door>,
    serial: u64,
    /// Each room has one of these until its process is gone, open or not.
    held: Arc<()>,
}

/// The way into a room; the serial number tells it from the one that had the path before.
#[derive(Clone)]
struct Door {
    serial: u64,
    events: mpsc::Sender<Event>,
}

/// What it takes to open a room.
pub(super) struct Opening {
    /// The process; its environment is that of the first client.
    pub(super) call: Call,
    /// Variables that do not come from the request, how many; they stand last.
    pub(super) fixed: usize,
    /// The sub-protocol of the first client.
    pub(super) protocol: Option<String>,
    pub(super) admission: Arc<Admission>,
    pub(super) talk: Arc<Talk>,
}

impl Hubs {
    /// Enters the room at `path`; whoever comes first opens it.
    ///
    /// # Errors
    /// What keeps its process from being started.
    pub(super) async fn join(&self, app: &Arc<App>, path: &[u8], opening: Opening) -> Result<Member, Failure> {
        let talk = opening.talk.clone();
        let own = opening.call.environment.len().saturating_sub(opening.fixed);
        let own = opening.call.environment.iter().take(own).cloned();
        let environment: Arc<[CString]> = own.chain(super::chosen(opening.protocol.as_deref())).collect();
        let mut opening = Some(opening);
        for _ in 0..TRIES {
            let Some(door) = self.door(app, path, &mut opening)? else { break };
            let mailbox = Arc::new(Mailbox::default());
            let (welcome, answer) = oneshot::channel();
            let event = Event::Join { mailbox: mailbox.clone(), environment: environment.clone(), welcome };
            // A room that ends does not answer.
            if door.events.send(event).await.is_ok()
                && let Ok(welcome) = answer.await
            {
                let (id, context) = welcome?;
                return Ok(Member { id, events: door.events, mailbox, talk, context });
            }
            self.forget(path, door.serial);
        }
        Err(Failure::new(Kind::OutOfResources, "the hub ends as soon as somebody comes"))
    }

    fn door(&self, app: &Arc<App>, path: &[u8], opening: &mut Option<Opening>) -> Result<Option<Door>, Failure> {
        let mut rooms = self.rooms();
        if let Some(door) = rooms.open.get(path).filter(|door| !door.events.is_closed()) {
            return Ok(Some(door.clone()));
        }
        // A room outlives its last client: whoever knocks at one path after the other shall not fill the machine.
        if Arc::strong_count(&rooms.held) > app.config.websockets.capacity() {
            return Err(Failure::new(Kind::Busy, "as many hubs run as there may be WebSockets (limits.websockets)"));
        }
        let Some(opening) = opening.take() else { return Ok(None) };
        // The process has a row of its own in the live view: it is nobody's alone, and outlives whoever came first.
        let context = &opening.call.context;
        let id = format!("{}-hub", context.id);
        let row = Arc::new(app.live.enter(&app.metrics, &id, &context.script, "everybody".to_owned()));
        rooms.serial += 1;
        let (events, incoming) = mpsc::channel(EVENTS);
        let door = Door { serial: rooms.serial, events };
        rooms.open.insert(path.to_vec(), door.clone());
        let key = room::Key { hubs: self.clone(), path: path.to_vec(), serial: rooms.serial };
        let held = rooms.held.clone();
        let spawner = app.spawner.clone();
        tokio::spawn(async move {
            room::run(spawner, key, opening, row, incoming).await;
            drop(held);
        });
        Ok(Some(door))
    }

    fn forget(&self, path: &[u8], serial: u64) {
        let mut rooms = self.rooms();
        if rooms.open.get(path).is_some_and(|door| door.serial == serial) {
            rooms.open.remove(path);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // No code panics under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
