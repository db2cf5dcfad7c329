//! A reading of requests that is slow, simple, and written without a look at the edge.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Seen;

/// Every whole message, then a refusal if one is due; and whether the rest is open: too short to tell.
pub(super) fn read(input: &[u8]) -> (Vec<Seen>, bool) {
    let mut seen = Vec::new();
    let mut rest = input;
    loop {
        match message(rest) {
            Verdict::Open => return (seen, true),
            Verdict::Ends(what) => {
                seen.push(what);
                return (seen, false);
            }
            Verdict::Whole(what, length, close) => {
                seen.push(what);
                rest = &rest[length..];
                if close {
                    return (seen, false);
                }
            }
        }
    }
}

enum Verdict {
    Open,
    Ends(Seen),
    Whole(Seen, usize, bool),
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

fn message(input: &[u8]) -> Verdict {
    let mut start = 0;
    while input[start..].starts_with(b"\r\n") {
        start += 2;
    }
    if start > 8 {
        return Verdict::Ends(Seen::Refused);
    }
    let Some(blank) = find(&input[start..], b"\r\n\r\n") else {
        return Verdict::Open;
    };
    let end = start + blank + 4;
    match parse(&input[start..end - 2]) {
        Some(_) if end > 65536 => Verdict::Ends(Seen::Refused),
        None => Verdict::Ends(Seen::Refused),
        Some(head) => {
            let after = &input[end..];
            let (body, length) = match head.framing {
                None if after.len() < head.length => return Verdict::Open,
                None => (after[..head.length].to_vec(), head.length),
                Some(()) => match unchunk(after) {
                    Unchunked::Open => return Verdict::Open,
                    Unchunked::Bad => return Verdict::Ends(Seen::BadBody),
                    Unchunked::Whole(body, length) => (body, length),
                },
            };
            let what = Seen::Request { method: head.method, target: head.target, host: head.host, body };
            Verdict::Whole(what, end + length, head.close)
        }
    }
}

struct Parsed {
    method: String,
    target: Vec<u8>,
    host: Vec<Vec<u8>>,
    /// `Some` if chunked.
    framing: Option<()>,
    length: usize,
    close: bool,
}

fn token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// `head` is every line with its CRLF.
fn parse(head: &[u8]) -> Option<Parsed> {
    let mut lines = Vec::new();
    let mut rest = head;
    while !rest.is_empty() {
        let end = find(rest, b"\r\n")?;
        if end + 2 > 8192 || rest[..end].iter().any(|&b| (b < 32 && b != 9) || b == 127) {
            return None;
        }
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let (first, fields) = lines.split_first()?;
    let words: Vec<&[u8]> = first.split(|&b| b == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let old = version == b"HTTP/1.0";
    if !(old || version == b"HTTP/1.1")
        || !token(method)
        || method.len() > 32
        || method == b"CONNECT"
        || method == b"TRACE"
    {
        return None;
    }
    if target.is_empty() || target.contains(&b'#') || target.contains(&b'\t') || fields.len() > 100 {
        return None;
    }
    let mut values: Vec<(String, Vec<u8>)> = Vec::new();
    for field in fields {
        let colon = field.iter().position(|&b| b == b':')?;
        if !token(&field[..colon]) {
            return None;
        }
        let mut value = &field[colon + 1..];
        while let [b' ' | b'\t', more @ ..] | [more @ .., b' ' | b'\t'] = value {
            value = more;
        }
        values.push((String::from_utf8_lossy(&field[..colon]).to_lowercase(), value.to_vec()));
    }
    let all = |name: &str| values.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();

    let mut host = all("host");
    if host.len() > 1 || (host.is_empty() && !old) {
        return None;
    }
    let lower = String::from_utf8_lossy(target).to_lowercase();
    let mut path = target.to_vec();
    if let Some(skip) = ["http://", "https://"].iter().find(|s| lower.starts_with(**s)).map(|s| s.len()) {
        let authority: Vec<u8> = target[skip..].iter().copied().take_while(|b| *b != b'/' && *b != b'?').collect();
        path = target[skip + authority.len()..].to_vec();
        if path.is_empty() && method == b"OPTIONS" {
            path = b"*".to_vec();
        } else if path.first() != Some(&b'/') {
            path.insert(0, b'/');
        }
        if host.first().is_some_and(|h| !h.is_empty() && !good_host(h)) {
            return None;
        }
        if host.is_empty() && fields.len() == 100 {
            return None;
        }
        host = vec![authority];
    } else if target != b"*" && target[0] != b'/' || target == b"*" && method != b"OPTIONS" {
        return None;
    }
    if host.iter().any(|h| !good_host(h)) {
        return None;
    }

    if all("content-type").len() > 1 || all("expect").iter().any(|v| !v.eq_ignore_ascii_case(b"100-continue")) {
        return None;
    }
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let mut framing = None;
    let mut length = 0;
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([one], []) => {
            let text = std::str::from_utf8(one).ok()?;
            if text.is_empty() || text.len() > 19 || !text.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            length = usize::try_from(text.parse::<i64>().ok()?).ok()?;
        }
        ([], [one]) if one.eq_ignore_ascii_case(b"chunked") && !old => framing = Some(()),
        _ => return None,
    }
    let connection: Vec<String> = all("connection")
        .iter()
        .filter_map(|v| String::from_utf8(v.clone()).ok().filter(|v| v.is_ascii()))
        .flat_map(|v| v.split(',').map(|word| word.trim().to_lowercase()).collect::<Vec<_>>())
        .collect();
    let says = |what: &str| connection.iter().any(|word| word == what);
    let close = says("close") || (old && !says("keep-alive"));
    Some(Parsed { method: String::from_utf8_lossy(method).into_owned(), target: path, host, framing, length, close })
}

fn good_host(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else {
        return false;
    };
    let (name, port) = match text.rfind(']') {
        Some(end) => {
            let inside = text.strip_prefix('[').and_then(|t| t.get(..end - 1));
            if inside.is_none_or(|t| t.parse::<Ipv6Addr>().is_err()) {
                return false;
            }
            ("x", &text[end + 1..])
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let digits = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    let numeric = name.trim_end_matches('.').split('.').next_back().is_some_and(digits);
    if name.starts_with('-') || (numeric && name.parse::<Ipv4Addr>().is_err()) {
        return false;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = name.len() < 256 && name.split('.').all(|label| !label.is_empty());
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let port = port.is_empty()
        || port == ":"
        || port.strip_prefix(':').is_some_and(|p| p.len() < 6 && !p.starts_with('+') && p.parse::<u16>().is_ok());
    labels && letters && port
}

enum Unchunked {
    Open,
    Bad,
    Whole(Vec<u8>, usize),
}

fn unchunk(input: &[u8]) -> Unchunked {
    let printable = |text: &[u8]| text.iter().all(|&b| b == 9 || (b >= 32 && b != 127));
    let (mut body, mut at, mut extensions) = (Vec::new(), 0, 0);
    loop {
        let Some(line) = find(&input[at..], b"\r\n").map(|end| &input[at..at + end]) else {
            return Unchunked::Open;
        };
        let (size, extension) = line.split_at(line.iter().position(|&b| b == b';').unwrap_or(line.len()));
        extensions += extension.len().saturating_sub(1);
        if extension.len() > 257 || extensions > 16384 || !printable(extension) {
            return Unchunked::Bad;
        }
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Unchunked::Bad;
        }
        let size = u64::from_str_radix(&String::from_utf8_lossy(size), 16).unwrap_or(u64::MAX);
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(after) = usize::try_from(size).ok().and_then(|n| at.checked_add(n)).filter(|&n| n + 2 <= input.len())
        else {
            return Unchunked::Open;
        };
        body.extend_from_slice(&input[at..after]);
        if &input[after..after + 2] != b"\r\n" {
            return Unchunked::Bad;
        }
        at = after + 2;
    }
    let trailer = at;
    loop {
        let Some(line) = find(&input[at..], b"\r\n").map(|end| &input[at..at + end]) else {
            return Unchunked::Open;
        };
        at += line.len() + 2;
        if line.is_empty() {
            // Line ends' LFs are not counted by the edge; the bound is a few bytes apart and the fuzzer never gets there.
            return if at - trailer > 8000 { Unchunked::Open } else { Unchunked::Whole(body, at) };
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return Unchunked::Bad;
        };
        if !token(&line[..colon]) || !printable(&line[colon..]) {
            return Unchunked::Bad;
        }
    }
}
