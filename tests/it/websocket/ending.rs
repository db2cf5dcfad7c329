//! Who may end a conversation, and what the other side learns of it.

use std::time::Instant;

use rustix::process::Signal;
use tokio_tungstenite::tungstenite::Message;

use super::hub::ROOM;
use super::{CAT, Talk};
use crate::server::serve;
use crate::tree::Tree;
use crate::wait::{PATIENCE, until_gone};

#[test]
fn statement_141_how_it_ends() {
    let server = serve(
        Tree::new()
            .script("ws-end", "#!/bin/sh\nread order\neval \"$order\"\n")
            .script("ws-tidy", "#!/bin/sh\necho $$ >@NOTES@/tidy\ncat >@NOTES@/said\necho done >>@NOTES@/said\n")
            .script("ws-deaf", "#!/bin/sh\ntrap '' TERM\necho $$ >@NOTES@/deaf\nwhile :; do sleep 1; done\n")
            .script("ws-none", "#!/no/such/program\n")
            .config("[[route]]\npath = \"/cgi-bin/\"\nscripts = \"cgi-bin\"\ngrace = \"300ms\""),
    );
    for (order, code, reason) in
        [("exit 0", 1000, ""), ("exit 3", 1011, "exit status 3"), ("kill -9 $$", 1011, "signal 9")]
    {
        let mut talk = Talk::open(&server, "/cgi-bin/ws-end");
        talk.say(order);
        assert_eq!(talk.end(), (code, reason.to_owned()), "{order}");
    }
    let mut talk = Talk::open(&server, "/cgi-bin/ws-none");
    assert_eq!(talk.end().0, 1011, "it could not be started");
    // The client closes: the script sees the end of its input and may tidy up.
    let mut talk = Talk::open(&server, "/cgi-bin/ws-tidy");
    let pid: u32 = server.tree.note("tidy").parse().unwrap();
    talk.say("x");
    talk.socket.close(None).unwrap();
    until_gone(pid);
    assert_eq!(server.tree.note("said"), "x\ndone");
    // Another does not care: TERM, then KILL.
    let talk = Talk::open(&server, "/cgi-bin/ws-deaf");
    let pid: u32 = server.tree.note("deaf").parse().unwrap();
    drop(talk);
    until_gone(pid);
}

/// Writes until nobody has read for half a second, says how much that was, and ends.
const UNTIL_FULL: &str = r#"#!/usr/bin/env python3
import os, select
os.set_blocking(1, False)
written = 0
while select.select([], [1], [], 0.5)[1]:
    try:
        written += os.write(1, b"%999d\n" % 7)
    except BlockingIOError:
        pass
with open("@NOTES@/written", "w") as note:
    note.write("%d\n" % written)
"#;

#[test]
fn what_a_script_left_behind_is_for_a_slow_client() {
    let later = "#!/bin/sh\nread x; sleep 2; echo later\n";
    let server = serve(Tree::new().script("ws-full", UNTIL_FULL).script("ws-later", later));
    let mut slow = Talk::open(&server, "/cgi-bin/ws-full");
    let written: usize = server.tree.note("written").parse().unwrap();
    // The script is gone, and every buffer is full. What is in them does not spoil.
    let mut later = Talk::open(&server, "/cgi-bin/ws-later");
    later.say("go");
    assert_eq!(later.hear(), "later");
    let mut heard = 0;
    loop {
        match slow.message() {
            Message::Text(line) => heard += line.len() + 1,
            Message::Close(frame) => break assert_eq!(u16::from(frame.expect("a code").code), 1000),
            other => panic!("neither: {other:?}"),
        }
    }
    // The last line may have no end.
    assert!((written..=written + 1).contains(&heard), "{heard} of {written}");
}

#[test]
fn statement_147_a_dead_peer_is_found() {
    let config = "[[route]]\npath = \"/ping\"\nscript = \"cgi-bin/ws-pid\"\nping = \"100ms\"";
    let server = serve(Tree::new().script("ws-pid", "#!/bin/sh\necho $$\nexec cat\n").config(config));
    let mut alive = Talk::open(&server, "/ping");
    alive.hear();
    let mut dead = Talk::open(&server, "/ping");
    let pid: u32 = dead.hear().parse().unwrap();
    // It stays connected and answers nothing, as a machine that was switched off; the other answers its pings.
    let start = Instant::now();
    let mut pings = 0;
    while crate::wait::alive(pid) {
        assert!(start.elapsed() < PATIENCE, "the process outlives a dead client");
        if matches!(alive.socket.read(), Ok(Message::Ping(_))) {
            pings += 1;
        }
        alive.socket.flush().unwrap();
    }
    assert!(pings >= 2, "two pings were sent before");
    alive.say("still here");
    assert_eq!(alive.hear(), "still here");
}

#[test]
fn the_server_goes_with_1001() {
    let mut server = serve(Tree::new().script("ws-cat", CAT).script("hub-room", ROOM));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-cat");
    let mut room = Talk::open(&server, "/cgi-bin/hub-room");
    room.hear();
    server.signal(Signal::TERM);
    assert_eq!((talk.end().0, room.end().0), (1001, 1001));
    drop((talk, room));
    assert_eq!(server.ended().0, Some(0));
}
