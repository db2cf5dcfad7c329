//! x

pub mod edge;
