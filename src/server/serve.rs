//! One connection: what speaks on it, and one call of the dispatcher for each request.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::Current;
use super::drain::Drain;
use super::listener::Accepted;
use super::stream::Stream;
use super::tls::Encryption;
use crate::body::Body;
use crate::connection::{Arrival, Connection};
use crate::dispatch;
use crate::edge::{self, Edge, Exchanges, Protocol};
use crate::failure::{Failure, Kind};

/// Streams at once on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// Serves a connection to its end.
pub(super) async fn connection(accepted: Accepted, encryption: Option<Encryption>, current: Current, drain: Drain) {
    let (stream, connection, protocol) = match accepted {
        Accepted::Tcp(stream, peer) => {
            // Answers are written whole; waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            let connection =
                Connection { peer: Some(peer), local: stream.local_addr().ok(), tls: encryption.is_some() };
            match encryption {
                None => (Stream::Tcp(stream), connection, None),
                Some(encryption) => {
                    // Boxed, so that its size does not stay with the connection.
                    let shaken = Box::pin(encryption.handshake(stream)).await;
                    let stream = match shaken {
                        Ok(stream) => stream,
                        Err(error) => return tracing::debug!(client = connection.client(), %error, "no TLS handshake"),
                    };
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => Some(Protocol::Http2),
                        _ => None,
                    };
                    (Stream::Tls(Box::new(stream)), connection, protocol)
                }
            }
        }
        // The socket's permissions say who may speak here: encrypting would add nothing.
        Accepted::Unix(stream) => (Stream::Unix(stream), Connection { peer: None, local: None, tls: false }, None),
    };
    speak(stream, protocol, connection, current, drain).await;
}

async fn speak(stream: Stream, protocol: Option<Protocol>, connection: Connection, current: Current, drain: Drain) {
    let app = current.get();
    let limits = app.edge.clone();
    let http10 = app.config.http10;
    drop(app);
    let (mut edge, exchanges) = Edge::new(stream, limits);
    let protocol = match protocol {
        Some(protocol) => {
            edge.set_http2();
            Ok(protocol)
        }
        None => edge.sniff().await,
    };
    match protocol {
        Ok(Protocol::Http1) => http1(edge, exchanges, connection, current, drain, http10).await,
        Ok(Protocol::Http2) => Box::pin(http2(edge, connection, current, drain)).await,
        Err(_gone) => {}
    }
}

async fn http1(
    edge: Edge<Stream>,
    exchanges: Exchanges,
    connection: Connection,
    current: Current,
    drain: Drain,
    http10: bool,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let incoming = exchanges.next();
        let current = current.clone();
        async move { Ok::<_, Infallible>(http1_request(request, incoming, connection, &current).await) }
    });
    let serving = http1::Builder::new()
        .half_close(false)
        .keep_alive(!http10)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(edge), service)
        .with_upgrades();
    tokio::pin!(serving);
    let _place = drain.enter();
    tokio::select! {
        // A connection that broke has nobody to be told; its request is in the access log.
        _ = serving.as_mut() => return,
        () = drain.begun() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

async fn http1_request(
    request: Request<Incoming>,
    incoming: edge::Incoming,
    connection: Connection,
    current: &Current,
) -> Response<Body> {
    let app = current.get();
    let (parts, body) = request.into_parts();
    let (target, refused) = match incoming.target {
        Ok(target) => (Bytes::copy_from_slice(target.bytes(&parts.uri)), None),
        Err(refusal) => {
            let mut failure = Failure::new(Kind::BadRequest, refusal.reason.text).with_message(refusal.reason.text);
            let status = http::StatusCode::from_u16(refusal.reason.status).unwrap_or(http::StatusCode::BAD_REQUEST);
            failure.refused = Some((status, refusal.reason.slug));
            if status == http::StatusCode::METHOD_NOT_ALLOWED {
                failure.allow = Some("GET, HEAD, POST, OPTIONS");
            }
            (refusal.line, Some(failure))
        }
    };
    let id = app.request_id();
    let exchange = Some(incoming.exchange);
    let arrival = Arrival { parts, body: Some(body), target, connection, exchange, id };
    dispatch::answer(&app, arrival, refused).await
}

async fn http2(edge: Edge<Stream>, connection: Connection, current: Current, drain: Drain) {
    let service = service_fn(move |request: Request<Incoming>| {
        let current = current.clone();
        async move { Ok::<_, Infallible>(http2_request(request, connection, &current).await) }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(edge), service);
    tokio::pin!(serving);
    let _place = drain.enter();
    tokio::select! {
        _ = serving.as_mut() => return,
        () = drain.begun() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

async fn http2_request(request: Request<Incoming>, connection: Connection, current: &Current) -> Response<Body> {
    let app = current.get();
    let (mut parts, body) = request.into_parts();
    debug_assert_eq!(parts.version, Version::HTTP_2);
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = Bytes::copy_from_slice(target.as_bytes());
    let mut refused = None;
    // Scripts know Host; :authority is its name in HTTP/2 (RFC 9113 §8.3.1), and the two may not differ.
    if let Some(authority) = parts.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        match parts.headers.get(HOST) {
            Some(host) if *host != authority => {
                refused = Some(Failure::new(Kind::BadRequest, ":authority and Host differ"));
            }
            _ => drop(parts.headers.insert(HOST, authority)),
        }
    }
    let id = app.request_id();
    let arrival = Arrival { parts, body: Some(body), target, connection, exchange: None, id };
    dispatch::answer(&app, arrival, refused).await
}
