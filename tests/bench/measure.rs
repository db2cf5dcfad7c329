//! One workload from start to end: start everybody, check one answer of each, then take turns round by round.

use std::{
    fs,
    path::PathBuf,
    process, thread,
    time::{Duration, Instant},
};

use crate::{
    floor, http,
    options::Options,
    packages,
    peers::{self, Ground, Trouble},
    proc,
    server::Server,
    transfer, websocket,
    workload::{Ask, Kind, Metric, Requests, SMALL, Who, Workload},
    wrk,
};

/// A sample during which others used more of the machine than this is taken once more.
pub(crate) const NOISE: f64 = 0.15;

/// One figure with what belongs to it; times in microseconds.
#[derive(Clone, Default)]
pub(crate) struct Sample {
    /// In the workload's unit.
    pub(crate) value: f64,
    /// Requests, round trips or MiB done; what CPU time is divided by.
    pub(crate) units: f64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) cpu_us: Option<f64>,
    /// Memory (PSS) of the server after its start.
    pub(crate) start_mib: Option<f64>,
    pub(crate) errors: u64,
    /// The part of the machine that others used meanwhile.
    pub(crate) noise: f64,
    pub(crate) note: String,
}

impl Sample {
    pub(crate) fn figure(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Rate | Metric::Memory => Some(self.value),
            Metric::P50 => self.p50,
            Metric::P99 => self.p99,
            Metric::Start => self.start_mib,
        }
    }
}

/// A contestant with its samples, one per round.
pub(crate) struct Entrant {
    pub(crate) who: Who,
    pub(crate) samples: Vec<Sample>,
    pub(crate) trouble: Option<Trouble>,
    server: Option<Server>,
    /// Script for `wrk`.
    script: Option<PathBuf>,
}

/// Runs a workload. Contestants that cannot take part are in the result with the reason.
pub(crate) fn run(workload: &Workload, ground: &Ground, options: &Options) -> Vec<Entrant> {
    let mut entrants: Vec<Entrant> = workload
        .who
        .iter()
        // Go is compiled before its first use, which takes longer than the whole of a smoke test.
        .filter(|&&who| !(options.quick && who == Who::Go))
        .map(|&who| Entrant { who, samples: Vec::new(), trouble: None, server: None, script: None })
        .collect();
    for entrant in &mut entrants {
        entrant.trouble = prepare(entrant, workload, ground).err();
    }
    let count = entrants.len();
    for round in 0..options.rounds {
        for turn in 0..count {
            // A B C, then B C A: nobody always follows the same neighbour.
            let entrant = &mut entrants[(round + turn) % count];
            if entrant.trouble.is_none() {
                match quiet_sample(entrant, workload, ground, options) {
                    Ok(sample) => entrant.samples.push(sample),
                    Err(trouble) => entrant.trouble = Some(trouble),
                }
            }
        }
    }
    for entrant in &mut entrants {
        entrant.server = None;
    }
    entrants
}

/// Starts a contestant and asks once what will be timed: a wrong answer is never measured.
fn prepare(entrant: &mut Entrant, workload: &Workload, ground: &Ground) -> Result<(), Trouble> {
    if entrant.who == Who::SpawnLoop {
        return Ok(());
    }
    let server = peers::start(entrant.who, ground, workload)?;
    match &workload.kind {
        Kind::Requests(requests) => {
            let condition = check(&server, requests)?;
            let condition = condition.as_ref().map(|(name, value)| (*name, value.as_str()));
            let path = ground.tree.run.join(format!("{}-{:?}.lua", workload.name, entrant.who));
            fs::write(&path, wrk::script(&requests.ask, condition)).map_err(|e| format!("{}: {e}", path.display()))?;
            entrant.script = Some(path);
        }
        Kind::Download { path, bytes, .. } => {
            let patience = Instant::now() + http::PATIENCE;
            transfer::one_download(server.address, path, *bytes, patience)?;
        }
        Kind::Memory { .. } => drop(http::ask_and_hold(server.address, SMALL)?),
        Kind::Echo { .. } | Kind::EchoMemory { .. } => websocket::check(&server)?,
        // The upload itself is checked.
        Kind::Upload { .. } => {}
    }
    entrant.server = Some(server);
    Ok(())
}

/// Asks what `wrk` will ask. For a 304 it gives the header that brings it.
fn check(server: &Server, requests: &Requests) -> Result<Option<(&'static str, String)>, Trouble> {
    let ask = |headers: &[(&str, &str)]| match requests.ask {
        Ask::Counted(bytes) => http::ask(server.address, "POST", requests.path, headers, &vec![b'x'; bytes]),
        _ => http::ask(server.address, "GET", requests.path, headers, b""),
    };
    let answer = ask(&[])?;
    let right = answer.status == 200
        && match requests.ask {
            Ask::Body(body) => answer.body == body,
            Ask::Contains(text) => String::from_utf8_lossy(&answer.body).contains(text),
            Ask::Length(bytes) => answer.body.len() == bytes,
            Ask::Counted(bytes) => answer.body == format!("{bytes}\n").as_bytes(),
            Ask::Unchanged => true,
        };
    if !right {
        let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(60)]).into_owned();
        return Err(Trouble::Failed(format!("WRONG ANSWER: {} {body:?}", answer.status)));
    }
    if !matches!(requests.ask, Ask::Unchanged) {
        return Ok(None);
    }
    let validators = [("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")];
    let found = validators.iter().find_map(|(asks, tells)| Some((*asks, answer.header(tells)?.to_owned())));
    let (name, value) = found.ok_or(Trouble::Failed("WRONG ANSWER: no validator".into()))?;
    match ask(&[(name, &value)])?.status {
        304 => Ok(Some((name, value))),
        status => Err(Trouble::Failed(format!("WRONG ANSWER: {status} to {name}"))),
    }
}

