//! One ticket per request. It rides on the answer's body; when it is dropped the request is over, and its log line is
//! written.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};

use crate::access_log::{Format, Record};
use crate::app::App;
use crate::body::Watcher;

/// The status in the log for a client that left before its answer was complete (nginx's number).
const CLIENT_LEFT: u16 = 499;

/// What is known of a request while it is answered.
pub struct Ticket {
    app: Arc<App>,
    client: Option<SocketAddr>,
    line: Bytes,
    started: Instant,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    id: String,
    user: Option<String>,
    status: u16,
    failure: Option<(&'static str, String)>,
    octets: u64,
    /// How many octets there will be; a body of known length is not polled again behind its last octet.
    expected: Option<u64>,
    complete: bool,
    /// Whatever lasts as long as the request does.
    _held: Option<Box<dyn Send>>,
}

impl Ticket {
    /// For a request that has just arrived; `line` is the request line as sent.
    pub fn new(app: Arc<App>, client: Option<SocketAddr>, line: Bytes, headers: &HeaderMap, id: String) -> Self {
        let detailed = matches!(app.config.access, Some(Format::Combined | Format::Json));
        let field = |name| if detailed { headers.get(name).cloned() } else { None };
        Self {
            client,
            line,
            started: Instant::now(),
            referer: field(REFERER),
            agent: field(USER_AGENT),
            id,
            user: None,
            status: 0,
            failure: None,
            octets: 0,
            expected: None,
            complete: false,
            _held: None,
            app,
        }
    }

    /// Who was let in.
    pub fn set_user(&mut self, user: String) {
        self.user = Some(user);
    }

    /// Why it failed, for the log.
    pub fn set_failure(&mut self, slug: &'static str, message: String) {
        self.failure = Some((slug, message));
    }

    /// What is about to be sent. The body of an answer to HEAD is never polled, nor is that of a 304.
    pub fn answered(&mut self, status: u16, length: Option<u64>, method: &Method) {
        self.status = status;
        self.expected = length;
        let no_body = *method == Method::HEAD || matches!(status, 100..200 | 204 | 304) || length == Some(0);
        self.complete = no_body;
    }

    /// Keeps `thing` until the request is over.
    pub fn hold(&mut self, thing: Box<dyn Send>) {
        self._held = Some(thing);
    }
}

impl Watcher for Ticket {
    fn sent(&mut self, length: usize) {
        self.octets += length as u64;
        if self.expected == Some(self.octets) {
            self.complete = true;
        }
    }

    fn complete(&mut self) {
        self.complete = true;
    }

    fn broken(&mut self, error: &io::Error) {
        if self.failure.is_none() {
            self.failure = Some(("broken-off", error.to_string()));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let app = &self.app;
        let status = if self.complete || self.failure.is_some() { self.status } else { CLIENT_LEFT };
        let status = if status == 0 { CLIENT_LEFT } else { status };
        let Some(format) = app.config.access else { return };
        let client = self.client.map_or_else(|| "-".to_owned(), |client| client.ip().to_canonical().to_string());
        let record = Record {
            client: &client,
            user: self.user.as_deref(),
            line: &self.line,
            status,
            octets: self.octets,
            took: self.started.elapsed(),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            agent: self.agent.as_ref().map(HeaderValue::as_bytes),
            id: &self.id,
            failure: self.failure.as_ref().map(|(slug, message)| (*slug, message.as_str())),
        };
        app.log.push(record.format(format).as_bytes());
    }
}
