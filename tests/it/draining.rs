//! draining
