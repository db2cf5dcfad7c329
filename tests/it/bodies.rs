//! RFC 3875 §4.2: a request's body on its way to a script's standard input.

use crate::raw::{Client, Response};
use crate::server::serve;
use crate::tools::need;
use crate::tree::Tree;

/// Says how many octets it read, and what they hash to.
const COUNTS: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
echo \"$CONTENT_LENGTH $(cksum)\"
";
/// Answers at once and never looks at its input.
const NEVER_READS: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\n\\nanswer\\n'
";
/// Gives back what it read.
const ECHOES: &str = "#!/bin/sh
printf 'Content-Type: application/octet-stream\\n\\n'
exec cat
";

fn head(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn sized(target: &str, body: &[u8]) -> Vec<u8> {
    [head(target, &format!("Content-Length: {}\r\n", body.len())).as_bytes(), body].concat()
}

fn noise(length: usize) -> Vec<u8> {
    // A linear congruence: the point is that no piece looks like another.
    let mut state = 1u32;
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 24) as u8
    };
    (0..length).map(|_| next(&mut state)).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Sends `octets` from another thread while this one reads the answer.
fn converse(client: &mut Client, octets: Vec<u8>) -> Response {
    let mut stream = client.stream.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || std::io::Write::write_all(&mut stream, &octets));
        let response = client.response();
        // It may have been told to stop.
        let _ = sender.join();
        response
    })
}

#[test]
fn a_body_arrives_whole_and_then_ends() {
    let server = serve(Tree::new().script("echoes", ECHOES));
    for length in [0, 1, 5, 65_536, 65_537, 3_000_000] {
        let body = noise(length);
        let mut client = server.connect();
        let response = converse(&mut client, sized("/cgi-bin/echoes", &body)).expect(200);
        assert!(response.body == body, "{length}: {} octets came back", response.body.len());
    }
}

#[test]
fn what_follows_the_body_is_the_next_request_and_not_input() {
    let server = serve(Tree::new().script("echoes", ECHOES));
    let mut client = server.connect();
    client.send([sized("/cgi-bin/echoes", b"first"), sized("/cgi-bin/echoes", b"second")].concat());
    assert_eq!(client.response().expect(200).text(), "first");
    assert_eq!(client.response().expect(200).text(), "second");
}

