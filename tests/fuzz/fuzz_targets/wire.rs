//! `cargo fuzz run --fuzz-dir tests/fuzz wire`
#![no_main]

use cgiserve::spawner::wire::{Notice, Request};

#[path = "../oracle/wire.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::check(bytes));
