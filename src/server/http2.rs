//! HTTP/2, and the deadlines that hyper does not keep for it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT, HOST};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::serve::{Peer, guarded, refused, seated};
use crate::body::{Body, Patience, Source};
use crate::connection::Arrival;
use crate::dispatch;
use crate::edge::{self, Edge};
use crate::failure::{Failure, Kind};
use crate::stream::Stream;

/// Streams at once on one connection.
const STREAMS: u32 = 100;
/// Octets of a request's fields, as HPACK counts them: the same as on HTTP/1.
const FIELD_OCTETS: u32 = 64 * 1024;
/// Fields of a request: the same as on HTTP/1.
const FIELDS: usize = 100;
/// A client that is not heard of for so long while its streams are open is asked whether it is there …
const PING: Duration = Duration::from_secs(20);
/// … and has so long to say so.
const PONG: Duration = Duration::from_secs(20);

/// Serves a connection to its end.
pub(super) async fn serve(edge: Box<Edge<Stream>>, peer: Arc<Peer>) {
    let limits = peer.common.current.get().config.limits;
    let streams = Streams { open: Arc::new(watch::channel(0).0), patience: limits.write };
    let open = streams.open.subscribe();
    let service = service_fn(|request: Request<Incoming>| {
        let request = seated(request, &peer.seat);
        let peer = peer.clone();
        async move {
            let response = guarded(answer(request, &peer)).await?;
            let given = GIVEN.try_with(Arc::clone).unwrap_or_default();
            Ok::<_, std::convert::Infallible>(response.map(|body| Paced { body, given }))
        }
    });
    let serving = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(FIELD_OCTETS)
        .enable_connect_protocol()
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(edge), service);
    let mut serving = pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = peer.common.drain.begun() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
            return;
        }
        () = idle(open, limits.keep_alive, &peer.common.make_room) => serving.as_mut().graceful_shutdown(),
    }
    // Nothing is being answered any more, but the client may not have taken the last octets yet.
    let _ = tokio::time::timeout(limits.write, serving).await;
}

/// Resolves when no stream has been open for `keep_alive`, or somebody else needs the room.
async fn idle(mut open: watch::Receiver<usize>, keep_alive: Duration, make_room: &Notify) {
    loop {
        if open.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(keep_alive) => return,
            () = make_room.notified() => return,
            _ = open.changed() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, peer: &Peer) -> Response<Body> {
    let (app, id) = peer.meet();
    let (mut parts, body) = request.into_parts();
    debug_assert_eq!(parts.version, Version::HTTP_2);
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = Bytes::copy_from_slice(target.as_bytes());
    let refused = fault(&parts);
    // Scripts know Host; :authority is its name in HTTP/2 (RFC 9113 §8.3.1).
    if let Some(authority) = parts.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
        parts.headers.insert(HOST, authority);
    }
    let connection = peer.connection;
    // The edge keeps this time on HTTP/1, but cannot see into HTTP/2.
    let edge::Limits { body_idle: idle, body_rate_after: before_rate, body_rate: rate, .. } = *app.edge;
    // Who has to be told first that the body is wanted, sends nothing in this time; a tunnel has no body.
    let comes = !body.is_end_stream() && !parts.headers.contains_key(EXPECT) && parts.method != Method::CONNECT;
    let mut body = Source::paced(body, Patience { idle, before_rate, rate });
    let remainder = comes.then(|| body.remainder());
    let arrival = Arrival { parts, body: Some(body), target, other_form: None, connection, exchange: None, id };
    let response = dispatch::answer(app, Box::new(arrival), refused.map(Box::new)).await;
    if let Some(remainder) = remainder {
        // Sent earlier, the answer would close a stream on which frames are under way that nobody would check any more,
        // and a reset has to follow it, for which some clients throw the answer away (RFC 9113 §8.1 forbids it).
        Box::pin(remainder.ends()).await;
    }
    response
}

/// What the edge does for HTTP/1. Malformed fields and those of connections (Connection, Transfer-Encoding, TE …) do
/// not come here: the `h2` crate resets their streams.
fn fault(parts: &http::request::Parts) -> Option<Failure> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let hosts = parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    if let Err(reason) = edge::check_authority(authority, hosts) {
        return Some(refused(reason));
    }
    if parts.headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Some(Failure::new(Kind::BadRequest, "two Content-Type fields"));
    }
    if parts.headers.len() > FIELDS {
        return Some(Failure::new(Kind::HeadTooLarge, format!("more than {FIELDS} fields")));
    }
    match parts.uri.path_and_query().map_or("", |path| path.as_str()) {
        "*" if parts.method == Method::OPTIONS => None,
        "" if parts.method == Method::CONNECT => None,
        path if path.starts_with('/') => None,
        _ => Some(Failure::new(Kind::BadRequest, ":path does not begin with a slash")),
    }
}

tokio::task_local! {
    /// Of the stream that is being polled.
    static GIVEN: Given;
}

/// When hyper was given the octets that it has not yet found room for in the client's window; `None` while it asks for
/// more and the answer is what is waited for.
type Given = Arc<Mutex<Option<Instant>>>;

/// An answer's body that notes when it was last asked for more.
struct Paced {
    body: Body,
    given: Given,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = next.is_ready().then(Instant::now);
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs each stream in a task of its own, and ends it when the client takes nothing of its answer for too long: a
/// window that stays shut would hold the script, its place and its memory for ever.
#[derive(Clone)]
struct Streams {
    open: Arc<watch::Sender<usize>>,
    /// For a client to make room for more.
    patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.open.send_modify(|open| *open += 1);
        let place = Place(self.open.clone());
        let patience = self.patience;
        tokio::spawn(async move {
            let _place = place;
            let given = Given::default();
            let mut stream = pin!(stream);
            let mut alarm: Option<Pin<Box<Sleep>>> = None;
            poll_fn(|cx| {
                if GIVEN.sync_scope(given.clone(), || stream.as_mut().poll(cx)).is_ready() {
                    return Poll::Ready(());
                }
                poll_patience(cx, &given, patience, &mut alarm)
            })
            .await;
            // Dropping the stream before its end resets it.
        });
    }
}

/// Ready when what was given has been given for longer than `patience`. The alarm is moved only when it has rung: it
/// costs nothing while octets flow.
fn poll_patience(
    cx: &mut Context<'_>,
    given: &Given,
    patience: Duration,
    alarm: &mut Option<Pin<Box<Sleep>>>,
) -> Poll<()> {
    loop {
        let Some(since) = *given.lock().unwrap_or_else(PoisonError::into_inner) else { return Poll::Pending };
        let deadline = since + patience;
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        alarm.as_mut().reset(deadline);
    }
}

/// One open stream.
struct Place(Arc<watch::Sender<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}
