//! Hubs: one process for all the clients of a path.

use std::net::TcpStream;

use super::{Talk, handshake};
use crate::server::serve;
use crate::tree::Tree;
use crate::wait::{PATIENCE, until, until_gone};

/// Tells everybody but the sender; "die" ends it.
pub(super) const ROOM: &str = r#"#!/usr/bin/env python3
import json, os, sys
def out(**order):
    print(json.dumps(order), flush=True)
for line in sys.stdin:
    event = json.loads(line)
    client, data = event["client"], event.get("data")
    if event["event"] == "open":
        out(to=client, data="%d %s" % (os.getpid(), event["env"].get("HTTP_COOKIE", "-")))
    elif event["event"] == "close":
        out(data="left %s %s" % (client, event["code"]))
    elif data == "die":
        sys.exit(3)
    elif data == "env":
        out(to=str(client), data=" ".join(sorted(os.environ)))
    elif data == "go":
        out(close=client, code=4000, reason="gone")
    else:
        out(to="*", **{"except": client}, data=data)
"#;

#[test]
fn a_hub_is_one_process_for_a_path() {
    let server = serve(Tree::new().script("hub-room", ROOM));
    let mut ada = Talk::open_with(&server, &handshake("/cgi-bin/hub-room/a", &[("Cookie", "who=ada")]));
    let (pid, cookie) = ada.hear().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(cookie, "who=ada");
    let mut bob = Talk::open(&server, "/cgi-bin/hub-room/a");
    assert_eq!(bob.hear(), format!("{pid} -"));
    let mut other = Talk::open(&server, "/cgi-bin/hub-room/b");
    assert_ne!(other.hear(), format!("{pid} -"));
    ada.say("hello");
    assert_eq!(bob.hear(), "hello");
    ada.say("env");
    let environment = ada.hear();
    assert!(environment.contains("SCRIPT_NAME") && environment.contains("PATH_INFO"), "{environment}");
    assert!(!environment.contains("HTTP_") && !environment.contains("REMOTE_"), "nothing of the first client's own");
    ada.say("go");
    assert_eq!(ada.end(), (4000, "gone".to_owned()));
    assert_eq!(bob.hear(), "left 1 4000");
    bob.say("die");
    assert_eq!(bob.end(), (1011, "exit status 3".to_owned()));
    let mut again = Talk::open(&server, "/cgi-bin/hub-room/a");
    assert_ne!(again.hear(), format!("{pid} -"), "a new process for the next");
    other.say("nobody hears this");
    // The room ends some time after its last client.
    let pid: u32 = pid.parse().unwrap();
    until_gone(pid);
}

#[test]
fn a_hub_knows_its_clients_protocols() {
    let config = "[[route]]\npath = \"/room\"\nscript = \"cgi-bin/hub-env\"\nprotocols = [\"b\", \"a\"]";
    let hub = "#!/bin/sh\nenv | grep -c X_WEBSOCKET >@NOTES@/own\nread a; read b\necho \"$a\" >@NOTES@/open\n\
               echo \"$b\" >>@NOTES@/open; mv @NOTES@/open @NOTES@/both; cat\n";
    let server = serve(Tree::new().script("hub-env", hub).config(config));
    let talks = ["a", "b"].map(|offer| {
        let talk = Talk::open_with(&server, &handshake("/room", &[("Sec-WebSocket-Protocol", offer)]));
        assert!(String::from_utf8_lossy(&talk.head).to_ascii_lowercase().contains(&format!("protocol: {offer}")));
        talk
    });
    let both = server.tree.note("both");
    let told: Vec<_> = both.lines().map(|line| line.split("X_WEBSOCKET_PROTOCOL\":\"").nth(1)).collect();
    assert!(told[0].is_some_and(|a| a.starts_with("a\"")) && told[1].is_some_and(|b| b.starts_with("b\"")), "{both}");
    assert_eq!(server.tree.note("own"), "0", "nothing of the first client's own");
    drop(talks);
}

#[test]
fn there_are_not_more_hubs_than_websockets() {
    let server = serve(Tree::new().script("hub-room", ROOM).config("[limits]\nwebsockets = 2"));
    for room in ["a", "b"] {
        let mut talk = Talk::open(&server, &format!("/cgi-bin/hub-room/{room}"));
        talk.hear();
        talk.socket.close(None).unwrap();
        while talk.socket.read().is_ok() {}
    }
    // Both still run, for their clients might come back.
    until("the places to be free again", || {
        let mut client = server.connect();
        client.send(handshake("/cgi-bin/hub-room/a", &[]));
        client.head().status == 101
    });
    server.ask(handshake("/cgi-bin/hub-room/c", &[])).expect_failure(503, "busy");
    until("the rooms to be closed", || {
        let mut client = server.connect();
        client.send(handshake("/cgi-bin/hub-room/c", &[]));
        client.head().status == 101
    });
}

#[test]
fn a_hub_that_ends_is_not_survived_by_a_client_that_does_not_read() {
    let config = "[limits]\nwebsockets = 1\n[scripts]\nping = 0";
    let flood = "#!/bin/sh\nread a; yes \"$(printf '{\"data\":\"%8000d\"}' 7)\" | head -n 800\n";
    let server = serve(Tree::new().script("hub-flood", flood).config(config));
    let stream = TcpStream::connect_timeout(&server.address, PATIENCE).unwrap();
    // Far less than waits for it fits into the kernel's buffers.
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
    let deaf = Talk::open_on(stream, &handshake("/cgi-bin/hub-flood", &[]));
    until("its place to be free again", || {
        let mut client = server.connect();
        client.send(handshake("/cgi-bin/hub-flood", &[]));
        client.head().status == 101
    });
    drop(deaf);
}

#[test]
fn a_hub_ends_after_its_last_client() {
    let server = serve(Tree::new().script("hub-room", ROOM));
    let mut ada = Talk::open(&server, "/cgi-bin/hub-room");
    let pid: u32 = ada.hear().split(' ').next().unwrap().parse().unwrap();
    drop(ada);
    let mut soon = Talk::open(&server, "/cgi-bin/hub-room");
    let mut words = soon.hear();
    if words.starts_with("left 1 ") {
        words = soon.hear();
    }
    assert_eq!(words, format!("{pid} -"), "within the grace it is the same");
    drop(soon);
    until_gone(pid);
}

#[test]
fn a_hub_client_that_does_not_read_costs_the_others_nothing() {
    let flood = "#!/bin/sh\nread a; read b; read order\nyes \"$(printf '{\"data\":\"%8000d\"}' 7)\" | head -n 4000\n\
                 echo '{\"data\":\"end\"}'\nexec cat >@NOTES@/events\n";
    let server = serve(Tree::new().script("hub-flood", flood));
    let slow = Talk::open(&server, "/cgi-bin/hub-flood");
    let mut quick = Talk::open(&server, "/cgi-bin/hub-flood");
    quick.say("go");
    let mut heard = 0;
    while quick.hear() != "end" {
        heard += 1;
    }
    assert_eq!(heard, 4000);
    until("the slow one to be closed", || {
        let events = std::fs::read_to_string(server.tree.path("notes/events")).unwrap_or_default();
        events.contains(r#"{"event":"close","client":1,"code":1013}"#)
    });
    drop(slow);
}
