//! The built program, spoken to in octets over real sockets. Every test starts a server of its own at a free port over
//! a fresh folder; nothing sleeps for a fixed time, and everything waited for has a deadline.
//!
//! Needed beside the program: `sh` with the usual small programs; `perl` and `python3` where a test says so.

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
mod routes;
mod websocket;

mod browser;
mod draining;
mod logs;
mod operation {
    mod activity;
    mod http2;
    mod listening;
    mod reloading;
    mod tls;
}
mod python;

mod architecture;
mod conformance;
