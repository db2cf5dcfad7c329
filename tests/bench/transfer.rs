//! Large bodies in both directions, and connections that say nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{RecvFlags, recv};

use crate::{
    http,
    measure::Sample,
    server::Server,
    workload::{COUNT, SMALL},
};

const BLOCK: usize = 256 << 10;

/// Gets `path` over and over, each time on a fresh connection; megabytes (10^6) per second.
pub(crate) fn download(
    to: SocketAddr,
    path: &str,
    bytes: u64,
    connections: usize,
    seconds: f64,
) -> Result<Sample, String> {
    let begin = Instant::now();
    let until = begin + Duration::from_secs_f64(seconds);
    let total = thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(move || {
                    let mut sum = 0;
                    while Instant::now() < until {
                        sum += one_download(to, path, bytes, until)?;
                    }
                    Ok::<u64, String>(sum)
                })
            })
            .collect();
        let mut total = 0;
        for worker in workers {
            total += worker.join().map_err(|_| "a download broke off")??;
        }
        Ok::<u64, String>(total)
    })?;
    let megabytes = total as f64 / 1e6;
    Ok(Sample {
        value: megabytes / begin.elapsed().as_secs_f64(),
        units: total as f64 / f64::from(1 << 20),
        ..Sample::default()
    })
}

/// Reads one answer to its end, or until the sample is over. An answer that ends early is an error; framing may add to
/// the length, but never take from it.
pub(crate) fn one_download(to: SocketAddr, path: &str, bytes: u64, until: Instant) -> Result<u64, String> {
    let mut stream = http::connect(to)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")
        .map_err(|e| format!("write: {e}"))?;
    let mut block = vec![0; BLOCK];
    let mut seen = stream.read(&mut block).map_err(|e| format!("read: {e}"))? as u64;
    if !block.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("answers {:?}", String::from_utf8_lossy(&block[..block.len().min(40)])));
    }
    while Instant::now() < until {
        // The kernel counts and drops the bytes without a copy, so that the client takes little of the shared cores.
        let (_, got) = recv(&stream, block.as_mut_slice(), RecvFlags::TRUNC).map_err(|e| format!("read: {e}"))?;
        if got == 0 {
            return if seen >= bytes { Ok(seen) } else { Err(format!("ends after {seen} of {bytes} bytes")) };
        }
        seen += got as u64;
    }
    Ok(seen)
}

/// Sends one body of `bytes` to the counting script and watches the server's memory meanwhile; the value is its peak
/// in MiB.
pub(crate) fn upload(server: &Server, bytes: u64) -> Result<Sample, String> {
    let start = server.memory(&[]);
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(start.pss));
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(server.memory(&["count"]).pss, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let sent = send(server.address, bytes);
        over.store(true, Ordering::Relaxed);
        sent
    })?;
    let rate = bytes as f64 / 1e6 / begin.elapsed().as_secs_f64();
    Ok(Sample {
        value: peak.into_inner() as f64 / 1024.0,
        units: bytes as f64 / f64::from(1 << 20),
        start_mib: Some(start.pss as f64 / 1024.0),
        note: format!("{rate:.0} MB/s; {:.1} MiB PSS before", start.pss as f64 / 1024.0),
        ..Sample::default()
    })
}

fn send(to: SocketAddr, bytes: u64) -> Result<(), String> {
    let mut stream = http::connect(to)?;
    let head = format!(
        "POST {COUNT} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {bytes}\r\n\r\n"
    );
    let block = vec![b'x'; BLOCK];
    let mut pour = || {
        stream.write_all(head.as_bytes())?;
        let mut left = bytes;
        while left > 0 {
            let part = left.min(BLOCK as u64);
            stream.write_all(&block[..part as usize])?;
            left -= part;
        }
        Ok::<(), std::io::Error>(())
    };
    // A server that refuses may answer and close before everything is sent: the answer says more than the error.
    let poured = pour();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    if text.starts_with("HTTP/1.1 200 ") && text.contains(&format!("{bytes}\n")) {
        return Ok(());
    }
    let why = poured.err().map_or(String::new(), |e| format!(" ({e})"));
    Err(format!("upload answered {:?}{why}", text.lines().next().unwrap_or_default()))
}

/// Opens keep-alive connections, one answered request on each. Fewer than wanted if the server or the machine refuses.
pub(crate) fn hold(to: SocketAddr, wanted: usize) -> Vec<TcpStream> {
    let mut held = Vec::with_capacity(wanted);
    while held.len() < wanted {
        match http::ask_and_hold(to, SMALL) {
            Ok(stream) => held.push(stream),
            Err(_) => break,
        }
    }
    held
}

/// How many of them the server has not closed.
pub(crate) fn still_open(held: &[TcpStream]) -> usize {
    let open = |stream: &&TcpStream| {
        let silent = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        silent.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    };
    held.iter().filter(open).count()
}
