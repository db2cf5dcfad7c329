//! How many passwords are verified at a time: bcrypt is slow by design, and a stranger chooses how often.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The longest wait for a turn. Longer than a page full of images needs, shorter than people wait.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The most requests that wait, over all routes; the next is turned away at once.
const WAITING_MAX: usize = 512;

/// One gate for the whole process, however many files there are: the cores are the same ones.
static CORES: LazyLock<Gate> = LazyLock::new(|| Gate::new(available_parallelism().map_or(1, usize::from), WAIT_MAX));

/// Turns at the cores.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    wait: Duration,
}

impl Gate {
    /// As wide as the machine.
    pub(super) fn of_the_process() -> Self {
        CORES.clone()
    }

    pub(super) fn new(width: usize, wait: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(width)), waiting: Arc::new(Semaphore::new(WAITING_MAX)), wait }
    }

    /// A turn, to be held as long as the core is busy and not only as long as somebody waits for it: a client that
    /// leaves does not stop its bcrypt. `None` when too many wait or the wait was too long.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let _place = self.waiting.try_acquire().ok()?;
        timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await.ok()?.ok()
    }
}
