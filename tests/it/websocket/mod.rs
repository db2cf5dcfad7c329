//! websocket
//!
//! Scripts as WebSocket servers. The client's frames come from the same library as the server's, but not its handshake;
//! `tests/websocket` has clients that are not ours.

mod opening;

mod author;
mod http2;
mod hub;
mod messages;
mod websocketd;

mod cost;
mod ending;

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::server::Server;
use crate::wait::PATIENCE;

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
