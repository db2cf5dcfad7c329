//! websocket
//!
//! Scripts as WebSocket servers. The client's frames come from the same library as the server's, but not its handshake;
//! `tests/websocket` has clients that are not ours.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::raw::{Client, Head};
use crate::server::{Server, launch, serve};
use crate::tree::Tree;
use crate::wait::{PATIENCE, until, until_gone};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const CAT: &str = "#!/bin/sh\nexec cat\n";

/// A request for a WebSocket with these lines in place of, or beside, the usual ones.
fn handshake(target: &str, change: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    for &(name, value) in change {
        fields.retain(|(other, _)| *other != name);
        fields.push((name, value));
    }
    let lines: String = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET {target} HTTP/1.1\r\n{lines}\r\n")
}

/// A conversation.
struct Talk {
    socket: WebSocket<TcpStream>,
    head: Vec<u8>,
}

impl Talk {
    #[track_caller]
    fn open(server: &Server, target: &str) -> Self {
        Self::open_with(server, &handshake(target, &[]))
    }

    #[track_caller]
    fn open_with(server: &Server, request: &str) -> Self {
        let stream = TcpStream::connect_timeout(&server.address, PATIENCE).expect("the server accepts");
        Self::open_on(stream, request)
    }

    #[track_caller]
    fn open_on(mut stream: TcpStream, request: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        stream.write_all(request.as_bytes()).expect("the server takes what is sent");
        let mut head = Vec::new();
        // Octet by octet: what stands behind the head is frames.
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            assert_eq!(stream.read(&mut octet).expect("an answer"), 1, "{}", String::from_utf8_lossy(&head));
            head.push(octet[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        Self { socket: WebSocket::from_raw_socket(stream, Role::Client, Some(config)), head }
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the server reads");
    }

    /// The next message; pings are answered on the way.
    #[track_caller]
    fn message(&mut self) -> Message {
        loop {
            match self.socket.read().expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    #[track_caller]
    fn hear(&mut self) -> String {
        match self.message() {
            Message::Text(text) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Code and reason of the close, whatever is said before it.
    #[track_caller]
    fn end(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message() {
                let frame = frame.expect("a code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

#[track_caller]
fn refused(server: &Server, change: &[(&str, &str)]) -> Head {
    server.ask(handshake("/cgi-bin/ws-cat", &[change, &[("X-End", "1")]].concat())).head
}

#[test]
fn statement_135_the_handshake_is_checked() {
    let server = serve(Tree::new().script("ws-cat", CAT).script("plain", "#!/bin/sh\nprintf 'A: b\\n\\n'\n"));
    let talk = Talk::open(&server, "/cgi-bin/ws-cat");
    let head = String::from_utf8(talk.head.clone()).unwrap().to_ascii_lowercase();
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    assert!(!head.contains("extensions") && !head.contains("content-length"), "{head}");
    for (change, status) in [
        (("Sec-WebSocket-Version", "8"), 426),
        (("Sec-WebSocket-Version", ""), 426),
        (("Sec-WebSocket-Key", ""), 400),
        (("Sec-WebSocket-Key", "c2hvcnQ="), 400),
        (("Upgrade", "h2c"), 426),
        (("Connection", "close"), 426),
    ] {
        let head = refused(&server, &[change]);
        assert_eq!(head.status, status, "{change:?}");
        let version = head.get("sec-websocket-version");
        assert_eq!(version.as_deref(), (status == 426).then_some("13"), "{change:?}");
    }
    let post = handshake("/cgi-bin/ws-cat", &[("Content-Length", "0")]).replacen("GET", "POST", 1);
    let answer = server.ask(post).expect(405);
    assert_eq!(answer.field("allow").as_deref(), Some("GET"));
    server.ask(handshake("/cgi-bin/ws-none", &[])).expect_failure(404, "no-such-script");
    server.ask(handshake("/cgi-bin/plain", &[])).expect(200);
}

#[test]
fn a_plain_get_is_explained() {
    let server = serve(Tree::new().script("ws-cat", CAT));
    let answer = server.get("/cgi-bin/ws-cat").expect_failure(426, "upgrade-required");
    assert_eq!(answer.field("upgrade").as_deref(), Some("websocket"));
    let request = "GET /cgi-bin/ws-cat HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";
    let console = server.ask(request).expect(426);
    assert!(console.text().contains("WebSocket console"), "a browser on this machine gets the console");
    let policy = console.field("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'nonce-") && policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(console.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(console.field("connection").as_deref(), Some("upgrade"));
    // A proxy on this machine speaks for somebody else.
    let through = request.replace("Accept", "X-Forwarded-For: 192.0.2.1\r\nAccept");
    server.ask(through).expect_failure(426, "upgrade-required");
}

#[test]
fn standard_error_is_shown_to_the_author_who_asks() {
    let script =
        "#!/bin/sh\necho oops >&2\nenv | grep -c X_WEBSOCKET\nread x\necho \"$x\"\nread x\necho late >&2\nexit 3\n";
    let room = "#!/bin/sh\nread open\necho hub >&2\necho '{\"data\":\"here\"}'\nread open\nexit 1\n";
    let server = serve(Tree::new().script("ws-loud", script).script("hub-loud", room));
    let offer = ("Sec-WebSocket-Protocol", "stderr.cgiserve");
    let mut talk = Talk::open_with(&server, &handshake("/cgi-bin/ws-loud", &[offer]));
    let head = String::from_utf8_lossy(&talk.head).to_ascii_lowercase();
    assert!(head.contains("sec-websocket-protocol: stderr.cgiserve"), "{head}");
    talk.say("a \"b\"");
    let mut first = [talk.hear(), talk.hear(), talk.hear()];
    first.sort();
    assert_eq!(
        first,
        [
            r#"{"stream":"stderr","data":"oops"}"#,
            r#"{"stream":"stdout","data":"0"}"#,
            r#"{"stream":"stdout","data":"a \"b\""}"#
        ]
    );
    talk.say("go");
    assert_eq!(talk.hear(), r#"{"stream":"stderr","data":"late"}"#);
    assert_eq!(talk.end(), (1011, "exit status 3".to_owned()));
    let mut talk = Talk::open_with(&server, &handshake("/cgi-bin/hub-loud", &[offer]));
    let mut both = [talk.hear(), talk.hear()];
    both.sort();
    assert_eq!(both, [r#"{"stream":"stderr","data":"hub"}"#, r#"{"stream":"stdout","data":"here"}"#]);
    // Nobody else is told, and what is not asked for is not given.
    for other in [("X-Forwarded-For", "192.0.2.1"), ("Sec-WebSocket-Protocol", "")] {
        let mut talk = Talk::open_with(&server, &handshake("/cgi-bin/ws-loud", &[offer, other]));
        assert!(!String::from_utf8_lossy(&talk.head).to_ascii_lowercase().contains("protocol:"), "{other:?}");
        assert_eq!(talk.hear(), "0");
    }
}

#[test]
fn statements_136_and_145_the_environment_is_that_of_cgi() {
    let server = serve(Tree::new().script("ws-env", "#!/bin/sh\nenv\npwd\n"));
    let request = handshake(
        "/cgi-bin/ws-env/a%20b?q=1",
        &[
            ("Proxy", "http://evil"),
            ("X_Foo", "shadow"),
            ("X-Foo", "true"),
            ("Cookie", "c=1"),
            ("Authorization", "x y"),
        ],
    );
    let mut talk = Talk::open_with(&server, &request);
    let mut all = Vec::new();
    while let Message::Text(line) = talk.message() {
        all.push(line.to_string());
    }
    for wanted in [
        "REQUEST_METHOD=GET",
        "HTTP_UPGRADE=websocket",
        "HTTP_CONNECTION=Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION=13",
        "SCRIPT_NAME=/cgi-bin/ws-env",
        "PATH_INFO=/a b",
        "QUERY_STRING=q=1",
        "HTTP_COOKIE=c=1",
        "HTTP_X_FOO=true",
        "GATEWAY_INTERFACE=CGI/1.1",
        "REMOTE_ADDR=127.0.0.1",
    ] {
        assert!(all.iter().any(|line| line == wanted), "{wanted} is not in {all:#?}");
    }
    assert!(all.iter().any(|line| line.starts_with("UNIQUE_ID=")));
    assert!(all.iter().any(|line| *line == server.tree.path("cgi-bin").display().to_string()), "its own folder");
    for absent in ["HTTP_PROXY", "A_SECRET", "HTTP_AUTHORIZATION", "CONTENT_LENGTH"] {
        assert!(!all.iter().any(|line| line.starts_with(&format!("{absent}="))), "{absent}");
    }
}

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

#[test]
fn statement_143_sub_protocols() {
    let config = "[[route]]\npath = \"/p\"\nscript = \"cgi-bin/ws-env\"\nprotocols = [\"b\", \"a\"]";
    let server = serve(Tree::new().script("ws-env", "#!/bin/sh\nenv\nexec cat\n").config(config));
    for (path, offer, chosen) in
        [("/p", "a, b", Some("b")), ("/p", "a", Some("a")), ("/p", "c", None), ("/cgi-bin/ws-env", "a", None)]
    {
        let mut talk = Talk::open_with(&server, &handshake(path, &[("Sec-WebSocket-Protocol", offer)]));
        let head = String::from_utf8(talk.head.clone()).unwrap().to_ascii_lowercase();
        let line = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(line, chosen, "{path} {offer}");
        talk.say("that is all");
        let mut environment = Vec::new();
        loop {
            match talk.hear() {
                line if line == "that is all" => break,
                line => environment.push(line),
            }
        }
        assert!(environment.contains(&format!("HTTP_SEC_WEBSOCKET_PROTOCOL={offer}")));
        let told = environment.iter().find_map(|line| line.strip_prefix("X_WEBSOCKET_PROTOCOL="));
        assert_eq!(told, chosen, "{path} {offer}");
    }
}

#[test]
fn statement_144_other_pages_stay_out() {
    let config = "[[route]]\npath = \"/open\"\nscript = \"cgi-bin/ws-cat\"\norigins = [\"friend.example\"]";
    let server = serve(Tree::new().script("ws-cat", CAT).config(config));
    for (path, origin, status) in [
        ("/cgi-bin/ws-cat", "http://localhost", 101),
        ("/cgi-bin/ws-cat", "http://evil.example", 403),
        ("/cgi-bin/ws-cat", "null", 403),
        ("/open", "https://friend.example", 101),
        ("/open", "https://friend.example.evil", 403),
    ] {
        let mut client = server.connect();
        client.send(handshake(path, &[("Origin", origin)]));
        assert_eq!(client.head().status, status, "{path} from {origin}");
    }
}

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

/// Tells everybody but the sender; "die" ends it.
const ROOM: &str = r#"#!/usr/bin/env python3
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

#[test]
fn websocketds_command_line() {
    let tree =
        Tree::new().script_at("count.sh", "#!/bin/sh\necho \"$SCRIPT_NAME $PATH_INFO $1\"; read x; echo $x; exit 4\n");
    tree.settle();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cgiserve"));
        command.arg("ws").args(["--port=0", "--address=127.0.0.1"]).args(arguments).current_dir(tree.root());
        command
    };
    let server = launch(run(&["--header-ws=X-W: 1", "./count.sh", "one"]), Tree::new());
    let mut talk = Talk::open_with(&server, &handshake("/any/path", &[("Origin", "http://other.example")]));
    assert!(String::from_utf8_lossy(&talk.head).to_ascii_lowercase().contains("x-w: 1"));
    assert_eq!(talk.hear(), "/ /any/path one");
    talk.say("two");
    assert_eq!(talk.hear(), "two");
    assert_eq!(talk.end(), (1011, "exit status 4".to_owned()));
    server.get("/").expect(404);
    let server = launch(run(&["--sameorigin", "--dir", "."]), Tree::new());
    server.ask(handshake("/count.sh", &[("Origin", "http://other.example")])).expect(403);
    server.ask(handshake("/nothing.sh", &[])).expect(404);
    let mut talk = Talk::open(&server, "/count.sh/more");
    assert_eq!(talk.hear(), "/count.sh /more ");
    let server = launch(run(&["--devconsole", "--header-ws=X-W: 1", "--header-http=X-H: 1", "cat"]), Tree::new());
    let console = server.get("/a?\"><script>alert(1)</script>").expect(200);
    for place in ["value=\"", "<title>"] {
        let wanted = format!("{place}/a?&quot;&gt;&lt;script&gt;alert(1)");
        assert!(console.text().contains(&wanted), "the address, and no markup");
    }
    assert!(console.field("x-h").is_some() && console.field("x-w").is_none());
    let talk = Talk::open(&server, "/");
    let head = String::from_utf8_lossy(&talk.head).to_ascii_lowercase();
    assert!(head.contains("x-w: 1") && !head.contains("x-h:"), "{head}");
    let wrong = run(&["--nope", "cat"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("flag provided but not defined: -nope"));
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short frames").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn statement_148_over_http2() {
    let server =
        serve(Tree::new().script("ws-say", "#!/bin/sh\necho \"$REQUEST_METHOD $SERVER_PROTOCOL\"\nexec cat\n"));
    let mut client = Client::connect(server.address);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(h2_frame(4, 0, 0, &[]));
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/cgi-bin/ws-say"),
        ("sec-websocket-version", "13"),
        ("origin", "http://localhost"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    client.send(h2_frame(1, 4, 1, &block));
    // One masked message, and a close.
    client.send(h2_frame(0, 0, 1, &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']));
    let (mut data, mut allowed, mut status) = (Vec::new(), false, false);
    while !data.ends_with(b"\x81\x02hi") {
        let mut head = [0; 9];
        client.stream.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        client.stream.read_exact(&mut payload).expect("a whole frame");
        match head[3] {
            0 => data.extend_from_slice(&payload),
            1 => status = payload.contains(&0x88), // :status 200 in the static table
            4 if head[4] == 0 => {
                allowed = payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]);
                client.send(h2_frame(4, 1, 0, &[]));
            }
            3 | 7 => panic!("refused: {payload:?}"),
            _ => {}
        }
    }
    assert!(allowed && status, "SETTINGS_ENABLE_CONNECT_PROTOCOL and 200");
    assert!(data.starts_with(b"\x81\x0cGET HTTP/2.0"), "{data:?}");
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
