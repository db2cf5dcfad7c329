//! cgiserve: drop a script into `cgi-bin` and it is on the web.
//!
//! The modules stand in the order in which a request meets them.

pub mod auth;
pub mod body;
pub mod failure;
pub mod path;
