//! Bytes in, bytes out: the edge, hyper and a small service behind a socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming as HyperBody, SizeHint};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::{Edge, Exchange, Exchanges, Limits, Protocol};

/// A body that keeps its exchange to the last byte, as the server's must.
struct Held(Full<Bytes>, #[allow(dead_code)] Option<Exchange>);

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

type News = UnboundedSender<String>;

/// Sends its text when it is dropped.
struct Obituary(News, &'static str);

impl Drop for Obituary {
    fn drop(&mut self) {
        let _ = self.0.send(self.1.to_owned());
    }
}

async fn answer(request: Request<HyperBody>, exchanges: Exchanges, news: News) -> Response<Held> {
    let incoming = exchanges.next();
    let exchange = incoming.exchange;
    let say = |status: u16, text: String, exchange: Option<Exchange>| {
        let mut response = Response::new(Held(Full::new(text.into()), exchange));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    };
    let target = match incoming.target {
        Ok(target) => target,
        Err(refusal) => {
            let line = refusal.line.escape_ascii();
            let _ = news.send(format!("refused {} {line}", refusal.reason.slug));
            return say(refusal.reason.status, refusal.reason.slug.to_owned(), Some(exchange));
        }
    };
    let _ = news.send(format!("{} {}", request.method(), request.uri()));
    match request.uri().path() {
        "/echo" => match request.into_body().collect().await {
            Ok(body) => {
                let body = body.to_bytes();
                let _ = news.send(format!("in {}", exchange.bytes_in()));
                say(200, format!("[{}]", body.escape_ascii()), Some(exchange))
            }
            Err(_) => {
                let reason = exchange.fault().expect("a fault").reason();
                let _ = news.send(reason.slug.to_owned());
                say(reason.status, reason.slug.to_owned(), Some(exchange))
            }
        },
        "/slow" => {
            let _obituary = Obituary(news, "slow ended");
            tokio::time::sleep(Duration::from_millis(100)).await;
            say(200, "slow".to_owned(), Some(exchange))
        }
        "/silent" => {
            let _obituary = Obituary(news, "silent ended");
            std::future::pending::<()>().await;
            unreachable!()
        }
        "/unread" => {
            let _body = request.into_body();
            exchange.gone().await;
            let _ = news.send("gone".to_owned());
            say(200, String::new(), Some(exchange))
        }
        "/elsewhere" => {
            // The exchange ends in another task, after the answer.
            let response = say(200, "elsewhere".to_owned(), None);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(exchange);
            });
            response
        }
        "/late" => {
            // Answered at once; the body is read in another task, when the exchange is long over.
            let body = request.into_body();
            tokio::spawn(async move {
                let body = body.collect().await.map(|body| body.to_bytes().len());
                let _ = news.send(format!("late {body:?}"));
            });
            say(200, "late".to_owned(), Some(exchange))
        }
        "/too-late" => {
            let response = say(200, "x".repeat(4_000_000), None);
            tokio::spawn(async move {
                while exchange.bytes_out() == 0 {
                    tokio::task::yield_now().await;
                }
                exchange.interim(StatusCode::EARLY_HINTS, &HeaderMap::new());
                let _ = news.send("hinted".to_owned());
            });
            response
        }
        "/hints" => {
            let mut headers = HeaderMap::new();
            headers.insert("link", "</a.css>".parse().expect("a value"));
            let sent = exchange.interim(StatusCode::EARLY_HINTS, &headers);
            assert!(!exchange.interim(StatusCode::SWITCHING_PROTOCOLS, &headers));
            assert!(!exchange.interim(StatusCode::OK, &headers));
            if request.uri().query() == Some("wait") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            say(200, format!("hints {sent}\n"), Some(exchange))
        }
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(request);
            exchange.upgraded();
            tokio::spawn(async move {
                let upgraded = upgrade.await.expect("an upgrade");
                let parts = upgraded.downcast::<TokioIo<Edge<TcpStream>>>().expect("our type");
                let mut early = parts.read_buf.to_vec();
                let (mut io, rest) = parts.io.into_inner().into_inner();
                early.extend_from_slice(&rest);
                io.write_all(&early).await.expect("a socket");
                let (mut from, mut to) = io.split();
                tokio::io::copy(&mut from, &mut to).await.expect("a socket");
            });
            say(101, String::new(), Some(exchange))
        }
        "/big" => say(200, "x".repeat(4_000_000), Some(exchange)),
        _ => {
            let target = target.bytes(request.uri()).escape_ascii().to_string();
            say(200, target, Some(exchange))
        }
    }
}

