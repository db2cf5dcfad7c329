//! Is what the service sees what the client sent? The edge and hyper answer; a second, slow and simple reading of the
//! same bytes, written without a look at the first, must agree. Used by the fuzz target and by the unit tests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod reference;

use super::{Edge, Limits};

/// One thing that a service saw, or a reference expects it to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A request with its whole body.
    Request {
        /// The method.
        method: String,
        /// The target as sent, in origin form.
        target: Vec<u8>,
        /// The values of the Host fields.
        host: Vec<Vec<u8>>,
        /// The body without framing.
        body: Vec<u8>,
    },
    /// A body that broke.
    BadBody,
    /// A refusal.
    Refused,
}

/// Feeds `input`, cut into pieces of the given sizes, through the edge and hyper, and checks everything that can be
/// checked.
///
/// # Panics
/// If the edge and the reference disagree.
pub fn check(input: &[u8], cuts: &[usize]) {
    let (seen, wire) = run(input, cuts);
    let (expected, open) = reference::read(input);
    let show = input.escape_ascii();
    // A body that is malformed where it begins is refused with its head.
    let early = matches!((seen.last(), expected.last()), (Some(Seen::Refused), Some(Seen::BadBody)));
    let (told, kept) =
        if early { (&seen[..seen.len() - 1], &expected[..expected.len() - 1]) } else { (&seen[..], &expected[..]) };
    let agrees = match told.strip_prefix(kept) {
        Some([]) => true,
        Some([Seen::Refused | Seen::BadBody]) => open, // the fault was found before the end of the head or body
        _ => false,
    };
    assert!(agrees, "{show}\nseen {seen:?}\nexpected {expected:?} (open: {open})");
    let answers = wire.windows(9).filter(|w| w.starts_with(b"HTTP/1.") && w[8] == b' ').count();
    let interim = wire.windows(12).filter(|w| *w == b"HTTP/1.1 100").count();
    assert_eq!(answers - interim, seen.len(), "{show}\nhyper answered by itself: {}", wire.escape_ascii());
}

/// What the service sees of `input`, and what comes back.
pub fn run(input: &[u8], cuts: &[usize]) -> (Vec<Seen>, Vec<u8>) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime without I/O");
    }
    RUNTIME.with(|runtime| {
        let _guard = runtime.enter();
        drive(input, cuts)
    })
}

fn drive(input: &[u8], cuts: &[usize]) -> (Vec<Seen>, Vec<u8>) {
    let mut pieces = VecDeque::new();
    let mut rest = input;
    for &cut in cuts {
        let (piece, after) = rest.split_at(cut.clamp(1, rest.len().max(1)).min(rest.len()));
        pieces.push_back(piece.to_vec());
        rest = after;
    }
    pieces.push_back(rest.to_vec());
    pieces.retain(|piece| !piece.is_empty());

    let wire = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (edge, exchanges) = Edge::new(Client { pieces, wire: wire.clone() }, Arc::new(Limits::default()));
    let log = seen.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let incoming = exchanges.next();
        let log = log.clone();
        async move {
            let _exchange = incoming.exchange;
            let (parts, body) = request.into_parts();
            let (status, what) = match incoming.target {
                Err(refusal) => (refusal.reason.status, Seen::Refused),
                Ok(target) => match body.collect().await {
                    Err(_) => (400, Seen::BadBody),
                    Ok(body) => {
                        let method = parts.method.to_string();
                        let target = target.bytes(&parts.uri).to_vec();
                        let host = parts.headers.get_all("host").iter().map(|host| host.as_bytes().to_vec()).collect();
                        (200, Seen::Request { method, target, host, body: body.to_bytes().to_vec() })
                    }
                },
            };
            log.borrow_mut().push(what);
            let mut response = hyper::Response::new(Full::new(&b"ok"[..]));
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(edge), service));
    let bell = Arc::new(Bell(AtomicBool::new(true)));
    let waker = bell.clone().into();
    let mut cx = Context::from_waker(&waker);
    let mut turns = 0;
    while bell.0.swap(false, Ordering::AcqRel) {
        turns += 1;
        assert!(turns < 1_000 + 10 * input.len(), "spins");
        if connection.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    let (seen, wire) = (seen.borrow().clone(), wire.borrow().clone());
    (seen, wire)
}

struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends its pieces one per turn, then stays silent and open.
struct Client {
    pieces: VecDeque<Vec<u8>>,
    wire: Rc<RefCell<Vec<u8>>>,
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(piece) = self.pieces.front_mut() else {
            return Poll::Pending;
        };
        let n = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..n]);
        piece.drain(..n);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
