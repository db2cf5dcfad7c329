use super::oracle;

#[path = "talk_tests.rs"]
mod talk;

/// Whole requests to cut, join and damage.
const SEEDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\"{\xff? HTTP/1.1\r\nHost: [::1]:80\r\nX-Y:\tz \r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nGET / HTTP/",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n",
    b"PUT http://h:1/x HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /x HTTP/1.0\r\nConnection: close\r\n\r\n",
];

/// Bits of text that damage well.
const BITS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b"0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Host: x\r\n",
    b"HTTP/1.0",
    b"http://h",
    b"#",
    b"\xff",
    b"Connection: close\r\n",
    b"chunked",
    b",",
];

/// xorshift: the same cases on every run, and the seed in the failure.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

#[test]
fn seeds_cut_anywhere() {
    let all = SEEDS.concat();
    for cut in 1..all.len() {
        oracle::check(&all, &[cut]);
    }
    oracle::check(&all, &vec![1; all.len()]);
    let (seen, wire) = oracle::run(&all, &[]);
    assert_eq!(seen.len(), SEEDS.len(), "{}", wire.escape_ascii());
}

#[test]
fn damaged_seeds() {
    let cases = std::env::var("EDGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..cases {
        let mut input = Vec::new();
        for _ in 0..1 + dice.roll(3) {
            input.extend_from_slice(SEEDS[dice.roll(SEEDS.len())]);
        }
        for _ in 0..dice.roll(4) {
            let at = dice.roll(input.len());
            match dice.roll(4) {
                0 => input[at] = dice.roll(256) as u8,
                1 => drop(input.drain(at..(at + 1 + dice.roll(6)).min(input.len()))),
                2 => drop(input.splice(at..at, BITS[dice.roll(BITS.len())].iter().copied())),
                _ => {
                    drop(input.splice(
                        at..(at + 1 + dice.roll(4)).min(input.len()),
                        BITS[dice.roll(BITS.len())].iter().copied(),
                    ))
                }
            }
            if input.is_empty() {
                break;
            }
        }
        let cuts: Vec<usize> = (0..dice.roll(6)).map(|_| 1 + dice.roll(40)).collect();
        oracle::check(&input, &cuts);
    }
}
