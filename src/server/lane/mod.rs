//! The fast lane: requests that can be answered on the spot, from memory, without hyper.
//!
//! The way of a request is the same as ever, through `dispatch`; only the reading of its head and the writing of the
//! answer's are done here, with fewer instructions. Whatever is not over at once, or is more than a short answer of
//! known length, goes hyper's way: hyper reads the same head, and its service finds the answer that was begun.

mod request;
mod response;

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use http::Response;
use tokio_util::sync::ReusableBoxFuture;

use super::serve::{Peer, guarded};
use crate::body::Body;
use crate::connection::Arrival;
use crate::dispatch;
use crate::edge::{Edge, Exchanges, Next};
use crate::stream::Stream;

/// An answer that was begun before hyper was asked.
pub(super) type Begun = ReusableBoxFuture<'static, Result<Response<Body>, Infallible>>;

/// How the lane was left.
pub(super) enum Exit {
    /// The client has left.
    Ended,
    /// Nothing has come for a while.
    Silent,
    /// To hyper, with what was begun of the request that it will read first.
    Hyper(Option<Begun>),
}

/// Answers what can be answered at once, until something else comes.
pub(super) async fn run(edge: &mut Edge<Stream>, exchanges: &Exchanges, peer: &Arc<Peer>) -> Exit {
    // One block of memory for the futures of all requests: they are a little too large to be had for nothing.
    let mut room: Option<Begun> = None;
    loop {
        // Looked at between two requests, which are never far apart here.
        if peer.common.drain.has_begun() {
            return Exit::Hyper(None);
        }
        let plain = match edge.next().await {
            Next::Plain(plain) => plain,
            Next::Other => return Exit::Hyper(None),
            Next::Silent => return Exit::Silent,
            Next::Ended => return Exit::Ended,
        };
        let Some(parts) = request::read(plain.bytes()) else {
            edge.decline(plain);
            return Exit::Hyper(None);
        };
        edge.accept(&plain);
        let exchange = Some(exchanges.next().exchange);
        let (app, id) = peer.meet();
        let (target, connection) = (plain.target(), peer.connection);
        let arrival = Arrival { parts, body: None, target, other_form: None, connection, exchange, id };
        let answering = guarded(dispatch::answer(app, Box::new(arrival), None));
        let mut begun = match room.take() {
            Some(mut room) => {
                room.set(answering);
                room
            }
            None => Begun::new(answering),
        };
        let Poll::Ready(Ok(response)) = poll_fn(|cx| Poll::Ready(begun.poll(cx))).await else {
            edge.decline(plain);
            return Exit::Hyper(Some(begun));
        };
        room = Some(begun);
        let short = match response::write(response) {
            Ok(short) => short,
            Err(response) => {
                edge.decline(plain);
                return Exit::Hyper(Some(Begun::new(std::future::ready(Ok(*response)))));
            }
        };
        let sent = edge.reply(&short.head, &short.body).await;
        // With it goes the ticket, and so the exchange.
        drop(short);
        if sent.is_err() || !edge.finish() {
            return Exit::Ended;
        }
    }
}
