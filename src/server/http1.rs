//! HTTP/1: the lane for what can be answered at once, hyper for every other request, the edge alone between two.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::lane::{self, Exit};
use super::serve::{Peer, guarded, refused, seated};
use crate::body::{Body, Remainder, Source};
use crate::connection::Arrival;
use crate::dispatch;
use crate::edge::{self, Edge, Exchanges, Rest};
use crate::stream::Stream;

/// Why hyper was left.
enum Turn {
    /// Over and done with, or upgraded.
    Over,
    /// An answer broke off in the middle.
    Broken,
    /// The server is going: hyper has been told, and the connection ends with the answer in flight.
    Drains,
    /// Nothing is in flight: hyper can go until the next request comes.
    Rests,
}

/// Serves a connection to its end.
pub(super) async fn serve(mut edge: Box<Edge<Stream>>, exchanges: Exchanges, peer: Arc<Peer>) {
    let drain = &peer.common.drain;
    let begun = drain.begun();
    tokio::pin!(begun);
    loop {
        let http10 = peer.app().config.http10;
        let mut left = if http10 { Exit::Hyper(None) } else { lane::run(&mut edge, &exchanges, &peer).await };
        if matches!(left, Exit::Silent) {
            if rests(&mut edge, begun.as_mut(), &peer).await == Rest::Ended {
                left = Exit::Ended;
            } else {
                continue;
            }
        }
        let begun_before = match left {
            Exit::Hyper(begun_before) => Mutex::new(begun_before),
            Exit::Ended | Exit::Silent => {
                let _ = edge.shutdown().await;
                return;
            }
        };
        let mut builder = http1::Builder::new();
        builder.half_close(false).keep_alive(!http10).title_case_headers(true);
        let old = AtomicBool::new(false);
        let swift = AtomicBool::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            old.store(request.version() < Version::HTTP_11, Ordering::Relaxed);
            if let Some(begun) = begun_before.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Either::Left(begun);
            }
            let incoming = exchanges.next();
            let request = seated(request, &peer.seat);
            let (peer, swift) = (peer.clone(), &swift);
            let plain = request.method() == Method::GET && request.version() == Version::HTTP_11;
            Either::Right(async move {
                let mut answering = pin!(guarded(answer(request, incoming, &peer)));
                let at_once = poll_fn(|cx| Poll::Ready(answering.as_mut().poll(cx))).await;
                swift.store(plain && at_once.is_ready(), Ordering::Relaxed);
                match at_once {
                    Poll::Ready(response) => response,
                    Poll::Pending => answering.await,
                }
            })
        });
        // In a box, so that what is left of an idle connection is small.
        let mut serving = Box::new(builder.serve_connection(TokioIo::new(edge), service).with_upgrades());
        let turn = poll_fn(|cx| {
            // A connection that broke has nobody to be told; its request is in the access log.
            match Pin::new(&mut *serving).poll(cx) {
                Poll::Ready(Err(error)) if error.is_user() => return Poll::Ready(Turn::Broken),
                Poll::Ready(_) => return Poll::Ready(Turn::Over),
                Poll::Pending => {}
            }
            // What was answered at once may be followed by what the lane can answer.
            if exchanges.rests() || exchanges.idles() && swift.load(Ordering::Relaxed) {
                return Poll::Ready(Turn::Rests);
            }
            begun.as_mut().poll(cx).map(|()| Turn::Drains)
        })
        .await;
        match turn {
            Turn::Over => return,
            Turn::Broken => {
                // Without a length or chunks only a reset tells a broken answer from a short one. Elsewhere the missing
                // end does, and what was sent before reaches the client.
                if old.load(Ordering::Relaxed)
                    && let Some(parts) = serving.into_parts()
                {
                    parts.io.into_inner().get_ref().abort();
                }
                return;
            }
            Turn::Drains => {
                Pin::new(&mut *serving).graceful_shutdown();
                let _ = serving.await;
                return;
            }
            Turn::Rests => {}
        }
        edge = match serving.into_parts() {
            // Everything else goes at once: hyper's buffer is what this is about.
            Some(parts) => parts.io.into_inner(),
            None => return,
        };
        if !exchanges.rests() {
            continue;
        }
        if rests(&mut edge, begun.as_mut(), &peer).await == Rest::Ended {
            let _ = edge.shutdown().await;
            return;
        }
    }
}

/// Waits for the next request, unless the server goes or needs the room.
async fn rests(edge: &mut Edge<Stream>, begun: Pin<&mut impl Future<Output = ()>>, peer: &Peer) -> Rest {
    tokio::select! {
        rest = edge.rest() => rest,
        () = begun => Rest::Ended,
        () = peer.common.make_room.notified() => Rest::Ended,
    }
}

async fn answer(request: Request<Incoming>, incoming: edge::Incoming, peer: &Peer) -> Response<Body> {
    let (app, id) = peer.meet();
    let (parts, body) = request.into_parts();
    let mut other_form = None;
    let (target, refused) = match incoming.target {
        Ok(target) => {
            other_form = target.other_form().cloned();
            (Bytes::copy_from_slice(target.bytes(&parts.uri)), None)
        }
        Err(refusal) => (refusal.line, Some(Box::new(refused(refusal.reason)))),
    };
    let (connection, exchange) = (peer.connection, Some(incoming.exchange));
    let (comes, asks) = (!body.is_end_stream(), parts.headers.contains_key(EXPECT));
    let mut body = Source::new(body);
    let remainder = comes.then(|| body.remainder());
    let arrival = Arrival { parts, body: Some(body), target, other_form, connection, exchange, id };
    let mut response = dispatch::answer(app, Box::new(arrival), refused).await;
    if let Some(remainder) = remainder
        && !Box::pin(ends(remainder, asks)).await
    {
        // What is left of the body cannot be told from a request: nothing more is read, and the client should know.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the next request can follow. Looking for a body would ask a client that waits with it to send it.
async fn ends(remainder: Remainder, asks: bool) -> bool {
    if asks { !remainder.is_left() } else { remainder.ends().await }
}
