//! What is measured, against whom, and what the project set itself as goals: one closed table.

/// Somebody who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Nginx,
    Lighttpd,
    Apache,
    Go,
    Websocketd,
    /// Floor: hyper with the answers in memory and nothing around it.
    Hyper,
    /// Floor: vfork + exec + read + wait in a loop, no HTTP; one process per core.
    SpawnLoop,
}

/// One row group of the report.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Unit of `Sample::value`.
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
    /// Who takes part; `Who::Ours` first.
    pub(crate) who: &'static [Who],
    pub(crate) goals: &'static [Goal],
    /// Part of `--quick`.
    pub(crate) quick: bool,
}

/// How a figure is taken.
pub(crate) enum Kind {
    /// Closed-loop requests by `wrk`.
    Requests(Requests),
    /// Whole large answers over fresh connections, counted to the end.
    Download { path: &'static str, bytes: u64, connections: usize },
    /// Server memory after start and per idle keep-alive connection.
    Memory { idle: usize },
    /// One upload; the peak of the server's memory meanwhile.
    Upload { bytes: u64 },
    /// WebSocket round trips through a script that copies lines.
    Echo { connections: usize },
    /// Server memory per open WebSocket.
    EchoMemory { connections: usize },
}

/// A request that `wrk` repeats.
pub(crate) struct Requests {
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    /// Threads of `wrk`.
    pub(crate) threads: usize,
    pub(crate) ask: Ask,
    /// Keep-alive connections that are held open, silent, meanwhile.
    pub(crate) idle: usize,
}

/// What is asked and which answer is right; checked once before the clock runs.
pub(crate) enum Ask {
    /// 200 with exactly this body.
    Body(&'static [u8]),
    /// 200 with a body that contains this.
    Contains(&'static str),
    /// 200 with a body of this many bytes.
    Length(usize),
    /// 304 to the validator of an earlier answer.
    Unchanged,
    /// POST of this many bytes; 200 with their number as the body.
    Counted(usize),
}

/// A figure of a sample; each knows which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// `Sample::value` where more is better.
    Rate,
    P50,
    P99,
    /// `Sample::value` where less is better.
    Memory,
    /// Memory after start, in MiB.
    Start,
}

impl Metric {
    pub(crate) fn more_is_better(self) -> bool {
        self == Metric::Rate
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Metric::Rate => "rate",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::Memory => "memory",
            Metric::Start => "memory at start",
        }
    }
}

/// What our figure is held against.
#[derive(Clone, Copy)]
pub(crate) enum Versus {
    One(Who),
    /// The best of these by the median of all rounds.
    Best(&'static [Who]),
    /// The bare figure.
    Nothing,
}

/// A comparison; without a bar it is told, not judged.
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) versus: Versus,
    pub(crate) bar: Option<f64>,
}

const fn goal(metric: Metric, versus: Versus, bar: f64) -> Goal {
    Goal { metric, versus, bar: Some(bar) }
}

const fn told(metric: Metric, versus: Versus) -> Goal {
    Goal { metric, versus, bar: None }
}

/// The programs that `tree.rs` builds below `cgi-bin` and the files beside it.
pub(crate) const SMALL: &str = "/1k.bin";
const MIDDLE: &str = "/100k.bin";
const LARGE: &str = "/100m.bin";
pub(crate) const LARGE_BYTES: u64 = 100 << 20;
const HELLO: &str = "/cgi-bin/hello";
const HELLO_GLIBC: &str = "/cgi-bin/hello-glibc";
pub(crate) const COUNT: &str = "/cgi-bin/count";
const STREAM: &str = "/cgi-bin/stream";

const CGI_PEERS: &[Who] = &[Who::Apache, Who::Lighttpd, Who::Nginx, Who::Go];
const CGI: &[Who] = &[Who::Ours, Who::Apache, Who::Lighttpd, Who::Nginx, Who::Go];
const CGI_AND_FLOOR: &[Who] = &[Who::Ours, Who::Apache, Who::Lighttpd, Who::Nginx, Who::Go, Who::SpawnLoop];

const fn requests(path: &'static str, connections: usize, ask: Ask) -> Kind {
    // One thread of wrk is enough for scripts; two for what answers a hundred thousand times a second.
    let threads = if matches!(ask, Ask::Body(_) | Ask::Counted(_)) { 1 } else { 2 };
    Kind::Requests(Requests { path, connections, threads, ask, idle: 0 })
}

const HELLO_ANSWER: Ask = Ask::Body(b"hello");

