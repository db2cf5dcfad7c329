//! Whatever bytes a client sends, cut however: the service must see exactly the requests that a second, independent
//! reading of the same bytes finds, or a refusal and nothing after it. `cargo fuzz run --fuzz-dir tests/fuzz edge`.
//!
//! The first byte says how many cuts follow it, the next ones where.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&n, rest)) = data.split_first() else { return };
    let (cuts, input) = rest.split_at(usize::from(n % 8).min(rest.len()));
    let cuts: Vec<usize> = cuts.iter().map(|&cut| usize::from(cut) + 1).collect();
    cgiserve::edge::oracle::check(input, &cuts);
});
