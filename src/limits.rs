//! Who may run now, who waits, and who is sent away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::{Failure, Kind};

/// A number of places, and a bounded queue before them.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    capacity: usize,
    queued: AtomicUsize,
    queue: usize,
    patience: Duration,
}

/// A place among the running; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _places: Vec<OwnedSemaphorePermit>,
}

impl Admission {
    /// `running` at once, `queue` waiting for up to `patience`.
    pub fn new(running: usize, queue: usize, patience: Duration) -> Self {
        let capacity = running.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(capacity));
        Self { places, capacity, queued: AtomicUsize::new(0), queue, patience }
    }

    /// How many may run at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many run now, and how many wait.
    pub fn load(&self) -> (usize, usize) {
        (self.capacity - self.places.available_permits(), self.queued.load(Ordering::Relaxed))
    }

    /// Takes the place of `old` after a reload, so that what runs there counts here. The same one where nothing changed;
    /// otherwise each place taken there is taken here too until it is free. (Who waits there enters there.)
    #[must_use]
    pub fn inherit(self: Arc<Self>, old: &Arc<Self>) -> Arc<Self> {
        if (self.capacity, self.queue, self.patience) == (old.capacity, old.queue, old.patience) {
            return old.clone();
        }
        old.places.forget_permits(old.places.available_permits());
        for _ in 0..old.load().0.min(self.capacity) {
            let (here, there) = (self.places.clone(), old.places.clone());
            let Ok(taken) = here.try_acquire_owned() else { break };
            tokio::spawn(async move {
                let free = there.acquire().await;
                drop((free, taken));
            });
        }
        self
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::join(&self.queued, self.queue)?;
        match tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Failure::new(Kind::Busy, "waited too long for a place (queue-timeout)")),
        }
    }
}

/// A place under every one of `admissions`, in their order.
///
/// # Errors
/// [`Kind::Busy`] where a queue is full or the wait too long.
pub async fn admit(admissions: &[&Admission]) -> Result<Place, Failure> {
    let mut places = Vec::with_capacity(admissions.len());
    for admission in admissions {
        places.push(admission.enter().await?);
    }
    Ok(Place { _places: places })
}

/// One more in a queue, for as long as it lives: a client that leaves while it waits must not be counted for ever.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(queued: &'a AtomicUsize, most: usize) -> Result<Self, Failure> {
        if queued.fetch_add(1, Ordering::AcqRel) >= most {
            queued.fetch_sub(1, Ordering::AcqRel);
            return Err(Failure::new(Kind::Busy, "the queue is full (max-running, queue)"));
        }
        Ok(Self(queued))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_number_and_time() {
        let admission = Arc::new(Admission::new(1, 1, Duration::from_secs(5)));
        let first = admit(&[&admission]).await.unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admit(&[&admission]).await.map(drop).map_err(|f| f.kind) }
        });
        while admission.load().1 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admit(&[&admission]).await.unwrap_err().kind, Kind::Busy);
        assert_eq!(waiting.await.unwrap(), Err(Kind::Busy), "five seconds are over");
        drop(first);
        assert_eq!(admission.load(), (0, 0));
        admit(&[&admission]).await.unwrap();
    }
}
