//! Messages and lines: how each becomes the other, and how long they may be.

use std::io::Write;

use tokio_tungstenite::tungstenite::Message;

use super::{CAT, Talk};
use crate::server::serve;
use crate::tree::Tree;

#[test]
fn statement_137_lines_and_messages() {
    let server = serve(Tree::new().script("ws-say", "#!/bin/sh\nprintf 'a\\r\\n\\nb\\rc\\n'\nexec cat\n"));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-say");
    for wanted in ["a", "", "b\rc"] {
        assert_eq!(talk.hear(), wanted);
    }
    for message in ["x", "", "grün 木 🙂", "\0"] {
        talk.say(message);
        assert_eq!(talk.hear(), message);
    }
    let many: Vec<String> = (0..2000).map(|n| format!("{n} {}", "x".repeat(n % 300))).collect();
    for message in &many {
        talk.socket.write(Message::text(message.clone())).unwrap();
    }
    talk.socket.flush().unwrap();
    for message in &many {
        assert_eq!(talk.hear(), *message);
    }
}

#[test]
fn statement_138_the_last_line_needs_no_end() {
    let server = serve(Tree::new().script("ws-half", "#!/bin/sh\nprintf 'one\\nhalf'\n"));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-half");
    assert_eq!((talk.hear(), talk.hear()), ("one".to_owned(), "half".to_owned()));
    assert_eq!(talk.end(), (1000, String::new()));
}

#[test]
fn statement_139_a_message_of_two_lines() {
    let config = "[[route]]\npath = \"/json\"\nscript = \"cgi-bin/ws-cat\"\nframing = \"json\"\n\
                  [[route]]\npath = \"/length\"\nscript = \"cgi-bin/ws-cat\"\nframing = \"length\"\n\
                  [[route]]\npath = \"/binary\"\nscript = \"cgi-bin/ws-cat\"\nframing = \"binary\"";
    let server = serve(Tree::new().script("ws-cat", CAT).config(config));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-cat");
    talk.say("a\nb");
    assert_eq!((talk.hear(), talk.hear()), ("a".to_owned(), "b".to_owned()));
    for path in ["/json", "/length"] {
        let mut talk = Talk::open(&server, path);
        for message in [Message::text("a\nb"), Message::binary(&b"\0\n\xff"[..]), Message::text("")] {
            talk.socket.send(message.clone()).unwrap();
            assert_eq!(talk.message(), message, "{path}");
        }
    }
    let mut talk = Talk::open(&server, "/binary");
    talk.say("a\nb");
    assert_eq!(talk.message(), Message::binary(&b"a\nb"[..]));
}

#[test]
fn statement_140_bad_utf8_never_goes_out() {
    let server = serve(Tree::new().script("ws-bad", "#!/bin/sh\nprintf 'a\\377\\303\\nok\\n'\nexec cat\n"));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-bad");
    assert_eq!((talk.hear(), talk.hear()), ("a\u{fffd}\u{fffd}".to_owned(), "ok".to_owned()));
    // A text frame that is not UTF-8, masked with zeros.
    talk.socket.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).unwrap();
    assert_eq!(talk.end().0, 1007);
    let mut talk = Talk::open(&server, "/cgi-bin/ws-bad");
    talk.socket.get_mut().write_all(&[0x81, 1, b'x']).unwrap();
    assert_eq!(talk.end().0, 1002, "a client masks its frames");
}

#[test]
fn octets_written_at_once_are_one_message() {
    let config = "[[route]]\npath = \"/binary\"\nscript = \"cgi-bin/ws-at-once\"\nframing = \"binary\"";
    let script = "#!/bin/sh\nread x\ndd if=/dev/zero bs=50000 count=1\nexec cat\n";
    let server = serve(Tree::new().script("ws-at-once", script).config(config));
    let mut talk = Talk::open(&server, "/binary");
    talk.say("go\n");
    assert_eq!(talk.message().len(), 50_000);
    talk.say("x");
    assert_eq!(talk.message(), Message::binary(&b"x"[..]));
}

#[test]
fn statement_142_messages_have_a_limit_both_ways() {
    let config = "[scripts]\nmax-message = 1000";
    let endless = "#!/bin/sh\nexec tr '\\0' x </dev/zero\n";
    let server = serve(Tree::new().script("ws-cat", CAT).script("ws-endless", endless).config(config));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-cat");
    talk.say(&"x".repeat(1000));
    assert_eq!(talk.hear().len(), 1000);
    talk.say(&"x".repeat(1001));
    assert_eq!(talk.end().0, 1009);
    // In fragments, none of which is too long.
    let mut talk = Talk::open(&server, "/cgi-bin/ws-cat");
    for n in 0..3_u8 {
        let head = [u8::from(n == 0), 0xfe, 2, 0, 0, 0, 0, 0];
        talk.socket.get_mut().write_all(&[&head[..], &[b'x'; 512]].concat()).unwrap();
    }
    assert_eq!(talk.end().0, 1009);
    let mut talk = Talk::open(&server, "/cgi-bin/ws-endless");
    assert_eq!(talk.end(), (1011, "line over max-message".to_owned()));
}

#[test]
fn long_messages_pass_both_ways_at_once() {
    let server = serve(Tree::new().script("ws-cat", CAT));
    let mut talk = Talk::open(&server, "/cgi-bin/ws-cat");
    let long: String = (0..10 << 20).map(|n: u32| char::from(b'a' + (n % 23) as u8)).collect();
    // Both directions at once: neither side may wait for the other to read first.
    let mut sender = talk.socket.get_ref().try_clone().unwrap();
    let frame = [&[0x81, 0xff][..], &(long.len() as u64).to_be_bytes(), &[0; 4], long.as_bytes(), &[]].concat();
    let sending = std::thread::spawn(move || sender.write_all(&frame));
    assert!(talk.hear() == long, "ten million letters come back");
    sending.join().unwrap().unwrap();
}
