//! How many scripts run at once, who waits, and who is sent away.

use crate::raw::Client;
use crate::server::{Server, serve};
use crate::tree::Tree;
use crate::wait::{until, until_gone};

/// Says that it runs, waits to be let go on, and answers.
const WAITS: &str = "#!/bin/sh
echo run >> @NOTES@/runs
echo $$ > @NOTES@/pid
read go < @NOTES@/go
printf 'Content-Type: text/plain\\n\\nok\\n'
";
const HELLO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";

fn ask(server: &Server) -> Client {
    let mut client = server.connect();
    client.send("GET /cgi-bin/waits HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client
}

fn runs(server: &Server) -> usize {
    std::fs::read_to_string(server.tree.path("notes/runs")).unwrap_or_default().lines().count()
}

fn of_two(mut clients: [Client; 2]) -> (Client, Client) {
    until("one of two to be answered", || clients.iter().any(Client::readable));
    if clients[1].readable() {
        clients.swap(0, 1);
    }
    let [first, second] = clients;
    (first, second)
}

#[test]
fn beyond_the_running_some_wait_and_the_rest_are_503() {
    for table in ["limits", "scripts"] {
        let server =
            serve(Tree::new().script("waits", WAITS).config(&format!("[{table}]\nmax-running = 1\nqueue = 1")));
        let mut gate = server.tree.gate("go");
        let mut running = ask(&server);
        until("the first to run", || runs(&server) == 1);
        // One of these waits; which one is for the scheduler to say.
        let (mut refused, mut waiting) = of_two([ask(&server), ask(&server)]);
        let response = refused.response().expect_failure(503, "busy");
        let after: u32 = response.field("retry-after").unwrap().parse().unwrap();
        assert!(after >= 1);
        assert!(!waiting.readable());
        assert_eq!(runs(&server), 1);
        gate.open();
        assert_eq!(running.response().expect(200).text(), "ok\n");
        until("the second to run", || runs(&server) == 2);
        gate.open();
        assert_eq!(waiting.response().expect(200).text(), "ok\n");
        // Files and endpoints need no place.
        server.get("/ajax/time").expect(200);
    }
}

#[test]
fn waiting_takes_no_longer_than_the_operator_says() {
    let config = "[scripts]\nmax-running = 1\nqueue-timeout = \"200ms\"";
    let server = serve(Tree::new().script("waits", WAITS).config(config));
    let mut gate = server.tree.gate("go");
    let mut running = ask(&server);
    until("the first to run", || runs(&server) == 1);
    ask(&server).response().expect_failure(503, "busy");
    gate.open();
    running.response().expect(200);
    assert_eq!(runs(&server), 1);
}

#[test]
fn a_limit_of_one_route_is_no_limit_of_another() {
    let config = "[[route]]\npath = \"/narrow/\"\nscripts = \"cgi-bin\"\nmax-running = 1\nqueue = 0";
    let server = serve(Tree::new().script("waits", WAITS).script("hello", HELLO).config(config));
    let mut gate = server.tree.gate("go");
    let mut running = server.connect();
    running.send("GET /narrow/waits HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the first to run", || runs(&server) == 1);
    server.get("/narrow/hello").expect_failure(503, "busy");
    server.get("/cgi-bin/hello").expect(200);
    gate.open();
    running.response().expect(200);
    server.get("/narrow/hello").expect(200);
}

#[test]
fn who_leaves_the_queue_gives_up_the_place_and_runs_nothing() {
    let server = serve(Tree::new().script("waits", WAITS).config("[scripts]\nmax-running = 1\nqueue = 1"));
    let mut gate = server.tree.gate("go");
    let mut running = ask(&server);
    until("the first to run", || runs(&server) == 1);
    for _ in 0..3 {
        let (mut refused, waiting) = of_two([ask(&server), ask(&server)]);
        refused.response().expect(503);
        let before = server.log().matches("499").count();
        drop(waiting);
        until("the one that left to be logged", || server.log().matches("499").count() > before);
    }
    gate.open();
    running.response().expect(200);
    assert_eq!(runs(&server), 1);
}

#[test]
fn the_place_is_held_until_the_process_is_gone() {
    // It ignores that its client has gone for as long as its grace lasts.
    let stays = "#!/bin/sh
trap '' TERM
echo $$ > @NOTES@/pid
while :; do sleep 600; done
";
    let config = "[scripts]\nmax-running = 1\nqueue = 1\ngrace = \"500ms\"";
    let server = serve(Tree::new().script("waits", stays).script("hello", HELLO).config(config));
    let client = ask(&server);
    let pid = server.tree.note("pid").parse().unwrap();
    drop(client);
    server.get("/cgi-bin/hello").expect(200);
    assert!(!crate::wait::alive(pid), "two ran at once");
    until_gone(pid);
}

#[test]
fn many_at_once_are_all_answered() {
    let server = serve(Tree::new().script("hello", HELLO).config("[limits]\nmax-running = 4"));
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(server.get("/cgi-bin/hello").expect(200).text(), "hello\n"));
        }
    });
}