/// Every workload, in the order of the report.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "A1",
        title: "/ajax/time, 64 connections",
        unit: "/s",
        kind: requests("/ajax/time", 64, Ask::Contains("\"time\"")),
        who: &[Who::Ours, Who::Hyper],
        goals: &[goal(Metric::Rate, Versus::One(Who::Hyper), 0.97)],
        quick: true,
    },
    Workload {
        name: "S1",
        title: "static file of 1 KiB, 64 connections",
        unit: "/s",
        kind: requests(SMALL, 64, Ask::Length(1024)),
        who: &[Who::Ours, Who::Nginx, Who::Lighttpd, Who::Hyper],
        goals: &[
            goal(Metric::Rate, Versus::One(Who::Nginx), 1.1),
            goal(Metric::Rate, Versus::One(Who::Lighttpd), 1.0),
            told(Metric::Rate, Versus::One(Who::Hyper)),
        ],
        quick: true,
    },
    Workload {
        name: "S2",
        title: "static file of 100 KiB, 64 connections",
        unit: "/s",
        kind: requests(MIDDLE, 64, Ask::Length(100 << 10)),
        who: &[Who::Ours, Who::Nginx, Who::Lighttpd],
        goals: &[goal(Metric::Rate, Versus::One(Who::Nginx), 1.0)],
        quick: false,
    },
    Workload {
        name: "S3",
        title: "static file of 100 MiB, 2 connections",
        unit: "MB/s",
        kind: Kind::Download { path: LARGE, bytes: LARGE_BYTES, connections: 2 },
        who: &[Who::Ours, Who::Nginx, Who::Lighttpd],
        goals: &[goal(Metric::Rate, Versus::Best(&[Who::Nginx, Who::Lighttpd]), 0.9)],
        quick: false,
    },
    Workload {
        name: "S4",
        title: "304 to a validator, 64 connections",
        unit: "/s",
        kind: requests(SMALL, 64, Ask::Unchanged),
        who: &[Who::Ours, Who::Nginx, Who::Lighttpd],
        goals: &[goal(Metric::Rate, Versus::One(Who::Nginx), 1.0)],
        quick: false,
    },
    Workload {
        name: "SL",
        title: "latency of S1",
        unit: "/s",
        kind: requests(SMALL, 64, Ask::Length(1024)),
        who: &[Who::Ours, Who::Nginx],
        goals: &[goal(Metric::P99, Versus::One(Who::Nginx), 1.2)],
        quick: false,
    },
    Workload {
        name: "C1",
        title: "CGI hello in C (static, musl), 16 connections",
        unit: "/s",
        kind: requests(HELLO, 16, HELLO_ANSWER),
        who: CGI_AND_FLOOR,
        goals: &[goal(Metric::Rate, Versus::Best(CGI_PEERS), 2.0), told(Metric::Rate, Versus::One(Who::SpawnLoop))],
        quick: true,
    },
    Workload {
        name: "C1g",
        title: "CGI hello in C (dynamic, glibc), 16 connections",
        unit: "/s",
        kind: requests(HELLO_GLIBC, 16, HELLO_ANSWER),
        who: CGI_AND_FLOOR,
        goals: &[
            goal(Metric::Rate, Versus::One(Who::Apache), 1.0),
            told(Metric::Rate, Versus::Best(CGI_PEERS)),
            told(Metric::Rate, Versus::One(Who::SpawnLoop)),
        ],
        quick: false,
    },
    Workload {
        name: "L1",
        title: "latency of C1 on one connection",
        unit: "/s",
        kind: requests(HELLO, 1, HELLO_ANSWER),
        who: CGI_AND_FLOOR,
        goals: &[goal(Metric::P50, Versus::Best(CGI_PEERS), 0.65), told(Metric::P50, Versus::One(Who::SpawnLoop))],
        quick: false,
    },
    Workload {
        name: "L64",
        title: "latency of C1 on 64 connections",
        unit: "/s",
        kind: requests(HELLO, 64, HELLO_ANSWER),
        who: CGI,
        goals: &[goal(Metric::P99, Versus::Best(CGI_PEERS), 1.0)],
        quick: false,
    },
    Workload {
        name: "F",
        title: "C1 with 8,000 idle keep-alive connections",
        unit: "/s",
        kind: Kind::Requests(Requests { path: HELLO, connections: 16, threads: 1, ask: HELLO_ANSWER, idle: 8_000 }),
        who: CGI_AND_FLOOR,
        goals: &[goal(Metric::Rate, Versus::Best(CGI_PEERS), 2.5), told(Metric::Rate, Versus::One(Who::SpawnLoop))],
        quick: false,
    },
    Workload {
        name: "P1",
        title: "CGI POST of 1 MiB counted in C, 16 connections",
        unit: "/s",
        kind: requests(COUNT, 16, Ask::Counted(1 << 20)),
        who: CGI,
        goals: &[goal(Metric::Rate, Versus::Best(CGI_PEERS), 1.0)],
        quick: false,
    },
    Workload {
        name: "P2",
        title: "CGI answer of 100 MiB from C, 2 connections",
        unit: "MB/s",
        kind: Kind::Download { path: STREAM, bytes: LARGE_BYTES, connections: 2 },
        who: CGI,
        goals: &[goal(Metric::Rate, Versus::Best(&[Who::Apache, Who::Lighttpd, Who::Go]), 1.4)],
        quick: true,
    },
    Workload {
        name: "M",
        title: "memory with 10,000 idle keep-alive connections",
        unit: "KiB each",
        kind: Kind::Memory { idle: 10_000 },
        who: &[Who::Ours, Who::Hyper, Who::Nginx, Who::Lighttpd],
        goals: &[
            goal(Metric::Start, Versus::Nothing, 15.0),
            goal(Metric::Memory, Versus::Nothing, 11.5),
            goal(Metric::Memory, Versus::One(Who::Hyper), 1.0),
        ],
        quick: false,
    },
    Workload {
        name: "U",
        title: "upload of 1 GiB counted in C, peak memory of the server",
        unit: "MiB",
        kind: Kind::Upload { bytes: 1 << 30 },
        who: &[Who::Ours],
        goals: &[goal(Metric::Memory, Versus::Nothing, 32.0)],
        quick: false,
    },
    Workload {
        name: "W",
        title: "WebSocket echo through cat, 32 connections",
        unit: "trips/s",
        kind: Kind::Echo { connections: 32 },
        who: &[Who::Ours, Who::Websocketd],
        goals: &[goal(Metric::Rate, Versus::One(Who::Websocketd), 1.3)],
        quick: true,
    },
    Workload {
        name: "W500",
        title: "memory of the server with 500 WebSockets open",
        unit: "KiB each",
        kind: Kind::EchoMemory { connections: 500 },
        who: &[Who::Ours, Who::Websocketd],
        goals: &[goal(Metric::Memory, Versus::Nothing, 14.0)],
        quick: false,
    },
];
