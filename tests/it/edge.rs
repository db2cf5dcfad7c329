//! Between the socket and everything else: where one message ends and the next begins is known, or it is refused.

use crate::server::{Server, serve};
use crate::tree::Tree;

fn server() -> Server {
    serve(
        Tree::new()
            .file("htdocs/index.html", "index")
            .script("x", "#!/bin/sh\ntouch @NOTES@/ran\nprintf 'Content-Type: text/plain\\n\\n'\nexec cat\n"),
    )
}

/// Refused with `status`, and nothing that follows on the connection is taken for a request.
#[track_caller]
fn refused(server: &Server, request: &str, status: u16) {
    let mut client = server.connect();
    client.send(format!("{request}GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.status(), status, "{request:?}: {response:?}");
    client.assert_closed();
}

#[test]
fn a_host_is_needed_once_and_well_formed() {
    let server = server();
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: <script>\r\n",
        "Host: a:99999\r\n",
        "Host: user@a\r\n",
        "Host: a,b\r\n",
        "Host: ..\r\n",
        "Host: [::1\r\n",
        "Host:\r\n",
        "Host: -oProxyCommand=x\r\n",
        "Host: -a.b\r\n",
        "Host: 127.1\r\n",
        "Host: 2130706433\r\n",
        "Host: 127.0.0.256\r\n",
    ] {
        refused(&server, &format!("GET / HTTP/1.1\r\n{fields}\r\n"), 400);
    }
    server.ask("GET / HTTP/1.0\r\n\r\n").expect(200);
    for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]:8000", "a.b.c.", "xn--a", "a_b", "3com.example"] {
        server.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).expect(200);
    }
}

#[test]
fn only_hosts_that_are_meant_are_served() {
    let server =
        serve(Tree::new().file("htdocs/index.html", "index").config("hosts = [\"www.example\", \"localhost\"]"));
    let ask = |host: &str| server.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    ask("www.example").expect(200);
    ask("WWW.Example:8000").expect(200);
    ask("evil.example").expect_failure(421, "misdirected");
    // DNS rebinding comes with the attacker's name and the victim's address.
    ask("127.0.0.1").expect(421);
}

#[test]
fn a_body_has_one_length() {
    let server = server();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "\x00X: y\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("POST /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let response = client.response();
        assert!(matches!(response.status(), 400 | 501), "{fields:?}: {response:?}");
        client.assert_closed();
    }
    assert!(!server.tree.has_note("ran"));
}

#[test]
fn a_body_has_one_type() {
    let server = server();
    for second in ["text/plain", "application/json", ""] {
        let fields = format!("Content-Type: text/plain\r\nContent-Length: 0\r\ncontent-TYPE: {second}\r\n");
        refused(&server, &format!("POST /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"), 400);
    }
    assert!(!server.tree.has_note("ran"));
}

#[test]
fn chunks_are_read_strictly() {
    let server = server();
    for chunks in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;\nx\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut client = server.connect();
        client
            .send(format!("POST /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        let response = client.response();
        assert_eq!(response.status(), 400, "{chunks:?}: {response:?}");
        client.assert_closed();
    }
    assert!(!server.tree.has_note("ran"), "a body that is not understood starts nothing");
}

#[test]
fn a_malformed_body_is_refused_where_nobody_would_read_it() {
    let server = server();
    for target in ["/", "/none", "/ajax/time"] {
        for chunks in ["zz\r\n", "5\r\r;ABCD\r\n", "5\r\nhello0\r\n", "1\r\nx\r\n5\n"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
            refused(&server, &format!("{head}{chunks}"), 400);
            refused(&server, &format!("\r\n{head}{chunks}"), 400);
        }
    }
}

#[test]
fn request_lines_are_read_strictly() {
    let server = server();
    for (line, status) in [
        ("GET / HTTP/1.1 x", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/3.0", 505),
        ("GET / HTTP/1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET relative HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET /a\tb HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("\x16\x03\x01 / HTTP/1.1", 400),
    ] {
        let mut client = server.connect();
        client.send(format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert_eq!(client.response().status(), status, "{line:?}");
    }
    server.get(&format!("/{}", "x".repeat(10_000))).expect(414);
}

#[test]
fn the_server_as_a_whole_can_be_asked_for_its_options() {
    let server = server();
    for target in ["*", "http://localhost"] {
        let response = server.ask(format!("OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert_eq!(response.expect(204).field("allow").as_deref(), Some("GET, HEAD, POST, OPTIONS"), "{target}");
    }
}

#[test]
fn a_refused_request_is_logged_with_its_line_escaped() {
    let server = server();
    server.ask("GET /\x1b[31m\"\x7f HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let line = server.wait_for_log(|line| line.contains("\"GET /"));
    assert!(!line.bytes().any(|b| b < b' ' || b == 0x7f), "{line:?}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = server();
    let mut client = server.connect();
    let post = |body: &str| {
        format!("POST /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    client.send([post("one"), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), post("three")].concat());
    assert_eq!(client.response().expect(200).text(), "one");
    assert_eq!(client.response().expect(200).text(), "index");
    assert_eq!(client.response().expect(200).text(), "three");
}

#[test]
fn a_slow_head_is_408_and_costs_nobody_else() {
    let server = serve(
        Tree::new()
            .file("htdocs/index.html", "index")
            .config("[limits]\nheader-timeout = \"300ms\"\nkeep-alive = \"300ms\""),
    );
    let mut slow = server.connect();
    slow.send("GET / HTTP/1.1\r\nHost: loc");
    server.get("/").expect(200);
    assert_eq!(slow.response().status(), 408);
    // Between two requests a connection is closed without a word.
    let mut idle = server.connect();
    idle.get("/").expect(200);
    idle.assert_closed();
}

#[test]
fn connections_of_one_address_are_limited() {
    let server = serve(Tree::new().file("htdocs/index.html", "index").config("[limits]\nconnections-per-address = 2"));
    let mut held = [server.connect(), server.connect()];
    for client in &mut held {
        client.get("/").expect(200);
    }
    server.connect().assert_closed();
    drop(held);
    crate::wait::until("a place to be free again", || {
        let mut client = server.connect();
        client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok() && !client.probe().is_empty()
    });
}