fn serve<IO>(io: IO, limits: Limits) -> (JoinHandle<hyper::Result<()>>, UnboundedReceiver<String>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (news, told) = unbounded_channel();
    let (mut edge, exchanges) = Edge::new(io, Arc::new(limits));
    let task = tokio::spawn(async move {
        if edge.sniff().await.is_err() {
            return Ok(());
        }
        let service = service_fn(move |request| {
            let answer = answer(request, exchanges.clone(), news.clone());
            async move { Ok::<_, Infallible>(answer.await) }
        });
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(edge), service).with_upgrades().await
    });
    (task, told)
}

/// A connection over loopback.
async fn connect(limits: Limits) -> (TcpStream, JoinHandle<hyper::Result<()>>, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a listener");
    let (server, _) = listener.accept().await.expect("a client");
    let (task, told) = serve(server, limits);
    (client, task, told)
}

/// A connection in memory, for tests that move the clock.
fn memory(limits: Limits) -> (DuplexStream, JoinHandle<hyper::Result<()>>, UnboundedReceiver<String>) {
    let (client, server) = duplex(64 * 1024);
    let (task, told) = serve(server, limits);
    (client, task, told)
}

/// Reads until `marks` has come `n` times.
async fn read_marks(client: &mut (impl AsyncRead + Unpin), marks: &str, n: usize) -> String {
    let mut text = Vec::new();
    while String::from_utf8_lossy(&text).matches(marks).count() < n {
        let got = client.read_buf(&mut text).await.expect("a connection");
        assert_ne!(got, 0, "closed after {}", text.escape_ascii());
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn read_all(client: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.expect("an orderly end");
    String::from_utf8_lossy(&text).into_owned()
}

async fn hear(told: &mut UnboundedReceiver<String>, what: &str) {
    let wait = async {
        while let Some(news) = told.recv().await {
            if news == what {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what), "{what}");
}

/// The last lines of the answers, in order.
fn bodies(text: &str) -> Vec<&str> {
    text.split("HTTP/1.").skip(1).map(|answer| answer.split("\r\n\r\n").nth(1).unwrap_or_default()).collect()
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (mut client, _, _) = connect(Limits::default()).await;
    let text = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n2;x\r\nef\r\n0\r\n\r\n\
        GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /raw\"\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(text).await.expect("a socket");
    let text = read_all(&mut client).await;
    assert_eq!(bodies(&text), ["slow", "[abc]", "[def]", "elsewhere", "/raw\\\"\\xff"]);
}

#[tokio::test]
async fn nothing_after_a_refusal_is_a_request() {
    for cut in [0, 20, 45, 60] {
        let (mut client, _, mut told) = connect(Limits::default()).await;
        let text = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\nGET /three HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(&text[..cut]).await.expect("a socket");
        client.write_all(&text[cut..]).await.expect("a socket");
        let got = read_all(&mut client).await;
        assert_eq!(bodies(&got), ["/one", "bad-header"], "{got}");
        drop(client);
        let mut all = Vec::new();
        while let Some(news) = told.recv().await {
            all.push(news);
        }
        assert_eq!(all, ["GET /one", "refused bad-header GET /two HTTP/1.1"]);
    }
}

#[tokio::test]
async fn a_refused_head_request_gets_no_body() {
    let (mut client, _, _) = connect(Limits::default()).await;
    client.write_all(b"HEAD / HTTP/1.1\r\n\r\n").await.expect("a socket");
    let text = read_all(&mut client).await;
    assert!(
        text.starts_with("HTTP/1.1 400") && text.contains("connection: close") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_survives_an_upload_that_nobody_reads() {
    for head in ["Content-Length: 16000000", "Transfer-Encoding: chunked", "Bad Name: x"] {
        let (mut client, task, _) = connect(Limits::default()).await;
        let head = format!("POST /x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nf42400\r\n");
        client.write_all(head.as_bytes()).await.expect("a socket");
        // All of it is sent before anything is read: a reset would break the writing or lose the answer.
        client.write_all(&vec![b'x'; 15_999_000]).await.expect("a server that reads on");
        let text = read_all(&mut client).await;
        assert!(text.starts_with("HTTP/1.1 "), "{text}");
        drop(client);
        task.await.expect("no panic").expect("an orderly end");
    }
}

#[tokio::test]
async fn lingering_is_bounded() {
    let limits = Limits { linger_bytes: 1_000_000, ..Limits::default() };
    let (mut client, task, _) = connect(limits).await;
    client.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n").await.expect("a socket");
    while client.write_all(&[b'x'; 65536]).await.is_ok() {}
    task.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn hanging_up_ends_a_silent_service() {
    for (before, after) in
        [("", ""), ("GET /one HTTP/1.1\r\nHost: a\r\n\r\n", ""), ("", "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")]
    {
        let (mut client, _, mut told) = connect(Limits::default()).await;
        let text = format!("{before}GET /silent HTTP/1.1\r\nHost: a\r\n\r\n{after}");
        client.write_all(text.as_bytes()).await.expect("a socket");
        hear(&mut told, "GET /silent").await;
        drop(client);
        hear(&mut told, "silent ended").await;
    }
}

#[tokio::test]
async fn hanging_up_half_way_through_an_upload_is_seen() {
    for head in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        for sent in [0, 1, 9_000, 30_000] {
            let (mut client, _, mut told) = connect(Limits::default()).await;
            let head = format!("POST /unread HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nf4240\r\n");
            client.write_all(head.as_bytes()).await.expect("a socket");
            client.write_all(&vec![b'x'; sent]).await.expect("a socket");
            hear(&mut told, "POST /unread").await;
            drop(client);
            hear(&mut told, "gone").await;
        }
    }
}

#[tokio::test]
async fn a_half_closed_client_gets_an_answer_that_is_ready() {
    // In memory the end is there together with the bytes; on a socket it may come later.
    let text = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut client, _, _) = memory(Limits::default());
    client.write_all(text).await.expect("a pipe");
    client.shutdown().await.expect("a pipe");
    assert_eq!(bodies(&read_all(&mut client).await), ["/a", "/b"]);
    let (mut client, _, _) = connect(Limits::default()).await;
    client.write_all(text).await.expect("a socket");
    client.shutdown().await.expect("a socket");
    assert_eq!(bodies(&read_all(&mut client).await), ["/a", "/b"]);
}

#[tokio::test]
async fn half_close_can_be_allowed() {
    let limits = Limits { half_close: true, ..Limits::default() };
    let (mut client, task, _) = connect(limits).await;
    client
        .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("a socket");
    client.shutdown().await.expect("a socket");
    assert_eq!(bodies(&read_all(&mut client).await), ["slow", "slow"]);
    task.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn interim_responses_come_first() {
    for query in ["", "?wait"] {
        let (mut client, _, _) = connect(Limits::default()).await;
        let text = format!(
            "GET /hints{query} HTTP/1.1\r\nHost: a\r\n\r\nGET /hints{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        client.write_all(text.as_bytes()).await.expect("a socket");
        let text = read_all(&mut client).await;
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("HTTP") || line.starts_with("link")).collect();
        let hints = ["HTTP/1.1 103 Early Hints", "link: </a.css>", "HTTP/1.1 200 OK"];
        assert_eq!(lines, [hints, hints].concat(), "{text}");
    }
    let (mut client, _, _) = connect(Limits::default()).await;
    client.write_all(b"GET /hints HTTP/1.0\r\n\r\n").await.expect("a socket");
    let text = read_all(&mut client).await;
    assert!(!text.contains("103") && text.ends_with("hints false\n"), "{text}");
}

#[tokio::test]
async fn interim_responses_never_land_in_an_answer() {
    let (mut client, _, mut told) = connect(Limits::default()).await;
    client.write_all(b"GET /too-late HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a socket");
    hear(&mut told, "hinted").await;
    client.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("a socket");
    let text = read_all(&mut client).await;
    assert!(!text.contains("HTTP/1.1 103") && text.ends_with("/next"));
}

#[tokio::test]
async fn an_upgraded_connection_is_handed_through() {
    let (mut client, _, _) = connect(Limits::default()).await;
    let early = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\x00early\n\r\n";
    client.write_all(early).await.expect("a socket");
    let text = read_marks(&mut client, "early\n\r\n", 1).await;
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    client.write_all(b"GET / late\r\n").await.expect("a socket");
    assert_eq!(read_marks(&mut client, "late\r\n", 1).await, "GET / late\r\n");
}

#[tokio::test]
async fn protocols_are_told_apart() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut cases = vec![(b"GET / HTTP/1.1\r\n".to_vec(), Protocol::Http1), (PREFACE.to_vec(), Protocol::Http2)];
    cases.push((b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), Protocol::Http1));
    for (bytes, protocol) in cases {
        for cut in 1..bytes.len() {
            let (mut client, server) = duplex(1024);
            let (mut edge, _exchanges) = Edge::new(server, Arc::new(Limits::default()));
            let sniffing = tokio::spawn(async move {
                let protocol = edge.sniff().await.expect("a socket");
                (edge, protocol)
            });
            client.write_all(&bytes[..cut]).await.expect("a socket");
            tokio::task::yield_now().await;
            client.write_all(&bytes[cut..]).await.expect("a socket");
            let (mut edge, found) = sniffing.await.expect("no panic");
            assert_eq!(found, protocol, "{}", bytes.escape_ascii());
            if protocol == Protocol::Http2 {
                client.write_all(b"more").await.expect("a socket");
                let mut got = vec![0; bytes.len() + 4];
                edge.read_exact(&mut got).await.expect("all of it");
                assert_eq!(got, [&bytes[..], b"more"].concat());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_answered_and_closed() {
    let start = Instant::now();
    let (mut client, _, _) = memory(Limits::default());
    client.write_all(b"GET / HT").await.expect("a pipe");
    for byte in b"TP/1.1\r\nHost" {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = client.write_all(&[*byte]).await;
    }
    let text = read_all(&mut client).await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.ends_with("slow-head"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn silent_and_idle_connections_are_closed_without_a_word() {
    let start = Instant::now();
    let (mut client, _, _) = memory(Limits::default());
    assert_eq!(read_all(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 10);

    let (mut client, task, _) = memory(Limits::default());
    for wait in [0, 5, 14, 14] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("still open");
        read_marks(&mut client, "/a", 1).await;
    }
    let start = Instant::now();
    assert_eq!(read_all(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 15);
    task.await.expect("no panic").expect("an orderly end");
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_its_own_deadline() {
    let (mut client, _, _) = memory(Limits::default());
    client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a pipe");
    read_marks(&mut client, "/a", 1).await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    client.write_all(b"GET /b").await.expect("a pipe");
    let start = Instant::now();
    let text = read_all(&mut client).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    // The answer comes after ten seconds; the rest is lingering.
    assert!((10..13).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_or_trickles_is_given_up() {
    for head in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        for (every, bytes, least, most) in [(1000, 0, 20, 24), (1, 400, 20, 24), (8, 6_000, 100_000, 0)] {
            let (mut client, _, mut told) = memory(Limits::default());
            let start = Instant::now();
            let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n186a0\r\n");
            client.write_all(head.as_bytes()).await.expect("a pipe");
            let mut sent = 0;
            let text = loop {
                let pause = tokio::time::sleep(Duration::from_secs(every));
                tokio::select! {
                    text = read_all(&mut client) => break text,
                    () = pause, if sent < 90_000 => {
                        sent += bytes;
                        client.write_all(&vec![b'x'; bytes]).await.expect("a pipe");
                    }
                    () = std::future::ready(()), if sent >= 90_000 => break String::new(),
                }
            };
            if least < 1000 {
                assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
                hear(&mut told, "slow-body").await;
                assert!((least..most).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
            } else {
                assert_eq!(text, "", "500 bytes a second are enough");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_is_given_up() {
    let (mut client, task, _) = memory(Limits::default());
    let start = Instant::now();
    client.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a pipe");
    // It reads a little every 50 seconds, twice, and then no more.
    let mut some = vec![0; 30_000];
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.read_exact(&mut some).await.expect("a pipe");
    }
    assert!(task.await.expect("no panic").is_err());
    assert_eq!(start.elapsed().as_secs(), 160);
}

/// A task that wakes itself for ever would keep the clock from moving, and this test from ending.
#[tokio::test(start_paused = true)]
async fn a_body_may_be_read_after_the_answer() {
    let (mut client, _, mut told) = memory(Limits::default());
    let text = b"POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345";
    client.write_all(text).await.expect("a pipe");
    read_marks(&mut client, "late", 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.write_all(b"67890GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a pipe");
    assert_eq!(bodies(&read_marks(&mut client, "/next", 1).await), ["/next"]);
    hear(&mut told, "late Ok(10)").await;
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_ends_elsewhere_starts_the_idle_time() {
    let (mut client, _, _) = memory(Limits::default());
    client.write_all(b"GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a pipe");
    read_marks(&mut client, "elsewhere", 1).await;
    let start = Instant::now();
    assert_eq!(read_all(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn a_bad_chunk_is_told_to_the_service() {
    let (mut client, _, mut told) = connect(Limits::default()).await;
    client.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("a socket");
    hear(&mut told, "POST /echo").await;
    client.write_all(b"3\r\nabcX\r\n0\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a socket");
    let text = read_all(&mut client).await;
    assert_eq!(bodies(&text), ["bad-chunk"], "{text}");
    hear(&mut told, "bad-chunk").await;
}
