//! The fast lane: whoever answers, hyper or the lane, the client cannot tell.

use crate::raw::{Client, Response};
use crate::server::{Server, serve};
use crate::tree::Tree;

/// What makes a request hyper's: the lane does not know it.
const HYPERS: &str = "TE: trailers\r\n";

fn tree() -> Tree {
    Tree::new()
        .file("htdocs/index.html", "<p>index")
        .file("htdocs/a b.txt", "text")
        .file("htdocs/large.bin", vec![b'x'; 200_000])
        .file("htdocs/larger.bin", vec![b'y'; 400_000])
        .file("htdocs/folder/index.html", "<p>folder")
        .file("htdocs/empty.css", "")
        .script("hello", "#!/bin/sh\necho Content-Type: text/plain\necho\necho hello\n")
        .script("gone", "#!/bin/sh\necho Status: 410 So gone\necho X-Two-Words: a\necho\n")
        .script("silent", "#!/bin/sh\n")
}

fn ask(client: &mut Client, target: &str, fields: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    client.response()
}

/// Status line and fields without what differs by itself; the body likewise.
fn comparable(response: &Response) -> (String, String) {
    let (head, text) = (&response.head, response.text());
    // An error page names the request's id, which is not always as long; /ajax/time tells the time.
    let end = ["<code>", "\"id\"", "\"time\""].iter().find_map(|differs| text.find(differs));
    let varies = |name: &str| name == "Date" || name == "Content-Length" && end.is_some();
    let fields = head.fields.iter().filter(|(name, _)| !varies(name));
    let mut fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect();
    fields.sort(); // who adds Content-Length: 0 puts it last
    let head = format!("{} {} {}\n{}", head.version, head.status, head.reason, fields.join("\n"));
    (head, text[..end.unwrap_or(text.len())].to_owned())
}

fn both(server: &Server, target: &str, fields: &str) -> u16 {
    let (mut lane, mut hyper) = (server.connect(), server.connect());
    // Twice on each connection: from the disk, then from memory.
    for _ in 0..2 {
        let (fast, slow) = (ask(&mut lane, target, fields), ask(&mut hyper, target, &format!("{fields}{HYPERS}")));
        assert_eq!(comparable(&fast), comparable(&slow), "{target} {fields}");
    }
    ask(&mut lane, target, fields).status()
}

#[test]
fn the_lane_and_hyper_answer_alike() {
    let server = serve(tree());
    let etag = server.get("/a%20b.txt").expect(200).field("etag").unwrap();
    for (target, fields, status) in [
        ("/", "", 200),
        ("/a%20b.txt", "", 200),
        ("/a%20b.txt", "Range: bytes=1-2\r\n", 206),
        ("/a%20b.txt", "Range: bytes=9-\r\n", 416),
        ("/a%20b.txt", &format!("If-None-Match: {etag}\r\n"), 304),
        ("/a%20b.txt", "If-Match: \"x\"\r\n", 412),
        ("/a%20b.txt", "Connection: keep-alive\r\n", 200),
        ("/large.bin", "", 200),
        ("/larger.bin", "", 200),
        ("/empty.css", "", 200),
        ("/folder", "", 301),
        ("/folder/", "", 200),
        ("/missing", "", 404),
        ("/.hidden", "", 404),
        ("/%2e%2e/x", "", 400),
        ("/ajax/time", "", 200),
        ("/ajax/processinput", "", 405),
        ("/cgi-bin/hello", "", 200),
        ("/cgi-bin/gone", "", 410),
        ("/cgi-bin/silent", "", 502),
    ] {
        assert_eq!(both(&server, target, fields), status, "{target} {fields}");
    }
}

#[test]
fn requests_change_between_the_lane_and_hyper_on_one_connection() {
    let server = serve(tree());
    let mut client = server.connect();
    let post = "POST /ajax/processinput HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"input\":\"a\"}";
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // All at once: answers come in the order of the requests, whoever makes them.
    let all = [
        get("/a%20b.txt"),
        get("/cgi-bin/hello"),
        get("/empty.css"),
        post.to_owned(),
        get("/a%20b.txt"),
        get("/larger.bin"),
        get("/missing"),
        get("/cgi-bin/hello"),
    ];
    client.send(all.concat());
    let statuses: Vec<_> = all.iter().map(|_| client.response()).map(|r| (r.status(), r.text().len())).collect();
    let (missing, _) = (statuses[6].0, statuses[6].1);
    assert_eq!(missing, 404);
    let lengths: Vec<_> =
        statuses.iter().enumerate().filter(|(n, _)| *n != 6).map(|(_, (status, n))| (*status, *n)).collect();
    let counted = "{\"processed\":1,\"length\":13}".len();
    assert_eq!(lengths, [(200, 4), (200, 6), (200, 0), (200, counted), (200, 4), (200, 400_000), (200, 6)]);
    // Each by itself, one after the other.
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "/a%20b.txt", "").text(), "text");
        assert_eq!(ask(&mut client, "/cgi-bin/hello", "").text(), "hello\n");
        client.send(post);
        client.response().expect(200);
    }
}

#[test]
fn every_answer_of_the_lane_has_its_line_in_the_log() {
    let server = serve(tree());
    let mut client = server.connect();
    for target in ["/a%20b.txt", "/missing", "/ajax/time"] {
        ask(&mut client, target, "");
    }
    drop(client);
    server.wait_for_log(|line| line.contains("/ajax/time"));
    let log = server.log();
    for line in
        ["\"GET /a%20b.txt HTTP/1.1\" 200 -", "\"GET /missing HTTP/1.1\" 404 -", "\"GET /ajax/time HTTP/1.1\" 200 -"]
    {
        assert!(log.contains(line), "{line} is not in:\n{log}");
    }
}
