//! One connection: what speaks on it, and one call of the dispatcher for each request.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Current;
use super::drain::Drain;
use super::listener::Stream;
use crate::body::Body;
use crate::connection::{Arrival, Connection, Seat};
use crate::dispatch;
use crate::edge::{self, Edge, Exchanges, Protocol};
use crate::failure::{Failure, Kind};

/// Streams at once on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// Serves a connection to its end.
pub(super) async fn connection(stream: Stream, current: Current, drain: Drain, seat: Arc<Seat>) {
    match stream {
        Stream::Tcp(stream, peer) => {
            // Answers are written whole; waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            let connection = Connection { peer: Some(peer), local: stream.local_addr().ok(), tls: false };
            speak(stream, connection, current, drain, seat).await;
        }
        Stream::Unix(stream) => {
            speak(stream, Connection { peer: None, local: None, tls: false }, current, drain, seat).await;
        }
    }
}

async fn speak<IO>(io: IO, connection: Connection, current: Current, drain: Drain, seat: Arc<Seat>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let app = current.get();
    let limits = edge_limits(&app.config);
    let http10 = app.config.http10;
    drop(app);
    let (mut edge, exchanges) = Edge::new(io, limits);
    match edge.sniff().await {
        Ok(Protocol::Http1) => http1(edge, exchanges, connection, current, drain, seat, http10).await,
        Ok(Protocol::Http2) => http2(edge, connection, current, drain, seat).await,
        Err(_gone) => {}
    }
}

fn edge_limits(config: &crate::config::Config) -> Arc<edge::Limits> {
    let limits = &config.limits;
    Arc::new(edge::Limits {
        head_time: limits.header,
        idle_time: limits.keep_alive,
        write_idle: limits.write,
        add_slash: config.python,
        ..edge::Limits::default()
    })
}

async fn http1<IO>(
    edge: Edge<IO>,
    exchanges: Exchanges,
    connection: Connection,
    current: Current,
    drain: Drain,
    seat: Arc<Seat>,
    http10: bool,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let incoming = exchanges.next();
        let current = current.clone();
        let request = seated(request, &seat);
        async move { Ok::<_, Infallible>(http1_request(request, incoming, connection, &current).await) }
    });
    let serving = http1::Builder::new()
        .half_close(false)
        .keep_alive(!http10)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(edge), service)
        .with_upgrades();
    tokio::pin!(serving);
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

/// Gives a request that may take its connection over the connection's seat.
fn seated(mut request: Request<Incoming>, seat: &Arc<Seat>) -> Request<Incoming> {
    if request.extensions().get::<OnUpgrade>().is_some() {
        request.extensions_mut().insert(seat.clone());
    }
    request
}

async fn http2<IO>(edge: Edge<IO>, connection: Connection, current: Current, drain: Drain, seat: Arc<Seat>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let current = current.clone();
        let request = seated(request, &seat);
        async move { Ok::<_, Infallible>(http2_request(request, connection, &current).await) }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(edge), service);
    tokio::pin!(serving);
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
