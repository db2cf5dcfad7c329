//! cgiserve: drop a script into `cgi-bin` and it is on the web.
//!
//! The modules stand in the order in which a request meets them.

pub mod cli;
pub mod config;
pub mod logging;
pub mod websocketd;

pub mod check;
pub mod convert;
pub mod rehearse;
pub mod starter;
pub mod why;

pub mod app;
pub mod server;

pub mod edge;
mod stream;

pub mod connection;
pub mod dispatch;
pub mod path;
pub mod route;

pub mod auth;
pub mod limits;

pub mod compat;

pub mod builtin;
pub mod files;
pub mod gateway;
pub mod scripts;
pub mod status;
pub mod websocket;

pub mod spawner;

pub mod explain;

pub mod access_log;
pub mod body;
pub mod failure;
pub mod reply;
pub mod ticket;

mod stripe;
mod sys;
