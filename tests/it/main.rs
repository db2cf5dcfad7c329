//! The built program, spoken to in octets over real sockets. Every test starts a server of its own at a free port over
//! a fresh folder; nothing sleeps for a fixed time, and everything waited for has a deadline.
//!
//! Needed beside the program: Linux, `sh` with the usual small programs; `perl` and `python3` where a test says so. As
//! root and as anybody. `KEEP_TREES=1` keeps the folders of tests that failed.

// A test may fail wherever it likes.
#![allow(clippy::unwrap_used)]

mod harness {
    pub mod h2;
    pub mod raw;
    pub mod server;
    pub mod tools;
    pub mod tree;
    pub mod vars;
    pub mod wait;
}
pub use harness::{h2, raw, server, tools, tree, vars, wait};

// In the order in which a request meets what they are about.
mod startup;

mod configuration;
mod edge;
mod finding;
mod variables;

mod arguments;
mod bodies;
mod heads;
mod nph;
mod redirects;

mod leaving;
mod limits;
mod processes;
mod streaming;

mod ajax;
mod files;
mod lane;
mod routes;
mod websocket;

mod browser;
mod draining;
mod logs;
mod readme;
#[allow(clippy::unwrap_used, reason = "what helps a test may fail as the test may")]
mod operation {
    mod activity;
    mod http2;
    mod listening;
    mod reloading;
    mod tls;
}
mod python;
mod status;
mod why;

mod architecture;
mod conformance;
