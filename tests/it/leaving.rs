//! The client has gone: everything that its script started goes too, and the log says so.

use crate::raw::Client;
use crate::server::{Server, serve};
use crate::tools::need;
use crate::tree::Tree;
use crate::wait::{alive, until_gone};

/// Leaves the numbers of itself and of its child, and says nothing.
const SILENT: &str = "#!/bin/sh
sleep 600 &
echo $! > @NOTES@/child
echo $$ > @NOTES@/pid
wait
";
/// The same, after the beginning of an answer.
const SILENT_LATER: &str = "#!/bin/sh
printf 'Content-Type: text/plain\\n\\nbeginning\\n'
sleep 600 &
echo $! > @NOTES@/child
echo $$ > @NOTES@/pid
wait
";
/// Answers at once.
const HELLO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";

fn pid(server: &Server, note: &str) -> u32 {
    server.tree.note(note).parse().expect("a process number")
}

fn ask(server: &Server, target: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client
}

/// Runs `script`, leaves by `leave`, and waits until the script and its child are gone.
fn leaving_ends(script: &str, leave: impl FnOnce(Client)) -> Server {
    let server = serve(Tree::new().script("x", script).script("hello", HELLO));
    let client = ask(&server, "/cgi-bin/x");
    let (script, child) = (pid(&server, "pid"), pid(&server, "child"));
    assert!(alive(script) && alive(child));
    leave(client);
    until_gone(script);
    until_gone(child);
    server.wait_for_log(|line| line.contains("/cgi-bin/x HTTP/1.1\" 499"));
    server.get("/cgi-bin/hello").expect(200);
    server
}

#[test]
fn hanging_up_kills_the_whole_group_of_a_silent_script() {
    leaving_ends(SILENT, drop);
}

#[test]
fn hanging_up_in_mid_answer_kills_the_whole_group() {
    leaving_ends(SILENT_LATER, |mut client| client.wait_for("beginning"));
}

#[test]
fn a_reset_counts_as_leaving() {
    leaving_ends(SILENT, Client::reset);
}

#[test]
fn half_a_close_counts_as_leaving() {
    let mut held = None;
    leaving_ends(SILENT, |client| {
        client.half_close();
        held = Some(client);
    });
}

#[test]
fn a_writing_script_ends_too() {
    let script = "#!/bin/sh
printf 'Content-Type: text/plain\\n\\nbeginning\\n'
echo $$ > @NOTES@/child
echo $$ > @NOTES@/pid
exec cat /dev/zero
";
    leaving_ends(script, |mut client| client.wait_for("beginning"));
}

#[test]
fn leaving_mid_upload_kills() {
    let server = serve(Tree::new().script("x", SILENT));
    let mut client = server.connect();
    client.send("POST /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nbeginning");
    let (script, child) = (pid(&server, "pid"), pid(&server, "child"));
    drop(client);
    until_gone(script);
    until_gone(child);
    server.wait_for_log(|line| line.contains("POST /cgi-bin/x HTTP/1.1\" 499"));
}

#[test]
fn a_deadline_kills_behind_an_upload_that_nobody_reads() {
    // With everything between the two full, the client's end of the connection cannot even be sent to the server.
    let server = serve(Tree::new().script("x", SILENT).config("[scripts]\nfirst-byte-timeout = \"2s\""));
    let mut client = server.connect();
    client.send("POST /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n");
    let script = pid(&server, "pid");
    // As much as everything between here and the script holds.
    client.stream.set_nonblocking(true).unwrap();
    let mut stalled = 0;
    while stalled < 50 {
        match std::io::Write::write(&mut client.stream, &[b'x'; 65536]) {
            Ok(_) => stalled = 0,
            Err(_) => {
                stalled += 1;
                std::thread::yield_now();
            }
        }
    }
    drop(client);
    until_gone(script);
}

