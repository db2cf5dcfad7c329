//! One connection: what speaks on it.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::drain::Drain;
use super::listener::Accepted;
use super::tls::Encryption;
use super::{Current, http1, http2};
use crate::app::{IdBlock, Lease};
use crate::body::Body;
use crate::connection::{Connection, Elsewhere, RequestId, Seat};
use crate::edge::{Edge, Exchanges, Protocol, Reason};
use crate::failure::{Failure, Kind};
use crate::reply::{self, Voice};
use crate::stream::Stream;

/// What every connection of a server shares.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) current: Current,
    pub(super) drain: Drain,
    pub(super) encryption: Option<Encryption>,
    /// Where everybody is sent who comes in by this door.
    pub(super) elsewhere: Option<Elsewhere>,
    /// Tells the connection that has been idle for longest to make room.
    pub(super) make_room: Arc<Notify>,
}

/// What the requests of one connection share.
pub(super) struct Peer {
    pub(super) connection: Connection,
    pub(super) common: Arc<Common>,
    /// Goes with whoever takes the connection over.
    pub(super) seat: Arc<Seat>,
    known: Mutex<Known>,
}

/// What a connection knows of the application, until there is another.
struct Known {
    lease: Lease,
    /// Of [`Current::times`], when the lease was taken.
    times: u64,
    ids: IdBlock,
}

impl Peer {
    fn new(connection: Connection, common: Arc<Common>, seat: Arc<Seat>) -> Self {
        // First the number: should there be another application between the two, it is asked for again.
        let times = common.current.times();
        let lease = Lease::new(common.current.get());
        let known = Mutex::new(Known { lease, times, ids: IdBlock::default() });
        Self { connection, common, seat, known }
    }

    /// The application as it is now.
    pub(super) fn app(&self) -> Lease {
        self.known().lease.clone()
    }

    /// The application as it is now, and an id for the request that has come.
    pub(super) fn meet(&self) -> (Lease, RequestId) {
        let mut known = self.known();
        let Known { lease, ids, .. } = &mut *known;
        (lease.clone(), ids.next(lease))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let times = self.common.current.times();
        if known.times != times {
            known.times = times;
            known.lease = Lease::new(self.common.current.get());
        }
        known
    }
}

/// Gives a request that may take its connection over the connection's seat.
pub(super) fn seated(mut request: Request<Incoming>, seat: &Arc<Seat>) -> Request<Incoming> {
    if request.extensions().get::<OnUpgrade>().is_some() {
        request.extensions_mut().insert(seat.clone());
    }
    request
}

/// Serves a connection to its end. What it needs only to begin, or only for HTTP/2, is in boxes of its own: an idle
/// HTTP/1 connection is to be small.
pub(super) async fn connection(accepted: Accepted, common: Arc<Common>, seat: Arc<Seat>) {
    let begun = {
        let drain = common.drain.clone();
        tokio::select! {
            biased; // who has spoken is answered
            begun = Box::pin(begin(accepted, common, seat)) => begun,
            // Browsers open connections in store; one on which nothing is said would keep the server to its deadline.
            () = drain.begun() => None,
        }
    };
    let Some((edge, exchanges, protocol, peer)) = begun else { return };
    match protocol {
        Protocol::Http1 => http1::serve(edge, exchanges, peer).await,
        Protocol::Http2 => Box::pin(http2::serve(edge, peer)).await,
    }
}

/// Up to the moment when it is known what is spoken. `None`: nobody spoke.
async fn begin(
    accepted: Accepted,
    common: Arc<Common>,
    seat: Arc<Seat>,
) -> Option<(Box<Edge<Stream>>, Exchanges, Protocol, Arc<Peer>)> {
    let (stream, connection, protocol) = match accepted {
        Accepted::Tcp(stream, peer) => {
            let stream = TcpStream::from_std(stream).ok()?;
            let tls = common.encryption.is_some();
            let (local, elsewhere) = (stream.local_addr().ok(), common.elsewhere);
            let connection = Connection { peer: Some(peer), local, tls, elsewhere };
            match &common.encryption {
                None => (Stream::Tcp(stream), connection, None),
                Some(encryption) => {
                    let stream = match encryption.handshake(stream).await {
                        Ok(stream) => stream,
                        Err(error) => {
                            tracing::debug!(client = connection.client(), %error, "no TLS handshake");
                            return None;
                        }
                    };
                    let protocol = stream.get_ref().1.alpn_protocol().map(|name| match name {
                        b"h2" => Protocol::Http2,
                        _ => Protocol::Http1,
                    });
                    (Stream::Tls(Box::new(stream)), connection, protocol)
                }
            }
        }
        // The socket's permissions say who may speak here: encrypting would add nothing.
        Accepted::Unix(stream) => {
            let stream = UnixStream::from_std(stream).ok()?;
            (Stream::Unix(stream), Connection { peer: None, local: None, tls: false, elsewhere: None }, None)
        }
        Accepted::Rehearsed(stream, connection) => (Stream::Unix(UnixStream::from_std(stream).ok()?), connection, None),
    };
    let limits = common.current.get().edge.clone();
    let peer = Arc::new(Peer::new(connection, common, seat));
    let (edge, exchanges) = Edge::new(stream, limits);
    // In a box, for hyper and the task hand it to and fro.
    let mut edge = Box::new(edge);
    let protocol = match protocol {
        Some(protocol) => protocol,
        None => edge.sniff().await.ok()?,
    };
    if protocol == Protocol::Http2 {
        edge.set_http2();
    }
    Some((edge, exchanges, protocol, peer))
}

/// The answer of a handler; 500 if it panicked, so that one request's bug is that request's alone.
pub(super) fn guarded(
    handler: impl Future<Output = Response<Body>> + Send,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
    let or_panic = AssertUnwindSafe(handler).catch_unwind();
    or_panic.map(|response| Ok(response.unwrap_or_else(|_panic| panicked())))
}

fn panicked() -> Response<Body> {
    tracing::error!(slug = Kind::Internal.slug(), "a handler panicked; what it said is on standard error");
    let mut response = reply::failure(&Failure::new(Kind::Internal, "panic"), Voice::Html, "");
    // Whatever was known of the exchange is lost, so nothing may follow it.
    let close = http::HeaderValue::from_static("close");
    response.headers_mut().insert(http::header::CONNECTION, close);
    response
}

/// A head that was refused below HTTP's grammar.
pub(super) fn refused(reason: Reason) -> Failure {
    let mut failure = Failure::new(Kind::BadRequest, reason.text).with_message(reason.text);
    let status = http::StatusCode::from_u16(reason.status).unwrap_or(http::StatusCode::BAD_REQUEST);
    failure.refused = Some((status, reason.slug));
    if status == http::StatusCode::METHOD_NOT_ALLOWED {
        failure.allow = Some("GET, HEAD, POST, OPTIONS");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for() {
        let response = guarded(async { panic!("a bug") }).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["connection"], "close");
        let response = guarded(async { Response::new(Body::empty()) }).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}
