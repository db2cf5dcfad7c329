//! it

mod why;
