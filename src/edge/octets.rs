//! Which bytes may stand where.

use super::target;

/// The first control byte other than a tab at or after `at`, or the end. Eight bytes at a time: of all the work on a
/// head most is here.
pub(super) fn value_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let del = word ^ (ONES * 0x7f);
        let del = del.wrapping_sub(ONES) & !del;
        let found = (low | del) & HIGH;
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if bytes[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    while at < bytes.len() && !matches!(bytes[at], 0..=8 | 10..=31 | 127) {
        at += 1;
    }
    at
}

/// RFC 9110 section 5.6.2.
pub(super) const fn is_token(b: u8) -> bool {
    TOKEN[b as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = matches!(b as u8, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~');
        b += 1;
    }
    table
};

const NOT_IN_TARGET: u8 = 0;
pub(super) const IN_TARGET: u8 = 1;
pub(super) const ODD_IN_TARGET: u8 = 2;

pub(super) const TARGET: [u8; 256] = {
    let mut table = [NOT_IN_TARGET; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = match b as u8 {
            0..=0x20 | 0x7f | b'#' => NOT_IN_TARGET,
            odd if target::is_odd(odd) => ODD_IN_TARGET,
            _ => IN_TARGET,
        };
        b += 1;
    }
    table
};
