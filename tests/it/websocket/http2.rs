//! WebSockets over HTTP/2 (RFC 8441).

use std::io::Read;

use crate::raw::Client;
use crate::server::serve;
use crate::tree::Tree;
use crate::wait::PATIENCE;

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