#[test]
fn leaving_is_seen_behind_a_pipelined_request() {
    let server = serve(Tree::new().script("x", SILENT).script("hello", "#!/bin/sh\ntouch @NOTES@/second\n"));
    let mut client = ask(&server, "/cgi-bin/x");
    client.send("GET /cgi-bin/hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let script = pid(&server, "pid");
    drop(client);
    until_gone(script);
    server.wait_for_log(|line| line.contains("/cgi-bin/x HTTP/1.1\" 499"));
    assert!(!server.tree.has_note("second"), "nobody was there to be answered");
}

#[test]
fn a_deadline_kills_behind_more_pipelined_octets_than_the_server_reads_ahead() {
    let server = serve(Tree::new().script("x", SILENT).config("[scripts]\nfirst-byte-timeout = \"1s\""));
    let mut client = ask(&server, "/cgi-bin/x");
    let script = pid(&server, "pid");
    let more = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(4000));
    for _ in 0..50 {
        client.send(&more);
    }
    drop(client);
    until_gone(script);
}

#[test]
fn grandchildren_in_sessions_of_their_own_end_too() {
    let script = "#!/bin/sh
setsid sleep 600 &
echo $! > @NOTES@/session
( sleep 600 & echo $! > @NOTES@/orphan )
sh -c 'sleep 600 & echo $! > @NOTES@/orphan2' &
wait $!
sleep 600 &
echo $! > @NOTES@/child
echo $$ > @NOTES@/pid
wait
";
    let server = serve(Tree::new().script("x", script));
    let client = ask(&server, "/cgi-bin/x");
    let all = ["pid", "child", "session", "orphan", "orphan2"].map(|note| pid(&server, note));
    assert!(all.iter().all(|pid| alive(*pid)));
    drop(client);
    all.into_iter().for_each(until_gone);
}

#[test]
fn who_ignores_term_is_killed_after_the_grace() {
    need("perl", "perl");
    let script = "#!/usr/bin/env perl
$SIG{TERM} = sub { open(my $n, '>>', '@NOTES@/term'); print $n \"term\\n\"; close $n };
open(my $n, '>', '@NOTES@/pid'); print $n \"$$\\n\"; close $n;
sleep 600 while 1;
";
    let server = serve(Tree::new().script("x", script).config("[scripts]\ngrace = \"200ms\""));
    let client = ask(&server, "/cgi-bin/x");
    let pid = pid(&server, "pid");
    drop(client);
    assert_eq!(server.tree.note("term"), "term");
    until_gone(pid);
}

#[test]
fn term_comes_first_and_leaves_time_to_tidy_up() {
    let script = "#!/bin/sh
trap 'read go < @NOTES@/go; echo tidy > @NOTES@/tidy; exit' TERM
echo $$ > @NOTES@/pid
while :; do sleep 600 & wait $!; done
";
    let server = serve(Tree::new().script("x", script).config("[scripts]\ngrace = \"60s\""));
    let mut gate = server.tree.gate("go");
    let client = ask(&server, "/cgi-bin/x");
    let pid = pid(&server, "pid");
    drop(client);
    server.wait_for_log(|line| line.contains("/cgi-bin/x HTTP/1.1\" 499"));
    gate.open();
    assert_eq!(server.tree.note("tidy"), "tidy");
    until_gone(pid);
}

#[test]
fn a_script_may_be_allowed_to_finish_without_its_client() {
    let script = "#!/bin/sh
echo $$ > @NOTES@/pid
read go < @NOTES@/go
head -c 1000000 /dev/zero
echo done > @NOTES@/done
";
    let config = "[[route]]\npath = \"/jobs/\"\nscripts = \"cgi-bin\"\nkill-on-disconnect = false";
    let server = serve(Tree::new().script("job", script).config(config));
    let mut gate = server.tree.gate("go");
    let client = ask(&server, "/jobs/job");
    let pid = pid(&server, "pid");
    drop(client);
    server.wait_for_log(|line| line.contains("/jobs/job HTTP/1.1\" 499"));
    assert!(alive(pid));
    gate.open();
    assert_eq!(server.tree.note("done"), "done");
    until_gone(pid);
}

#[test]
fn a_stream_of_http_2_that_is_left_ends_its_script() {
    let server = serve(Tree::new().script("x", SILENT));
    let client = crate::h2::begin(server.address, "/cgi-bin/x");
    let (script, child) = (pid(&server, "pid"), pid(&server, "child"));
    drop(client);
    until_gone(script);
    until_gone(child);
}
