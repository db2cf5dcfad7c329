//! As much HTTP/2 by hand as the tests need: one request, its body, and how the stream ended.

use std::io::Read;
use std::net::SocketAddr;

use crate::raw::Client;
use crate::wait::PATIENCE;

/// What came back on the stream.
#[derive(Debug)]
pub struct Answer {
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// The code of RST_STREAM, where the stream was broken off.
    pub reset: Option<u32>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Sends a GET of `path`, and leaves the answer to come.
pub fn begin(address: SocketAddr, path: &str) -> Client {
    ask(address, path, &[])
}

fn ask(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Client {
    let mut client = Client::connect(address);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(SETTINGS, 0, 0, &[]));
    let mut block = Vec::new();
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path)] {
        literal(&mut block, name, value);
    }
    for (name, value) in fields {
        literal(&mut block, name, value);
    }
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    client
}

/// GET `path` with prior knowledge (RFC 9113 §3.3), with more fields behind the usual ones.
pub fn get(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut client = ask(address, path, fields);
    let mut answer = Answer { body: Vec::new(), reset: None };
    client.stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    loop {
        let mut head = [0; 9];
        client.stream.read_exact(&mut head).expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        client.stream.read_exact(&mut payload).expect("a whole frame");
        match (kind, stream) {
            (SETTINGS, 0) if flags & ACK == 0 => client.send(frame(SETTINGS, ACK, 0, &[])),
            (DATA, 1) => {
                answer.body.extend_from_slice(&payload);
                if length > 0 {
                    let more = u32::try_from(length).expect("24 bits").to_be_bytes();
                    client.send(frame(WINDOW_UPDATE, 0, 0, &more));
                    client.send(frame(WINDOW_UPDATE, 0, 1, &more));
                }
            }
            (RST_STREAM, 1) => {
                answer.reset = Some(u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]));
                return answer;
            }
            (GOAWAY, _) => panic!("GOAWAY: {}", String::from_utf8_lossy(&payload)),
            _ => {}
        }
        if stream == 1 && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return answer;
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short frames").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field without indexing, with a new name, uncompressed (RFC 7541 §6.2.2).
fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        let length = u8::try_from(text.len()).ok().filter(|&l| l < 127).expect("short strings");
        block.push(length);
        block.extend_from_slice(text.as_bytes());
    }
}
