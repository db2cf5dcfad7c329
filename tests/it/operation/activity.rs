//! Connections that come and go, and the server's own end.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::raw::Client;
use crate::server::serve;
use crate::tree::Tree;
use crate::wait::{until, until_gone};

const GATED: &str = "#!/bin/sh
echo $$ > @NOTES@/pid
read line < @NOTES@/gate
printf 'Content-Type: text/plain\\n\\ndone'
";

fn pid(tree: &Tree) -> u32 {
    tree.note("pid").parse().unwrap()
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = serve(Tree::new().file("htdocs/a", "a").config("[limits]\nkeep-alive = \"1s\""));
    let mut client = server.connect();
    client.get("/a").expect(200);
    let since = Instant::now();
    client.assert_closed();
    assert!(since.elapsed() > Duration::from_millis(900), "it had its second");
}

#[test]
fn a_connection_that_rested_serves_on() {
    let server = serve(Tree::new().file("htdocs/a", "a"));
    let mut client = server.connect();
    for pause in [0, 10, 120, 0, 300] {
        // Not waited for: long and short pauses take different ways through the server.
        std::thread::sleep(Duration::from_millis(pause));
        client.get("/a").expect(200);
        // Also in pieces, and two at once.
        client.send("GET /a HTTP/1.1\r\nHo");
        client.send("st: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        client.response().expect(200);
        client.response().expect(200);
    }
}

#[test]
fn an_address_gets_its_share_of_connections() {
    let server = serve(Tree::new().file("htdocs/a", "a").config("[limits]\nconnections-per-address = 2"));
    let mut two: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut two {
        client.get("/a").expect(200);
    }
    server.connect().assert_closed();
    for client in &mut two {
        client.get("/a").expect(200);
    }
    two.pop();
    until("the place to be free", || {
        let mut client = server.connect();
        let _ = client.try_send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_head().is_some()
    });
}

#[test]
fn the_longest_idle_connection_makes_room() {
    let server = serve(Tree::new().file("htdocs/a", "a").config("[limits]\nconnections = 3\nkeep-alive = \"1h\""));
    let mut first = server.connect();
    first.get("/a").expect(200);
    let mut rest: Vec<Client> = Vec::new();
    for _ in 0..4 {
        let mut client = server.connect();
        client.get("/a").expect(200);
        rest.push(client);
    }
    first.assert_closed();
}

#[test]
fn requests_in_flight_finish_before_the_end() {
    let mut server = serve(Tree::new().script("gated", GATED));
    let mut gate = server.tree.gate("gate");
    let mut idle = server.connect();
    idle.get("/nothing").expect(404);
    let mut client = server.connect();
    client.send("GET /cgi-bin/gated HTTP/1.1\r\nHost: a\r\n\r\n");
    let pid = pid(&server.tree);
    server.signal(Signal::TERM);
    server.wait_for_log(|line| line.contains("draining: no new connections"));
    idle.assert_closed();
    gate.open();
    assert_eq!(client.response().expect(200).body, b"done");
    let (code, _, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(log.contains("draining: ending what still runs") && log.contains("draining: done"), "{log}");
    until_gone(pid);
}

#[test]
fn the_end_has_a_deadline() {
    let mut server = serve(Tree::new().script("gated", GATED).config("[limits]\ndrain = \"1s\""));
    let _gate = server.tree.gate("gate");
    let mut client = server.connect();
    client.send("GET /cgi-bin/gated HTTP/1.1\r\nHost: a\r\n\r\n");
    let pid = pid(&server.tree);
    server.signal(Signal::TERM);
    let (code, _, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(log.contains("draining: the time is up"), "{log}");
    assert!(log.contains("\"GET /cgi-bin/gated HTTP/1.1\" "), "what was cut off is in the log as well: {log}");
    until_gone(pid);
}

#[test]
fn secrets_are_not_logged() {
    for format in ["python", "common", "combined", "json"] {
        let server = serve(Tree::new().config(&format!("[log]\naccess = \"{format}\"\nlevel = \"debug\"")));
        server.ask(
            "GET /here HTTP/1.1\r\nHost: a\r\nAuthorization: Basic c2VjcmV0OnNlY3JldA==\r\nCookie: s=geheim\r\n\
             Connection: close\r\n\r\n",
        );
        server.wait_for_log(|line| line.contains("GET /here"));
        let log = server.log();
        assert!(!log.contains("c2VjcmV0") && !log.contains("geheim"), "{format}: {log}");
    }
}