/// Waits, two seconds at most, for a moment in which others are quiet; false if there was none.
fn wait_for_quiet() -> bool {
    (0..8).any(|_| {
        let (begin, busy) = (Instant::now(), proc::seconds_outside(process::id()));
        thread::sleep(Duration::from_millis(250));
        noise_since(begin, busy) < NOISE
    })
}

/// The part of all cores that others used since `begin`, when they had used `busy` seconds.
fn noise_since(begin: Instant, busy: f64) -> f64 {
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    ((proc::seconds_outside(process::id()) - busy) / (begin.elapsed().as_secs_f64() * cores)).max(0.0)
}

/// A sample; once more if others became busy meanwhile, because it would tell of them. Where they never pause, a second
/// one would be no better: the report says how busy they were.
fn quiet_sample(
    entrant: &mut Entrant,
    workload: &Workload,
    ground: &Ground,
    options: &Options,
) -> Result<Sample, Trouble> {
    let again = !options.quick && wait_for_quiet();
    let first = noted_sample(entrant, workload, ground, options.seconds)?;
    if first.noise < NOISE || !again {
        return Ok(first);
    }
    let second = noted_sample(entrant, workload, ground, options.seconds)?;
    Ok(if second.noise < first.noise { second } else { first })
}

/// A sample that knows how busy others were.
fn noted_sample(entrant: &mut Entrant, workload: &Workload, ground: &Ground, seconds: f64) -> Result<Sample, Trouble> {
    let (begin, busy) = (Instant::now(), proc::seconds_outside(process::id()));
    let sample = sample(entrant, workload, ground, seconds)?;
    Ok(Sample { noise: noise_since(begin, busy), ..sample })
}

fn sample(entrant: &mut Entrant, workload: &Workload, ground: &Ground, seconds: f64) -> Result<Sample, Trouble> {
    if let (Who::SpawnLoop, Kind::Requests(requests)) = (entrant.who, &workload.kind) {
        let program = ground.tree.site.join(requests.path.trim_start_matches('/'));
        return Ok(floor::spawn_loop(&ground.tree.spawnloop, &program, requests.connections, seconds)?);
    }
    if matches!(workload.kind, Kind::Memory { .. } | Kind::Upload { .. } | Kind::EchoMemory { .. }) {
        // Memory is told of a fresh process: what an allocator once took it keeps.
        entrant.server = None;
        entrant.server = Some(peers::start(entrant.who, ground, workload)?);
    }
    let server = entrant.server.as_ref().ok_or(Trouble::Failed("not started".into()))?;
    let begin = server.cpu_seconds();
    let mut sample = match &workload.kind {
        Kind::Requests(requests) if requests.idle > 0 => {
            let wanted = requests.idle.min(ground.files as usize - 500);
            let held = transfer::hold(server.address, wanted);
            server.settle();
            let begin = server.cpu_seconds();
            let mut sample = timed(entrant, server, requests, seconds)?;
            sample.cpu_us = Some((server.cpu_seconds() - begin) / sample.units * 1e6);
            sample.note = told_open(&held, requests.idle);
            drop(held);
            server.settle();
            sample
        }
        Kind::Requests(requests) => timed(entrant, server, requests, seconds)?,
        Kind::Download { path, bytes, connections } => {
            transfer::download(server.address, path, *bytes, *connections, seconds)?
        }
        Kind::Memory { idle } => held_memory(server, *idle, ground)?,
        Kind::Upload { bytes } => transfer::upload(server, *bytes)?,
        Kind::Echo { connections } => websocket::echo(server, *connections, seconds)?,
        Kind::EchoMemory { connections } => websocket::memory(server, *connections)?,
    };
    let counts_work = matches!(workload.kind, Kind::Requests(_) | Kind::Download { .. } | Kind::Echo { .. });
    // These two ignore SIGCHLD, so that the kernel charges nobody for their scripts.
    let uncharged = matches!(entrant.who, Who::Apache | Who::Nginx) && packages::runs_scripts(workload);
    if uncharged {
        sample.cpu_us = None;
    } else if counts_work && sample.cpu_us.is_none() {
        sample.cpu_us = Some((server.cpu_seconds() - begin) / sample.units * 1e6);
    }
    Ok(sample)
}

fn timed(entrant: &Entrant, server: &Server, requests: &Requests, seconds: f64) -> Result<Sample, Trouble> {
    let script = entrant.script.as_ref().ok_or(Trouble::Failed("no script for wrk".into()))?;
    wrk::run(server.address, requests, script, seconds)
}

fn held_memory(server: &Server, idle: usize, ground: &Ground) -> Result<Sample, Trouble> {
    drop(http::ask_and_hold(server.address, SMALL)?);
    server.settle();
    let before = server.memory(&[]);
    let held = transfer::hold(server.address, idle.min(ground.files as usize - 500));
    server.settle();
    // Give idle timers a moment; what counts is what stays.
    thread::sleep(Duration::from_millis(500));
    let after = server.memory(&[]);
    if held.is_empty() {
        return Err(Trouble::Failed("holds no connection".into()));
    }
    let start = before.pss as f64 / 1024.0;
    Ok(Sample {
        value: after.pss.saturating_sub(before.pss) as f64 / held.len() as f64,
        units: held.len() as f64,
        start_mib: Some(start),
        note: format!("start: {start:.1} MiB PSS, {:.1} RSS; {}", before.rss as f64 / 1024.0, told_open(&held, idle)),
        ..Sample::default()
    })
}

fn told_open(held: &[std::net::TcpStream], wanted: usize) -> String {
    let open = transfer::still_open(held);
    if open == wanted { format!("{open} idle") } else { format!("ONLY {open} of {wanted} idle") }
}
