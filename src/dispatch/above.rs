//! The order of the log: the line of a request stands above what is told of it.

use std::io;

use crate::body::Watcher;
use crate::ticket::Ticket;

/// A ticket, whose line is written before what stands beneath it.
pub(super) struct Above<B> {
    pub(super) ticket: Box<Ticket>,
    pub(super) _beneath: B,
}

impl<B: Send> Watcher for Above<B> {
    fn sent(&mut self, length: usize) {
        self.ticket.sent(length);
    }

    fn complete(&mut self) {
        self.ticket.complete();
    }

    fn broken(&mut self, error: &io::Error) {
        self.ticket.broken(error);
    }
}
