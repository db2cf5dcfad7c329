//! The end of a server: no new connections, requests in flight may finish, then everything goes.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
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

    /// Counts a connection for as long as the place lives.
    pub(super) fn enter(&self) -> Place {
        self.open.send_modify(|open| *open += 1);
        Place(self.open.clone())
    }

    /// Waits for a signal, then for the connections, up to the deadline or a second signal.
    pub(super) async fn until_over(&self, log: &LogFile) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
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
        Ok(())
    }
}
