//! The floors, measured in the same run: hyper with nothing around it, and starting a program with nothing around it.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, runtime::Builder};

use crate::{measure::Sample, workload::SMALL};

/// The argument by which the benchmark starts itself as the bare hyper service.
pub(crate) const HIDDEN: &str = "--serve-from-memory";

/// Serves `/ajax/time`'s bytes and 1 KiB from memory until it is killed.
pub(crate) fn serve(port: &str) -> Result<Infallible, String> {
    let port: u16 = port.parse().map_err(|e| format!("{port}: {e}"))?;
    // As many workers as the server under test has: one per core, tokio's default.
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.map_err(|e| e.to_string())?;
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    const TIME: &[u8] = br#"{"time":"2026-11-21 07:08:52 UTC","iso":"2026-11-21T07:08:52Z","epoch_ms":1795244932000}"#;
    const FILE: &[u8] = &[b'x'; 1024];
    let file = request.uri().path() == SMALL;
    let mut response = Response::new(Full::new(Bytes::from_static(if file { FILE } else { TIME })));
    let headers = response.headers_mut();
    if file {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Starts `program` over and over in as many pinned processes as there are cores, at most `parallel`.
pub(crate) fn spawn_loop(spawnloop: &Path, program: &Path, parallel: usize, seconds: f64) -> Result<Sample, String> {
    let cores = thread::available_parallelism().map_or(1, usize::from).min(parallel);
    let mut loops = Vec::new();
    for core in 0..cores {
        let child = Command::new(spawnloop)
            .args([core.to_string(), seconds.to_string()])
            .arg(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("spawnloop: {e}"))?;
        loops.push(child);
    }
    let mut sample = Sample::default();
    let (mut starts, mut cpu) = (0.0, 0.0);
    for child in loops {
        let output = child.wait_with_output().map_err(|e| format!("spawnloop: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = |key: &str| {
            let word = text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            word.and_then(|number| number.parse::<f64>().ok()).ok_or(format!("spawnloop says {text:?}"))
        };
        sample.value += field("starts")? / (field("us")? / 1e6);
        // Each loop has as many starts as the others, so the mean of their percentiles will do.
        *sample.p50.get_or_insert(0.0) += field("p50")? / cores as f64;
        *sample.p99.get_or_insert(0.0) += field("p99")? / cores as f64;
        sample.errors += field("errors")? as u64;
        starts += field("starts")?;
        cpu += field("cpu_us")?;
    }
    sample.cpu_us = Some(cpu / f64::max(starts, 1.0));
    Ok(sample)
}
