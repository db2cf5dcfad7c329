//! A WebSocket client that does as little as possible, so that the server is what is measured: the frame is made once,
//! and the right answer is known byte by byte.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::{
    http::{self, PATIENCE},
    measure::Sample,
    peers::{Trouble, echo_path},
    server::Server,
};

const PAYLOAD: &[u8; 32] = b"the quick brown fox jumps over a";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Round trips per second over all connections, one message in flight on each.
pub(crate) fn echo(server: &Server, connections: usize, seconds: f64) -> Result<Sample, Trouble> {
    runtime()?.block_on(async {
        let sockets = open(server, connections).await?;
        let begin = Instant::now();
        let until = begin + Duration::from_secs_f64(seconds);
        let tasks: Vec<_> = sockets.into_iter().map(|socket| tokio::spawn(trips(socket, until))).collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.map_err(|e| e.to_string())??);
        }
        let elapsed = begin.elapsed().as_secs_f64();
        times.sort_unstable();
        let percentile = |part: f64| times.get((times.len() as f64 * part) as usize).map(|&us| f64::from(us));
        Ok(Sample {
            value: times.len() as f64 / elapsed,
            units: times.len() as f64,
            p50: percentile(0.5),
            p99: percentile(0.99),
            ..Sample::default()
        })
    })
}

/// Server memory per open connection in KiB, the scripts left out.
pub(crate) fn memory(server: &Server, connections: usize) -> Result<Sample, Trouble> {
    const SCRIPTS: &[&str] = &["ws-cat", "cat"];
    runtime()?.block_on(async {
        // The first one pays for what all share: code paged in, tables, buffers.
        drop(open(server, 1).await?);
        server.settle();
        let before = server.memory(SCRIPTS);
        let sockets = open(server, connections).await?;
        server.settle();
        let after = server.memory(SCRIPTS);
        let each = after.pss.saturating_sub(before.pss) as f64 / sockets.len() as f64;
        Ok(Sample {
            value: each,
            units: sockets.len() as f64,
            start_mib: Some(before.pss as f64 / 1024.0),
            note: format!("{} open; {} KiB before, {} KiB with them", sockets.len(), before.pss, after.pss),
            ..Sample::default()
        })
    })
}

/// One connection, one message: is the route there, and is the answer right?
pub(crate) fn check(server: &Server) -> Result<(), Trouble> {
    runtime()?.block_on(async {
        let sockets = open(server, 1).await?;
        for mut socket in sockets {
            one_trip(&mut socket).await?;
        }
        Ok(())
    })
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|e| format!("runtime: {e}"))
}

/// Opens connections and sends one message on each, so that every script has started.
async fn open(server: &Server, connections: usize) -> Result<Vec<TcpStream>, Trouble> {
    let mut sockets = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut socket = upgrade(server.address, echo_path(server.who)).await?;
        one_trip(&mut socket).await.map_err(|e| format!("connection {number}: {e}"))?;
        sockets.push(socket);
    }
    Ok(sockets)
}

async fn upgrade(to: SocketAddr, path: &str) -> Result<TcpStream, Trouble> {
    let mut socket = TcpStream::connect(to).await.map_err(|e| format!("connect: {e}"))?;
    socket.set_nodelay(true).map_err(|e| format!("socket: {e}"))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://{to}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.map_err(|e| format!("write: {e}"))?;
    // Byte by byte, so that no frame is swallowed with the head.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, socket.read_u8()).await.map_err(|_| "no answer to the upgrade".to_owned())?;
        head.push(byte.map_err(|e| format!("upgrade: {e}"))?);
    }
    let head = String::from_utf8_lossy(&head);
    match http::status(&head)? {
        101 => Ok(socket),
        status @ (404 | 426 | 501) => Err(Trouble::NotBuilt(format!("answers {status} to the upgrade"))),
        502 if answers_502_to_anything(to, path) => {
            Err(Trouble::NotBuilt("runs the script as CGI, upgrade or not".into()))
        }
        status => Err(Trouble::Failed(format!("answers {status} to the upgrade"))),
    }
}

/// A server without WebSockets takes `cat` for a CGI program that prints no header; one with them knows better than to
/// start it for a plain request.
fn answers_502_to_anything(to: SocketAddr, path: &str) -> bool {
    http::ask(to, "GET", path, &[], b"").is_ok_and(|answer| answer.status == 502)
}

async fn trips(mut socket: TcpStream, until: Instant) -> Result<Vec<u32>, String> {
    let mut times = Vec::new();
    loop {
        let before = Instant::now();
        if before >= until {
            return Ok(times);
        }
        one_trip(&mut socket).await?;
        times.push(before.elapsed().as_micros() as u32);
    }
}

async fn one_trip(socket: &mut TcpStream) -> Result<(), String> {
    const LENGTH: usize = PAYLOAD.len();
    let mut frame = [0; LENGTH + 6];
    frame[0] = 0x81;
    frame[1] = 0x80 | LENGTH as u8;
    frame[2..6].copy_from_slice(&MASK);
    for (i, byte) in PAYLOAD.iter().enumerate() {
        frame[6 + i] = byte ^ MASK[i % 4];
    }
    socket.write_all(&frame).await.map_err(|e| format!("write: {e}"))?;
    let mut answer = [0; LENGTH + 2];
    let read = timeout(PATIENCE, socket.read_exact(&mut answer)).await.map_err(|_| "no echo".to_owned())?;
    read.map_err(|e| format!("read: {e}"))?;
    if answer[..2] == [0x81, LENGTH as u8] && answer[2..] == PAYLOAD[..] {
        Ok(())
    } else {
        Err(format!("wrong echo {answer:?}"))
    }
}
