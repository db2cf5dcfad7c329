//! What HTTP/2 adds to the edge, in frames.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;

use rustix::process::Signal;

use crate::h2;
use crate::raw::Client;
use crate::server::serve;
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;
use crate::wait::{PATIENCE, until_gone};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// SETTINGS_INITIAL_WINDOW_SIZE = 0.
const SHUT: &[u8] = &[0, 4, 0, 0, 0, 0];
/// Static table entries 8 and 12 (RFC 7541, appendix A), as an indexed field.
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

/// Notes its pid and that of a child, and then says things for ever.
const TALKATIVE: &str = "#!/bin/sh
sleep 1000 &
echo $$ $! > @NOTES@/pids
printf 'Content-Type: text/plain\\n\\n'
while :; do echo more; done
";

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Connection(Client);

impl Connection {
    fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let mut client = Client::connect(address);
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut connection = Self(client);
        connection.send(SETTINGS, 0, 0, settings);
        connection
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.send([&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat());
    }

    fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.head(END_STREAM, stream, fields);
    }

    fn head(&mut self, flags: u8, stream: u32, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.send(HEADERS, flags | END_HEADERS, stream, &block);
    }

    /// The next frame; `None` at the end of the connection.
    fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.0.stream.read_exact(&mut head) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
            result => result.expect("a frame in time"),
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.stream.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, payload })
    }

    /// Skips to the next frame of this kind.
    #[track_caller]
    fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().expect("the connection is there");
            if frame.kind == kind {
                return frame;
            }
        }
    }
}

const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost")];

fn get(path: &'static str) -> Vec<(&'static str, &'static str)> {
    [&GET[..], &[(":path", path)]].concat()
}

