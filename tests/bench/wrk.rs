//! The load generator `wrk`: a script for it, and its figures.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::{
    measure::Sample,
    packages,
    peers::Trouble,
    workload::{Ask, Requests},
};

/// The end of every script: figures in a line that cannot be mistaken, latencies in microseconds.
const DONE: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\nfigures requests=%d us=%d p50=%d p99=%d errors=%d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// The script that makes `wrk` ask this. `condition`: the header that asks for a 304.
pub(crate) fn script(ask: &Ask, condition: Option<(&str, &str)>) -> String {
    let mut text = String::new();
    if let Ask::Counted(bytes) = ask {
        text.push_str(&format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {bytes})\n"));
        text.push_str("wrk.headers[\"Content-Type\"] = \"application/octet-stream\"\n");
    }
    if let Some((name, value)) = condition {
        text.push_str(&format!("wrk.headers[\"{name}\"] = [==[{value}]==]\n"));
    }
    text + DONE
}

/// One sample.
pub(crate) fn run(to: SocketAddr, requests: &Requests, script: &Path, seconds: f64) -> Result<Sample, Trouble> {
    let wrk = packages::find("wrk").ok_or(Trouble::Failed("wrk, the load generator, is not installed".into()))?;
    let output = Command::new(wrk)
        .arg(format!("-t{}", requests.threads.min(requests.connections)))
        .arg(format!("-c{}", requests.connections))
        // wrk knows whole seconds only.
        .arg(format!("-d{}s", seconds.max(1.0).round()))
        .args(["--timeout", "20s", "-s"])
        .arg(script)
        .arg(format!("http://{to}{}", requests.path))
        .output()
        .map_err(|e| format!("wrk: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("figures ")).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("wrk gave no figures: {} {}", text.trim(), said.trim())
    })?;
    let field = |key: &str| {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        word.and_then(|number| number.parse::<f64>().ok()).ok_or(format!("wrk says {line:?}"))
    };
    let done = field("requests")?;
    if done == 0.0 {
        return Err(Trouble::Failed("not one answer".into()));
    }
    Ok(Sample {
        value: done / (field("us")? / 1e6),
        units: done,
        p50: Some(field("p50")?),
        p99: Some(field("p99")?),
        errors: field("errors")? as u64,
        ..Sample::default()
    })
}