#[test]
fn without_a_body_input_ends_at_once() {
    let server = serve(Tree::new().script("echoes", ECHOES));
    let mut client = server.connect();
    assert_eq!(client.get("/cgi-bin/echoes").expect(200).text(), "");
    // A POST without either length has an empty body (RFC 9112 §6.3).
    client.send(head("/cgi-bin/echoes", ""));
    assert_eq!(client.response().expect(200).text(), "");
    client.send("DELETE /cgi-bin/echoes HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "");
}

#[test]
fn an_unread_body_never_becomes_the_next_request() {
    let tree = Tree::new().script("never_reads", NEVER_READS).script("evil", "#!/bin/sh\ntouch @NOTES@/evil\n");
    let server = serve(tree);
    let mut client = server.connect();
    let poison = b"GET /cgi-bin/evil HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    for _ in 0..5 {
        client.send(sized("/cgi-bin/never_reads", &poison));
        assert_eq!(client.response().expect(200).text(), "answer\n");
    }
    client.send(
        [head("/cgi-bin/never_reads", "Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&poison, 7)].concat(),
    );
    assert_eq!(client.response().expect(200).text(), "answer\n");
    client.get("/none").expect(404);
    assert!(!server.tree.has_note("evil"));
}

#[test]
fn an_unread_upload_of_any_size_costs_no_answer() {
    let server = serve(Tree::new().script("never_reads", NEVER_READS).script("counts", COUNTS));
    for megabytes in [1, 100] {
        let mut client = server.connect();
        let request = sized("/cgi-bin/never_reads", &vec![b'x'; megabytes << 20]);
        let response = converse(&mut client, request);
        assert_eq!(response.expect(200).text(), "answer\n");
    }
    server.get("/cgi-bin/counts").expect(200);
}

#[test]
fn a_whole_answer_may_come_before_the_first_octet_is_read() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nhead -c 8388608 /dev/zero\ncksum\n";
    let server = serve(Tree::new().script("writes_first", script));
    let body = noise(8 << 20);
    let mut client = server.connect();
    let response = converse(&mut client, sized("/cgi-bin/writes_first", &body)).expect(200);
    let (zeros, sum) = response.body.split_at(8 << 20);
    assert!(zeros.iter().all(|&b| b == 0));
    assert!(String::from_utf8_lossy(sum).contains(" 8388608"), "{:?}", String::from_utf8_lossy(sum));
}

#[test]
fn a_chunked_body_is_spooled_and_its_length_is_right() {
    let server = serve(Tree::new().script("echoes", ECHOES).script("counts", COUNTS));
    for (length, size) in [(0, 1), (5, 2), (65_536, 1000), (65_537, 65_537), (3_000_000, 4_099)] {
        let body = noise(length);
        let request =
            [head("/cgi-bin/echoes", "Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&body, size)].concat();
        let mut client = server.connect();
        let response = converse(&mut client, request).expect(200);
        assert!(response.body == body, "{length} in pieces of {size}");
        let request =
            [head("/cgi-bin/counts", "Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&body, size)].concat();
        let response = converse(&mut client, request).expect(200);
        let words: Vec<_> = response.text().split_whitespace().map(str::to_owned).collect();
        assert_eq!((words[0].as_str(), words[2].as_str()), (length.to_string().as_str(), length.to_string().as_str()));
    }
    let mut client = server.connect();
    client.send(head("/cgi-bin/echoes", "Transfer-Encoding: chunked\r\n"));
    client.send("3;name=\"value\"\r\nabc\r\n0\r\nX-Trailer: y\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "abc");
}

#[test]
fn a_body_over_the_limit_is_413_and_nothing_starts() {
    let script = "#!/bin/sh\ntouch @NOTES@/ran\nprintf 'Content-Type: text/plain\\n\\n'\nexec cat\n";
    let server = serve(Tree::new().script("x", script).config("[scripts]\nmax-body = 10"));
    let long = [head("/cgi-bin/x", "Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&[b'x'; 11], 3)].concat();
    for request in
        [sized("/cgi-bin/x", &[b'x'; 11]), long, head("/cgi-bin/x", "Content-Length: 99999999999\r\n").into()]
    {
        server.ask(request).expect_failure(413, "body-too-large");
    }
    assert!(!server.tree.has_note("ran"));
    assert_eq!(server.ask(sized("/cgi-bin/x", &[b'x'; 10])).expect(200).text(), "x".repeat(10));
    let fits = [head("/cgi-bin/x", "Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&[b'x'; 10], 3)].concat();
    assert_eq!(server.ask(fits).expect(200).text(), "x".repeat(10));
}

#[test]
fn continue_is_said_when_the_script_is_fed() {
    let server = serve(Tree::new().script("echoes", ECHOES));
    let mut client = server.connect();
    for framing in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        client.send(head("/cgi-bin/echoes", &format!("{framing}Expect: 100-continue\r\n")));
        assert_eq!(client.head().status, 100);
        client.send(if framing.starts_with('C') { "body" } else { "4\r\nbody\r\n0\r\n\r\n" });
        assert_eq!(client.response().expect(200).text(), "body");
    }
}

#[test]
fn continue_is_not_said_to_what_is_refused() {
    let server = serve(Tree::new().script("echoes", ECHOES).config("[scripts]\nmax-body = 10"));
    for (target, length, status) in [("/cgi-bin/echoes", 11, 413), ("/cgi-bin/none", 4, 404), ("/cgi-bin/%00", 4, 400)]
    {
        let mut client = server.connect();
        client.send(head(target, &format!("Content-Length: {length}\r\nExpect: 100-continue\r\n")));
        assert_eq!(client.head().status, status, "{target}");
    }
}

#[test]
fn an_answer_that_needs_no_body_says_whether_more_can_follow() {
    let server = serve(Tree::new().file("htdocs/x.txt", "text").script("echoes", ECHOES));
    let mut client = server.connect();
    for framing in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        client.send(head("/x.txt", framing));
        client.send(if framing.starts_with('C') { "body" } else { "4\r\nbody\r\n0\r\n\r\n" });
        assert_eq!(client.response().expect(405).field("connection"), None, "{framing}");
    }
    client.get("/x.txt").expect(200);
    for (target, fields) in [
        ("/x.txt", "Content-Length: 100000000\r\n"),
        ("/x.txt", "Content-Length: 4\r\nExpect: 100-continue\r\n"),
        ("/x.txt", "Content-Length: 4\r\n"),
        ("/cgi-bin/none", "Transfer-Encoding: chunked\r\n"),
    ] {
        let mut client = server.connect();
        client.send(head(target, fields));
        assert_eq!(client.response().field("connection").as_deref(), Some("close"), "{target} {fields}");
        client.half_close();
        client.assert_closed();
    }
    // One that a script reads is not waited for.
    let mut client = server.connect();
    client.send(head("/cgi-bin/echoes", "Content-Length: 4\r\n"));
    assert_eq!(client.head().get("connection"), None);
}

#[test]
fn another_expectation_is_417() {
    let server = serve(Tree::new().script("echoes", ECHOES));
    server.ask(head("/cgi-bin/echoes", "Content-Length: 0\r\nExpect: the-unexpected\r\n")).expect(417);
}

#[test]
fn the_script_may_start_before_the_body_is_there() {
    let script = "#!/bin/sh\necho up > @NOTES@/started\nprintf 'Content-Type: text/plain\\n\\n'\nexec cat\n";
    let server = serve(Tree::new().script("x", script));
    let mut client = server.connect();
    client.send(head("/cgi-bin/x", "Content-Length: 8\r\n"));
    assert_eq!(server.tree.note("started"), "up");
    client.send("half");
    client.wait_for("half");
    client.send("rest");
    client.wait_for("rest");
}

#[test]
fn a_coded_body_is_left_as_it_is() {
    let server = serve(Tree::new().script("echoes", ECHOES));
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
    let fields = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", gzip.len());
    let request = [head("/cgi-bin/echoes", &fields).as_bytes(), gzip].concat();
    assert_eq!(server.ask(request).expect(200).body, gzip);
}

#[test]
fn leaving_mid_upload_gives_the_script_no_end_of_file() {
    need("perl", "perl");
    // Ignores TERM, so that it lives long enough to see an end of file if there were one.
    let script = "#!/usr/bin/env perl
$SIG{TERM} = 'IGNORE';
open(my $note, '>', '@NOTES@/pid'); print $note \"$$\\n\"; close $note;
while (sysread(STDIN, my $octets, 4096)) { }
open($note, '>', '@NOTES@/eof'); close $note;
";
    let server = serve(Tree::new().script("waits_for_eof", script).config("[scripts]\ngrace = \"100ms\""));
    let mut client = server.connect();
    client.send(head("/cgi-bin/waits_for_eof", "Content-Length: 1000\r\n"));
    client.send("half of it");
    let pid = server.tree.note("pid").parse().unwrap();
    drop(client);
    crate::wait::until_gone(pid);
    assert!(!server.tree.has_note("eof"));
}