fn pids(tree: &Tree) -> Vec<u32> {
    tree.note("pids").split(' ').map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn a_reset_stream_ends_its_script_and_all_it_started() {
    let server = serve(Tree::new().script("talk", TALKATIVE).file("htdocs/a", "a"));
    let mut connection = Connection::open(server.address, &[]);
    connection.ask(1, &get("/cgi-bin/talk"));
    connection.until(DATA);
    let pids = pids(&server.tree);
    connection.send(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    pids.into_iter().for_each(until_gone);
    connection.ask(3, &get("/a"));
    while connection.until(HEADERS).stream != 3 {}
}

#[test]
fn a_window_that_stays_shut_ends_the_stream() {
    let tree = Tree::new().script("talk", TALKATIVE).config("[limits]\nwrite-timeout = \"1s\"");
    let server = serve(tree);
    let mut connection = Connection::open(server.address, SHUT);
    connection.ask(1, &get("/cgi-bin/talk"));
    pids(&server.tree).into_iter().for_each(until_gone);
    assert_eq!(connection.until(RST_STREAM).stream, 1);
}

#[test]
fn an_idle_connection_is_closed_with_goaway() {
    let tree = Tree::new().file("htdocs/a", "a").config("[limits]\nkeep-alive = \"1s\"\nwrite-timeout = \"1s\"");
    let server = serve(tree);
    let mut connection = Connection::open(server.address, &[]);
    connection.ask(1, &get("/a"));
    connection.until(GOAWAY);
    // It should answer a PING now; but one that does not is not waited for.
    while connection.frame().is_some() {}
}

#[test]
fn authority_and_host_have_to_agree_and_to_be_hosts() {
    let server = serve(Tree::new().file("htdocs/a", "a"));
    let mut connection = Connection::open(server.address, &[]);
    let mut stream = 1;
    for (fields, status) in [
        (&[(":authority", "localhost:8000")][..], OK),
        (&[("host", "localhost")], OK),
        (&[(":authority", "localhost"), ("host", "LOCALHOST")], OK),
        (&[(":authority", "localhost"), ("host", "elsewhere")], BAD_REQUEST),
        (&[("host", "localhost"), ("host", "localhost")], BAD_REQUEST),
        (&[("host", "a b")], BAD_REQUEST),
        (&[(":authority", "a..b")], BAD_REQUEST),
        (&[], BAD_REQUEST),
    ] {
        let all = [&[(":method", "GET"), (":scheme", "http"), (":path", "/a")], fields].concat();
        connection.ask(stream, &all);
        let answer = connection.until(HEADERS);
        // The first answer of a connection may begin by changing the size of the table.
        let first = answer.payload.iter().find(|&&b| b >> 5 != 1);
        assert_eq!((answer.stream, first), (stream, Some(&status)), "{fields:?}");
        stream += 2;
    }
}

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/a")];

#[test]
fn an_answer_that_needs_no_body_waits_for_its_end_a_little() {
    let server = serve(Tree::new().file("htdocs/a", "a"));
    let mut connection = Connection::open(server.address, &[]);
    connection.head(0, 1, &POST);
    connection.ask(3, &get("/a"));
    assert_eq!(connection.until(HEADERS).stream, 3, "the other stream is not kept waiting");
    connection.send(DATA, END_STREAM, 1, b"body");
    assert_eq!(connection.until(HEADERS).stream, 1);
    // A body that does not come keeps nobody waiting for long.
    connection.head(0, 5, &POST);
    assert_eq!(connection.until(HEADERS).stream, 5);
}

#[test]
fn a_body_that_is_malformed_is_refused_even_where_nobody_reads_it() {
    let server = serve(Tree::new().file("htdocs/a", "a"));
    let mut connection = Connection::open(server.address, &[]);
    // Longer than its Content-Length (RFC 9113 §8.1.1).
    connection.head(0, 1, &[&POST[..], &[("content-length", "1")]].concat());
    connection.ask(3, &get("/a"));
    assert_eq!(connection.until(HEADERS).stream, 3);
    connection.send(DATA, END_STREAM, 1, b"body");
    let reset = connection.until(RST_STREAM);
    assert_eq!((reset.stream, &reset.payload[..]), (1, &[0, 0, 0, 1][..]));
    // Trailers that do not end the stream (§8.1).
    connection.head(0, 5, &POST);
    connection.ask(7, &get("/a"));
    assert_eq!(connection.until(HEADERS).stream, 7);
    connection.head(0, 5, &[("x", "y")]);
    let reset = connection.until(RST_STREAM);
    assert_eq!((reset.stream, &reset.payload[..]), (5, &[0, 0, 0, 1][..]));
}

#[test]
fn a_request_has_one_type() {
    let server = serve(Tree::new().file("htdocs/a", "a"));
    let mut connection = Connection::open(server.address, &[]);
    let twice = [("content-type", "text/plain"), ("content-type", "text/plain")];
    for (stream, fields, status) in [(1, &twice[..1], OK), (3, &twice[..], BAD_REQUEST)] {
        connection.ask(stream, &[&get("/a")[..], fields].concat());
        let answer = connection.until(HEADERS);
        let first = answer.payload.iter().find(|&&b| b >> 5 != 1);
        assert_eq!((answer.stream, first), (stream, Some(&status)));
    }
}

#[test]
fn streams_in_flight_finish_before_the_end() {
    let gated =
        "#!/bin/sh\necho $$ > @NOTES@/pids\nread line < @NOTES@/gate\nprintf 'Content-Type: text/plain\\n\\ndone'\n";
    let mut server = serve(Tree::new().script("gated", gated));
    let mut gate = server.tree.gate("gate");
    let mut connection = Connection::open(server.address, &[]);
    connection.ask(1, &get("/cgi-bin/gated"));
    let pids = pids(&server.tree);
    let mut idle = Connection::open(server.address, &[]);
    idle.until(SETTINGS);
    server.signal(Signal::TERM);
    connection.until(GOAWAY);
    idle.until(GOAWAY);
    gate.open();
    assert_eq!(connection.until(DATA).payload, b"done");
    drop((connection, idle));
    assert_eq!(server.ended().0, Some(0));
    pids.into_iter().for_each(until_gone);
}

#[test]
fn fields_of_connections_reset_their_stream() {
    let server = serve(Tree::new().script("env", ENVIRONMENT));
    for field in [("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip"), ("upgrade", "x")] {
        assert_eq!(h2::get(server.address, "/cgi-bin/env", &[field]).reset, Some(1), "{field:?}");
    }
}

#[test]
fn scripts_see_http2_as_http() {
    let server = serve(Tree::new().script("env", ENVIRONMENT));
    let answer =
        h2::get(server.address, "/cgi-bin/env/x?q", &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let variables: Vec<_> = text.split('\0').collect();
    for wanted in [
        "SERVER_PROTOCOL=HTTP/2.0",
        "HTTP_HOST=localhost",
        "SERVER_NAME=localhost",
        "HTTP_COOKIE=a=1; b=2",
        "REQUEST_URI=/cgi-bin/env/x?q",
        "PATH_INFO=/x",
    ] {
        assert!(variables.contains(&wanted), "{wanted}: {variables:?}");
    }
    assert!(!text.contains("HTTPS=") && !text.contains("HTTP_TE="), "{text}");
}
