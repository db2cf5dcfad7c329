//! cgiserve: drop a script into `cgi-bin` and it is on the web.
//!
//! The modules stand in the order in which a request meets them.

pub mod body;
pub mod failure;
pub mod files;
pub mod path;
pub mod spawner;
mod sys;
