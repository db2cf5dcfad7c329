//! One ticket per request. It rides on the answer's body; when it is dropped the request is over, and its log line is
//! written.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Version};

use crate::access_log::{Format, Record};
use crate::app::Lease;
use crate::body::Watcher;
use crate::connection::RequestId;
use crate::edge::Exchange;

/// The status in the log for a client that left before its answer was complete (nginx's number).
const CLIENT_LEFT: u16 = 499;

/// What is known of a request while it is answered.
pub struct Ticket {
    app: Lease,
    client: Option<SocketAddr>,
    line: Line,
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
    /// The exchange lasts as long as the request does.
    _exchange: Option<Exchange>,
}

/// The request line as sent.
enum Line {
    /// Nobody will want to know.
    Unwanted,
    Refused(Bytes),
    Taken(Method, Bytes, Version),
}

impl Line {
    fn pieces(&self) -> [&[u8]; 3] {
        match self {
            Self::Unwanted => [b"", b"", b""],
            Self::Refused(line) => [line, b"", b""],
            Self::Taken(method, target, version) => {
                let version: &[u8] = match *version {
                    Version::HTTP_10 => b"HTTP/1.0",
                    Version::HTTP_2 => b"HTTP/2.0",
                    _ => b"HTTP/1.1",
                };
                [method.as_str().as_bytes(), target, version]
            }
        }
    }
}

impl Ticket {
    /// For a request that has just arrived. `target` is its target as sent, or all of its line if that was `refused`.
    pub fn new(
        app: Lease,
        client: Option<SocketAddr>,
        parts: &Parts,
        target: &Bytes,
        refused: bool,
        id: &RequestId,
    ) -> Self {
        let line = match app.config.access {
            None => Line::Unwanted,
            // On HTTP/2 the pieces were understood, whatever is wrong with them.
            Some(_) if refused && parts.version != Version::HTTP_2 => Line::Refused(target.clone()),
            Some(_) => Line::Taken(parts.method.clone(), target.clone(), parts.version),
        };
        let detailed = matches!(app.config.access, Some(Format::Combined | Format::Json));
        let field = |name| if detailed { parts.headers.get(name).cloned() } else { None };
        Self {
            client,
            line,
            started: Instant::now(),
            referer: field(REFERER),
            agent: field(USER_AGENT),
            id: if detailed { id.to_string() } else { String::new() },
            user: None,
            status: 0,
            failure: None,
            octets: 0,
            expected: None,
            complete: false,
            _exchange: None,
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

    /// Keeps the exchange until the request is over.
    pub fn hold(&mut self, exchange: Option<Exchange>) {
        self._exchange = exchange;
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
        app.metrics.request(status, self.octets, self.started.elapsed());
        let Some(format) = app.config.access else { return };
        let record = Record {
            client: self.client.map(|client| client.ip()),
            user: self.user.as_deref(),
            line: self.line.pieces(),
            status,
            octets: self.octets,
            took: self.started.elapsed(),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            agent: self.agent.as_ref().map(HeaderValue::as_bytes),
            id: &self.id,
            failure: self.failure.as_ref().map(|(slug, message)| (*slug, message.as_str())),
        };
        app.log.record(&record, format);
    }
}
