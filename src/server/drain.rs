//! The end of a server: no new connections, requests in flight may finish, then everything goes.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::access_log::LogFile;

/// Tells connections that the server is going, and knows how many there still are.
#[derive(Clone)]
pub(super) struct Drain {
    begun: watch::Receiver<bool>,
    begin: Arc<watch::Sender<bool>>,
    open: Arc<watch::Sender<usize>>,
    deadline: Duration,
}

/// The signals a server acts upon.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself; to be called before anybody is told that the server is up.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// One open connection.
pub(super) struct Place(Arc<watch::Sender<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Drain {
    pub(super) fn new(deadline: Duration) -> Self {
        let (begin, begun) = watch::channel(false);
        Self { begun, begin: Arc::new(begin), open: Arc::new(watch::channel(0).0), deadline }
    }

    /// Resolves when the server begins to go.
    pub(super) async fn begun(&self) {
        let mut begun = self.begun.clone();
        // An error means that nobody is left who could say so: the server has gone.
        let _ = begun.wait_for(|begun| *begun).await;
    }

    /// Counts a connection for as long as the place lives.
    pub(super) fn enter(&self) -> Place {
        self.open.send_modify(|open| *open += 1);
        Place(self.open.clone())
    }

    /// Waits for a signal, then for the connections, up to the deadline or a second signal.
    pub(super) async fn until_over(&self, signals: Signals, log: &LogFile) {
        let Signals { mut terminate, mut interrupt, mut hang_up } = signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => {
                    // Python's words, on standard output.
                    let _ = writeln!(io::stdout(), "\nKeyboard interrupt received, exiting.");
                    break;
                }
                _ = hang_up.recv() => log.reopen(),
            }
        }
        tracing::info!(open = *self.open.borrow(), "draining: no new connections");
        let _ = self.begin.send(true);
        let mut open = self.open.subscribe();
        tokio::select! {
            _ = open.wait_for(|open| *open == 0) => {}
            () = tokio::time::sleep(self.deadline) => tracing::warn!(open = *self.open.borrow(), "draining took too long"),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
