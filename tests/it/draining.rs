//! The end of the server: what runs may finish, what waits is told, nothing stays behind.

use rustix::process::Signal;

use crate::raw::Client;
use crate::server::{Server, serve};
use crate::tree::{Gate, Tree};
use crate::wait::{until, until_gone};

const WAITS: &str = "#!/bin/sh
echo $$ > @NOTES@/pid
read go < @NOTES@/go
printf 'Content-Type: text/plain\\n\\nfinished\\n'
";

fn busy(config: &str) -> (Server, Gate, Client, u32) {
    let server = serve(Tree::new().script("waits", WAITS).config(config));
    let gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/waits HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let pid = server.tree.note("pid").parse().unwrap();
    (server, gate, client, pid)
}

#[test]
fn what_runs_may_finish() {
    let (mut server, mut gate, mut client, _) = busy("");
    server.signal(Signal::TERM);
    server.wait_for_log(|line| line.contains("draining"));
    until("new connections to be refused", || std::net::TcpStream::connect(server.address).is_err());
    gate.open();
    assert_eq!(client.response().expect(200).text(), "finished\n");
    client.assert_closed();
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn idle_connections_are_closed() {
    let mut server =
        serve(Tree::new().config("[limits]\nheader-timeout = \"1h\"\nkeep-alive = \"1h\"\ndrain = \"1h\""));
    let mut fresh = server.connect();
    let mut idle = server.connect();
    idle.get("/ajax/time").expect(200);
    server.signal(Signal::TERM);
    idle.assert_closed();
    fresh.assert_closed();
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn draining_takes_no_longer_than_the_operator_says() {
    let (mut server, _gate, mut client, pid) = busy("[limits]\ndrain = \"300ms\"");
    server.signal(Signal::TERM);
    server.wait_for_log(|line| line.contains("draining: the time is up"));
    assert_eq!(server.ended().0, Some(0));
    // Cut off or told that the program was lost; but not kept.
    let rest = client.rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 502 "), "{:?}", String::from_utf8_lossy(&rest));
    until_gone(pid);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut server, _gate, _client, pid) = busy("[limits]\ndrain = \"600s\"");
    server.signal(Signal::TERM);
    server.wait_for_log(|line| line.contains("draining"));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0, Some(0));
    until_gone(pid);
}

#[test]
fn an_interrupt_has_pythons_last_words() {
    let mut server = serve(Tree::new());
    server.signal(Signal::INT);
    let (code, last_words, _) = server.ended();
    assert_eq!((code, last_words.as_str()), (Some(0), "\nKeyboard interrupt received, exiting.\n"));
}

#[test]
fn term_has_no_last_words() {
    let mut server = serve(Tree::new());
    server.signal(Signal::TERM);
    let (code, last_words, _) = server.ended();
    assert_eq!((code, last_words.as_str()), (Some(0), ""));
}
