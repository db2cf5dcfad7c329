//! Is what the service sees what the client sent? The edge and hyper answer; a second, slow and simple reading of the
//! same bytes, written without a look at the first, must agree. Used by the fuzz target and by the unit tests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::Ipv6Addr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    let (expected, open) = reference(input);
    let show = input.escape_ascii();
    let agrees = match seen.strip_prefix(&expected[..]) {
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

/// Every whole message, then a refusal if one is due; and whether the rest is open: too short to tell.
pub fn reference(input: &[u8]) -> (Vec<Seen>, bool) {
    let mut seen = Vec::new();
    let mut rest = input;
    loop {
        match message(rest) {
            Verdict::Open => return (seen, true),
            Verdict::Ends(what) => {
                seen.push(what);
                return (seen, false);
            }
            Verdict::Whole(what, length, close) => {
                seen.push(what);
                rest = &rest[length..];
                if close {
                    return (seen, false);
                }
            }
        }
    }
}

enum Verdict {
    Open,
    Ends(Seen),
    Whole(Seen, usize, bool),
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

fn message(input: &[u8]) -> Verdict {
    let mut start = 0;
    while input[start..].starts_with(b"\r\n") {
        start += 2;
    }
    if start > 8 {
        return Verdict::Ends(Seen::Refused);
    }
    let Some(blank) = find(&input[start..], b"\r\n\r\n") else {
        return Verdict::Open;
    };
    let end = start + blank + 4;
    match parse(&input[start..end - 2]) {
        Some(_) if end > 65536 => Verdict::Ends(Seen::Refused),
        None => Verdict::Ends(Seen::Refused),
        Some(head) => {
            let after = &input[end..];
            let (body, length) = match head.framing {
                None if after.len() < head.length => return Verdict::Open,
                None => (after[..head.length].to_vec(), head.length),
                Some(()) => match unchunk(after) {
                    Unchunked::Open => return Verdict::Open,
                    Unchunked::Bad => return Verdict::Ends(Seen::BadBody),
                    Unchunked::Whole(body, length) => (body, length),
                },
            };
            let what = Seen::Request { method: head.method, target: head.target, host: head.host, body };
            Verdict::Whole(what, end + length, head.close)
        }
    }
}

struct Parsed {
    method: String,
    target: Vec<u8>,
    host: Vec<Vec<u8>>,
    /// `Some` if chunked.
    framing: Option<()>,
    length: usize,
    close: bool,
}

fn token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// `head` is every line with its CRLF.
fn parse(head: &[u8]) -> Option<Parsed> {
    let mut lines = Vec::new();
    let mut rest = head;
    while !rest.is_empty() {
        let end = find(rest, b"\r\n")?;
        if end + 2 > 8192 || rest[..end].iter().any(|&b| (b < 32 && b != 9) || b == 127) {
            return None;
        }
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let (first, fields) = lines.split_first()?;
    let words: Vec<&[u8]> = first.split(|&b| b == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let old = version == b"HTTP/1.0";
    if !(old || version == b"HTTP/1.1")
        || !token(method)
        || method.len() > 32
        || method == b"CONNECT"
        || method == b"TRACE"
    {
        return None;
    }
    if target.is_empty() || target.contains(&b'#') || target.contains(&b'\t') || fields.len() > 100 {
        return None;
    }
    let mut values: Vec<(String, Vec<u8>)> = Vec::new();
    for field in fields {
        let colon = field.iter().position(|&b| b == b':')?;
        if !token(&field[..colon]) {
            return None;
        }
        let mut value = &field[colon + 1..];
        while let [b' ' | b'\t', more @ ..] | [more @ .., b' ' | b'\t'] = value {
            value = more;
        }
        values.push((String::from_utf8_lossy(&field[..colon]).to_lowercase(), value.to_vec()));
    }
    let all = |name: &str| values.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();

    let mut host = all("host");
    if host.len() > 1 || (host.is_empty() && !old) {
        return None;
    }
    let lower = String::from_utf8_lossy(target).to_lowercase();
    let mut path = target.to_vec();
    if let Some(skip) = ["http://", "https://"].iter().find(|s| lower.starts_with(**s)).map(|s| s.len()) {
        let authority: Vec<u8> = target[skip..].iter().copied().take_while(|b| *b != b'/' && *b != b'?').collect();
        path = target[skip + authority.len()..].to_vec();
        if path.is_empty() && method == b"OPTIONS" {
            path = b"*".to_vec();
        } else if path.first() != Some(&b'/') {
            path.insert(0, b'/');
        }
        if host.first().is_some_and(|h| !h.is_empty() && !good_host(h)) {
            return None;
        }
        if host.is_empty() && fields.len() == 100 {
            return None;
        }
        host = vec![authority];
    } else if target != b"*" && target[0] != b'/' || target == b"*" && method != b"OPTIONS" {
        return None;
    }
    if host.iter().any(|h| !good_host(h)) {
        return None;
    }

    if all("expect").iter().any(|v| !v.eq_ignore_ascii_case(b"100-continue")) {
        return None;
    }
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let mut framing = None;
    let mut length = 0;
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([one], []) => {
            let text = std::str::from_utf8(one).ok()?;
            if text.is_empty() || text.len() > 19 || !text.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            length = usize::try_from(text.parse::<i64>().ok()?).ok()?;
        }
        ([], [one]) if one.eq_ignore_ascii_case(b"chunked") && !old => framing = Some(()),
        _ => return None,
    }
    let connection: Vec<String> = all("connection")
        .iter()
        .filter_map(|v| String::from_utf8(v.clone()).ok().filter(|v| v.is_ascii()))
        .flat_map(|v| v.split(',').map(|word| word.trim().to_lowercase()).collect::<Vec<_>>())
        .collect();
    // hyper closes after HTTP/1.0 unless the answer says keep-alive, and this service's does not.
    let close = old || connection.iter().any(|word| word == "close");
    Some(Parsed { method: String::from_utf8_lossy(method).into_owned(), target: path, host, framing, length, close })
}

fn good_host(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else {
        return false;
    };
    let (name, port) = match text.rfind(']') {
        Some(end) => {
            let inside = text.strip_prefix('[').and_then(|t| t.get(..end - 1));
            if inside.is_none_or(|t| t.parse::<Ipv6Addr>().is_err()) {
                return false;
            }
            ("x", &text[end + 1..])
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = name.len() < 256 && name.split('.').all(|label| !label.is_empty());
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let port = port.is_empty()
        || port == ":"
        || port.strip_prefix(':').is_some_and(|p| p.len() < 6 && !p.starts_with('+') && p.parse::<u16>().is_ok());
    labels && letters && port
}

enum Unchunked {
    Open,
    Bad,
    Whole(Vec<u8>, usize),
}

fn unchunk(input: &[u8]) -> Unchunked {
    let printable = |text: &[u8]| text.iter().all(|&b| b == 9 || (b >= 32 && b != 127));
    let (mut body, mut at, mut extensions) = (Vec::new(), 0, 0);
    loop {
        let Some(line) = find(&input[at..], b"\r\n").map(|end| &input[at..at + end]) else {
            return Unchunked::Open;
        };
        let (size, extension) = line.split_at(line.iter().position(|&b| b == b';').unwrap_or(line.len()));
        extensions += extension.len().saturating_sub(1);
        if extension.len() > 257 || extensions > 16384 || !printable(extension) {
            return Unchunked::Bad;
        }
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Unchunked::Bad;
        }
        let size = u64::from_str_radix(&String::from_utf8_lossy(size), 16).unwrap_or(u64::MAX);
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(after) = usize::try_from(size).ok().and_then(|n| at.checked_add(n)).filter(|&n| n + 2 <= input.len())
        else {
            return Unchunked::Open;
        };
        body.extend_from_slice(&input[at..after]);
        if &input[after..after + 2] != b"\r\n" {
            return Unchunked::Bad;
        }
        at = after + 2;
    }
    let trailer = at;
    loop {
        let Some(line) = find(&input[at..], b"\r\n").map(|end| &input[at..at + end]) else {
            return Unchunked::Open;
        };
        at += line.len() + 2;
        if line.is_empty() {
            // Line ends' LFs are not counted by the edge; the bound is a few bytes apart and the fuzzer never gets there.
            return if at - trailer > 8000 { Unchunked::Open } else { Unchunked::Whole(body, at) };
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return Unchunked::Bad;
        };
        if !token(&line[..colon]) || !printable(&line[colon..]) {
            return Unchunked::Bad;
        }
    }
}
