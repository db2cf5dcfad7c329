//! The wire format, by tables and by the fuzz target's oracle on random bytes.

use std::ffi::CStr;

use super::super::Step;
use super::super::wire::{MAX_MESSAGE, Notice, Request, SandboxView, Start, WireError};

#[path = "../../../tests/fuzz/oracle/wire.rs"]
mod oracle;

fn starts() -> Vec<Start<'static>> {
    let small = Start {
        id: 0,
        has_stdin: false,
        has_stderr: false,
        no_new_privs: false,
        umask: 0,
        linger_ms: 0,
        grace_ms: 0,
        limits: [None; 6],
        identity: None,
        sandbox: SandboxView::Off,
        program: c"",
        dir: c"",
        argv: vec![],
        env: vec![],
    };
    let full = Start {
        id: (1 << 61) - 1,
        has_stdin: true,
        has_stderr: true,
        no_new_privs: true,
        umask: u32::MAX,
        linger_ms: u64::MAX,
        grace_ms: u64::MAX,
        limits: [Some(0), Some(u64::MAX), None, Some(1), None, Some(2)],
        identity: Some((1, u32::MAX, vec![0, 1, u32::MAX])),
        sandbox: SandboxView::Strict { read: vec![c"/r", c""], write: vec![c"/w"] },
        program: c"/cgi-bin/a b",
        dir: c"/cgi-bin",
        argv: vec![c"a", c"", c"\xff"],
        env: vec![c"A=1", c"B="],
    };
    let standard = Start { sandbox: SandboxView::Standard, identity: Some((0, 0, vec![])), ..small.clone() };
    vec![small, full, standard]
}

fn requests() -> Vec<Vec<u8>> {
    let starts = starts().into_iter().map(|start| Request::Start(Box::new(start)));
    let ends = [0, 7, (1 << 61) - 1].map(Request::End);
    starts
        .chain(ends)
        .map(|request| {
            let mut bytes = Vec::new();
            request.encode(&mut bytes).unwrap();
            assert_eq!(Request::decode(&bytes), Ok(request));
            bytes
        })
        .collect()
}

fn notices() -> Vec<Notice> {
    vec![
        Notice::Started { id: 1, pid: 77 },
        Notice::NotStarted { id: 2, step: Step::Exec, errno: 2 },
        Notice::NotStarted { id: 2, step: Step::Message, errno: -1 },
        Notice::Ended { id: 3, pid: 78, status: 256, wall_us: 1, cpu_us: u64::MAX, peak_rss_kib: 3, leftovers: true },
        Notice::Gone { id: (1 << 61) - 1 },
    ]
}

#[test]
fn what_is_written_reads_back() {
    for bytes in requests() {
        oracle::check(&bytes);
    }
    let mut packet = Vec::new();
    notices().iter().for_each(|notice| notice.encode(&mut packet));
    oracle::check(&packet);
    let mut rest = &packet[..];
    let read: Vec<_> = std::iter::from_fn(|| Notice::decode(&mut rest).unwrap()).collect();
    assert_eq!(read, notices());
}

#[test]
fn every_shortened_message_is_refused() {
    for bytes in requests() {
        for length in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..length]), Err(WireError::Short), "{length} of {}", bytes.len());
        }
        assert_eq!(Request::decode(&[&bytes[..], &[0]].concat()), Err(WireError::Trailing));
    }
}

#[test]
fn what_has_no_meaning_is_refused() {
    let end = |id: u64| [&[2][..], &id.to_le_bytes()].concat();
    let changed = |at: usize, byte: u8| {
        let mut bytes = requests().swap_remove(0);
        bytes[at] = byte;
        bytes
    };
    // Kind, number, flags, first limit's presence, sandbox; positions in the smallest job.
    for (bytes, error) in [
        (vec![0], WireError::Value),
        (vec![3], WireError::Value),
        (end(1 << 61), WireError::Value),
        (end(u64::MAX), WireError::Value),
        (changed(9, 16), WireError::Value),
        (changed(30, 2), WireError::Value),
        (changed(36, 3), WireError::Value),
        // An argument list that claims more than there is.
        (changed(39, 255), WireError::Short),
        (vec![0; MAX_MESSAGE + 1], WireError::TooBig),
    ] {
        assert_eq!(Request::decode(&bytes), Err(error), "{:?}", &bytes[..bytes.len().min(48)]);
    }
    for (bytes, error) in [
        (&[9, 0, 0, 0, 0, 0, 0, 0, 0][..], WireError::Value),
        (&[2, 0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0], WireError::Value),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1], WireError::Short),
    ] {
        assert_eq!(Notice::decode(&mut &bytes[..]), Err(error));
    }
}

#[test]
fn the_largest_message() {
    let long = vec![b'x'; MAX_MESSAGE];
    let with = |length: usize| {
        let mut text = long[..length].to_vec();
        text.push(0);
        let mut start = starts().swap_remove(0);
        let text: Box<[u8]> = text.into();
        start.env = vec![CStr::from_bytes_with_nul(Box::leak(text)).unwrap()];
        let mut bytes = Vec::new();
        Request::Start(Box::new(start)).encode(&mut bytes).map(|()| bytes)
    };
    let overhead = with(0).unwrap().len();
    assert_eq!(with(MAX_MESSAGE - overhead).unwrap().len(), MAX_MESSAGE);
    assert_eq!(with(MAX_MESSAGE - overhead + 1), Err(WireError::TooBig));
}

#[test]
fn random_bytes_and_damaged_messages() {
    // xorshift: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut packet = Vec::new();
    notices().iter().for_each(|notice| notice.encode(&mut packet));
    let seeds = [requests(), vec![packet]].concat();
    for _ in 0..20_000 {
        let mut bytes = seeds[random() % seeds.len()].clone();
        for _ in 0..random() % 4 {
            let at = random() % bytes.len();
            match random() % 4 {
                0 => bytes[at] = random() as u8,
                1 => bytes[at] ^= 1 << (random() % 8),
                2 => bytes.insert(at, random() as u8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        oracle::check(&bytes);
        let noise: Vec<u8> = (0..random() % 64).map(|_| random() as u8).collect();
        oracle::check(&noise);
    }
}
