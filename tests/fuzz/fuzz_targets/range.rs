//! Ranges: whatever the field, the parts lie inside the file, do not overlap and are few.
//!
//! The unit tests of `files::range` compare with a slow reference; here the field is any octets and the size any number.

#![no_main]

use cgiserve::files::range::{PARTS_MAX, Selection, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (size, field) = input;
    let mut parts = match parse(field, size) {
        Selection::Whole | Selection::Unsatisfiable => return,
        Selection::Single(one) => vec![one],
        Selection::Several(many) => many,
    };
    assert!(!parts.is_empty() && parts.len() <= PARTS_MAX);
    parts.sort_by_key(|part| part.start);
    let mut end = 0;
    for part in parts {
        assert!(part.length > 0 && part.start >= end);
        end = part.start.checked_add(part.length).expect("ends inside the file");
        assert!(end <= size);
    }
});
