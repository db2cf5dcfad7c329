//! What a conversation may cost the server: places and memory.

use std::io::Write;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;

use super::{CAT, Talk, handshake};
use crate::server::serve;
use crate::tree::Tree;
use crate::wait::{PATIENCE, until};

#[test]
fn statement_146_whoever_does_not_read_stops_the_other() {
    let flood = "#!/bin/sh\nyes \"$(printf %1000d 7)\" | (cat; echo >@NOTES@/end)\n";
    let sink = "#!/bin/sh\necho $$ >@NOTES@/sink\nread line <@NOTES@/gate\nwc -c\n";
    let server = serve(Tree::new().script("ws-flood", flood).script("ws-sink", sink));
    let mut gate = server.tree.gate("gate");
    let before = server.resident();
    let mut talk = Talk::open(&server, "/cgi-bin/ws-flood");
    talk.hear();
    // The script does not read: what is sent stops going through, and the server does not keep it.
    let mut blocked = Talk::open(&server, "/cgi-bin/ws-sink");
    server.tree.note("sink");
    blocked.socket.get_mut().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let piece = [&[0x82, 0xfe, 0x40, 0, 0, 0, 0, 0][..], &[b'x'; 0x4000]].concat();
    let mut sent = 0_usize;
    let mut cut = 0;
    while sent < 1 << 28 {
        match blocked.socket.get_mut().write(&piece[cut..]) {
            Ok(n) => {
                sent += n;
                cut = (cut + n) % piece.len();
            }
            Err(_full) => break,
        }
    }
    assert!(sent < 1 << 28, "somebody took 256 MiB that the script did not read");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more than before");
    // Nothing is lost once it reads.
    gate.open();
    blocked.socket.get_mut().set_write_timeout(Some(PATIENCE)).unwrap();
    blocked.socket.get_mut().write_all(&piece[cut..]).unwrap();
    let messages = (sent - cut) / piece.len() + 1;
    blocked.socket.close(None).unwrap();
    drop(blocked);
    assert!(messages > 1);
    drop(talk);
    until("the flood to stop", || server.tree.has_note("end") || server.log().contains("signal"));
}

#[test]
fn open_websockets_have_a_limit_of_their_own() {
    let config = "[limits]\nwebsockets = 1\nmax-running = 1";
    let server =
        serve(Tree::new().script("ws-cat", CAT).script("plain", "#!/bin/sh\nprintf 'A: b\\n\\nx'\n").config(config));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-cat");
    talk.say("x");
    talk.hear();
    server.ask(handshake("/cgi-bin/ws-cat", &[])).expect_failure(503, "busy");
    server.get("/cgi-bin/plain").expect(200);
    drop(talk);
    until("the place to be free again", || {
        let mut client = server.connect();
        client.send(handshake("/cgi-bin/ws-cat", &[]));
        client.head().status == 101
    });
}

#[test]
fn a_long_line_leaves_no_memory_behind() {
    let long = "#!/bin/sh\nread x\nhead -c 4000000 /dev/zero | tr '\\0' x\necho\nexec cat\n";
    let server = serve(Tree::new().script("ws-long", long));
    let mut talks: Vec<_> = (0..20).map(|_| Talk::open(&server, "/cgi-bin/ws-long")).collect();
    for talk in &mut talks {
        talk.say("go");
        assert_eq!(talk.hear().len(), 4_000_000);
    }
    until("the server to be small again", || server.resident() < 40 << 10);
    for talk in &mut talks {
        talk.say("still here");
        assert_eq!(talk.hear(), "still here");
    }
}

#[test]
fn a_long_message_leaves_no_memory_behind() {
    let config = "[[route]]\npath = \"/length\"\nscript = \"cgi-bin/ws-cat\"\nframing = \"length\"";
    let server = serve(Tree::new().script("ws-cat", CAT).config(config));
    let mut talks: Vec<_> = (0..20).map(|_| Talk::open(&server, "/length")).collect();
    // Whole, and in two frames.
    let whole = Message::binary(vec![7; 4 << 20]);
    let half = vec![7; 2 << 20];
    let length = (half.len() as u64).to_be_bytes();
    for talk in &mut talks {
        talk.socket.send(whole.clone()).unwrap();
        assert!(talk.message() == whole);
        for head in [2, 0x80] {
            let frame = [&[head, 0xff][..], &length, &[0; 4], &half].concat();
            talk.socket.get_mut().write_all(&frame).unwrap();
        }
        assert!(talk.message() == whole);
    }
    until("the server to be small again", || server.resident() < 40 << 10);
    for talk in &mut talks {
        talk.say("still here");
        assert_eq!(talk.hear(), "still here");
    }
}

#[test]
fn an_open_websocket_is_small() {
    let server = serve(Tree::new().script("ws-cat", CAT));
    let open = |count| -> Vec<_> {
        let mut talks: Vec<_> = (0..count).map(|_| Talk::open(&server, "/cgi-bin/ws-cat")).collect();
        for talk in &mut talks {
            talk.say("hello");
            talk.hear();
        }
        talks
    };
    // The first ones pay for what all share.
    let first = open(100);
    let before = server.resident();
    let others = open(200);
    let each = server.resident().saturating_sub(before) as f64 / others.len() as f64;
    assert!(each < 14.0, "{each} KiB for each");
    drop(first);
}
