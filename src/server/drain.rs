//! The end of a server: no new connections, requests in flight may finish, then everything goes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The signals that mean something to a server.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they no longer kill the process.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT, and does `reload` for each SIGHUP.
    pub(super) async fn until_end(&mut self, mut reload: impl AsyncFnMut()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => {
                    // Python's words, on standard output.
                    let _ = writeln!(io::stdout(), "\nKeyboard interrupt received, exiting.");
                    return;
                }
                _ = self.hang_up.recv() => reload().await,
            }
        }
    }

    /// Waits for one more.
    pub(super) async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells connections that the server is going, and knows how many there still are.
#[derive(Clone)]
pub(super) struct Drain {
    begun: watch::Receiver<bool>,
    begin: Arc<watch::Sender<bool>>,
    open: Arc<watch::Sender<usize>>,
    /// The same as `begun`, for those who ask at every request.
    going: Arc<AtomicBool>,
}

/// How draining came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every connection is closed, or had the time to.
    InTime,
    /// A second signal: at once.
    AtOnce,
}

/// One open connection.
pub(super) struct Place(Arc<watch::Sender<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Drain {
    pub(super) fn new() -> Self {
        let (begin, begun) = watch::channel(false);
        Self { begun, begin: Arc::new(begin), open: Arc::new(watch::channel(0).0), going: Arc::default() }
    }

    /// Turns true when the server begins to go.
    pub(super) fn signal(&self) -> watch::Receiver<bool> {
        self.begun.clone()
    }

    /// Resolves when the server begins to go.
    pub(super) async fn begun(&self) {
        let mut begun = self.begun.clone();
        // An error means that nobody is left who could say so: the server has gone.
        let _ = begun.wait_for(|begun| *begun).await;
    }

    /// Whether the server has begun to go.
    pub(super) fn has_begun(&self) -> bool {
        self.going.load(Ordering::Relaxed)
    }

    /// Counts a connection for as long as the place lives.
    pub(super) fn enter(&self) -> Place {
        self.open.send_modify(|open| *open += 1);
        Place(self.open.clone())
    }

    /// Tells every connection to come to its end, and waits for them up to `deadline` or a second signal.
    pub(super) async fn run(&self, signals: &mut Signals, deadline: Duration) -> Ending {
        let mut open = self.open.subscribe();
        let connections = *self.open.borrow();
        tracing::info!(connections, ?deadline, "draining: no new connections; waiting for those there are");
        self.going.store(true, Ordering::Relaxed);
        let _ = self.begin.send(true);
        tokio::select! {
            _ = open.wait_for(|open| *open == 0) => Ending::InTime,
            () = tokio::time::sleep(deadline) => {
                tracing::warn!(connections = *self.open.borrow(), "draining: the time is up, the rest is cut off");
                Ending::InTime
            }
            () = signals.again() => {
                tracing::warn!(connections = *self.open.borrow(), "draining: a second signal, everything ends at once");
                Ending::AtOnce
            }
        }
    }
}
