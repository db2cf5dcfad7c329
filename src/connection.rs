//! What is known of a request before anybody looks at its path.

use std::any::Any;
use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::edge::Exchange;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The client; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The server's end.
    pub local: Option<SocketAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
}

impl Connection {
    /// Whether the client is on this very machine.
    pub fn is_loopback(&self) -> bool {
        self.peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback())
    }

    /// The client's address for people; `-` on a Unix socket.
    pub fn client(&self) -> String {
        self.peer.map_or_else(|| "-".to_owned(), |peer| peer.ip().to_canonical().to_string())
    }
}

/// A connection's place in the server. Whatever keeps the connection open keeps this: hyper forgets a connection that
/// was upgraded, but it still counts, against the limits and when the server drains.
pub struct Seat {
    leaving: watch::Receiver<bool>,
    _held: Box<dyn Any + Send + Sync>,
}

impl Seat {
    /// A place for which `held` was taken; `leaving` turns true when the server begins to go.
    pub fn new(leaving: watch::Receiver<bool>, held: Box<dyn Any + Send + Sync>) -> Self {
        Self { leaving, _held: held }
    }

    /// Resolves when the server begins to go.
    pub async fn leaving(&self) {
        let mut leaving = self.leaving.clone();
        // An error means that nobody is left who could say so: the server has gone.
        let _ = leaving.wait_for(|leaving| *leaving).await;
    }
}

/// A request on its way through the stations.
pub struct Arrival {
    /// Method, version, fields.
    pub parts: Parts,
    /// The body, until somebody takes it.
    pub body: Option<Incoming>,
    /// The target in origin form, as the client wrote it.
    pub target: Bytes,
    /// The target as the client wrote it, where that was not in origin form.
    pub other_form: Option<Bytes>,
    /// The connection.
    pub connection: Connection,
    /// The exchange on an HTTP/1 connection.
    pub exchange: Option<Exchange>,
    /// The request's id.
    pub id: String,
}

/// The path of a target in origin form, still encoded.
pub fn path_of(target: &[u8]) -> &[u8] {
    target.split(|&b| b == b'?').next().unwrap_or_default()
}

/// What stands behind the first `?` of a target, if there is one.
pub fn query_of(target: &[u8]) -> Option<&[u8]> {
    let at = target.iter().position(|&b| b == b'?')?;
    target.get(at + 1..)
}
