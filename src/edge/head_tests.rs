use super::*;

fn limits() -> Limits {
    Limits::default()
}

/// What the scan says in the end, whichever way the bytes are cut.
fn verdict(bytes: &[u8], limits: &Limits) -> Scan {
    let whole = scan(bytes, limits);
    let mut decided = Scan::Incomplete;
    for end in 0..=bytes.len() {
        let now = scan(&bytes[..end], limits);
        if decided == Scan::Incomplete {
            decided = now;
        }
        assert_eq!(now, decided, "{} cut at {end}", bytes.escape_ascii());
    }
    assert_eq!(whole, decided);
    whole
}

fn head(bytes: &[u8]) -> Head {
    match verdict(bytes, &limits()) {
        Scan::Head(head) => head,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn status(bytes: &[u8]) -> u16 {
    match verdict(bytes, &limits()) {
        Scan::Refused(reason) => reason.status,
        Scan::Incomplete => 0,
        Scan::Head(_) => 200,
    }
}

#[test]
fn framings() {
    let table: &[(&[u8], Framing)] = &[
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Empty),
        (b"GET / HTTP/1.0\r\n\r\n", Framing::Empty),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Empty),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Framing::Empty),
        (b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length:\t 12 \t\r\n\r\n", Framing::Length(12)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\n\r\n", Framing::Length(12)),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
            Framing::Length(9223372036854775807),
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX:\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", Framing::Length(1)),
    ];
    for (bytes, framing) in table {
        let found = head(bytes);
        assert_eq!(
            (found.framing, found.end, found.verbatim),
            (*framing, bytes.len(), true),
            "{}",
            bytes.escape_ascii()
        );
        let mut more = bytes.to_vec();
        more.extend_from_slice(b"\x00\r\n rest");
        assert_eq!(head(&more), found);
    }
}

#[test]
fn refusals() {
    let table: &[(u16, &str)] = &[
        // line ends
        (400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        (400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\rHost: a\r\n\r\n"),
        (400, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // request line
        (400, "GET /\r\n"),
        (400, "GET / \r\n\r\n"),
        (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET\r\n\r\n"),
        (400, "\u{16}\u{3}\u{1}"),
        (501, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"),
        (405, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // versions
        (400, "GET / HTTP/0.9\r\n\r\n"),
        (400, "GET / HTTP/1.11\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/11\r\nHost: a\r\n\r\n"),
        (400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1x\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTX/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1 and much more\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        // targets
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /\u{1}a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://a:b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
        // fields
        (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX(: z\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: z\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: 123456789\u{1}\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: 123456789\u{7f}\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        // Host
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: \"><\r\n\r\n"),
        (400, "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "GET http://a/ HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: -a\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n"),
        (400, "GET http://2130706433/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        // types
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nX: y\r\ncontent-type: a/b\r\n\r\n"),
        // lengths
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
        // … and at once, for nothing that may follow can mend it.
        (400, "POST / HTTP/1.1\r\nContent-Length: 1000000000000000000000\r\n"),
        (400, "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n"),
        (0, "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r"),
        // codings
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        // expectations
        (417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"),
        (417, "POST / HTTP/1.1\r\nHost: a\r\nExpect:\r\n\r\n"),
    ];
    for (expected, bytes) in table {
        assert_eq!(status(bytes.as_bytes()), *expected, "{bytes:?}");
    }
}

#[test]
fn sizes() {
    let line = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n - 16)).into_bytes();
    let field = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(n - 5)).into_bytes();
    let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n - 1)).into_bytes();
    let total = |n: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}X: {}\r\n\r\n",
            format!("X: {}\r\n", "x".repeat(1019)).repeat(63),
            "y".repeat(n - 27 - 63 * 1024 - 5)
        )
        .into_bytes()
    };
    let check = |bytes: &[u8]| match scan(bytes, &limits()) {
        Scan::Refused(reason) => reason.status,
        Scan::Head(_) => 200,
        Scan::Incomplete => 0,
    };
    assert_eq!(check(&line(8192)), 200);
    assert_eq!(check(&line(8193)), 414);
    assert_eq!(check(&field(8192)), 200);
    assert_eq!(check(&field(8193)), 431);
    assert_eq!(check(&fields(100)), 200);
    assert_eq!(check(&fields(101)), 431);
    assert_eq!(total(65536).len(), 65536);
    assert_eq!(check(&total(65536)), 200);
    assert_eq!(check(&total(65537)), 431);
    // Without an end they are refused as well, and not before.
    assert_eq!(check(&line(20_000)[..8191]), 0);
    assert_eq!(check(&line(20_000)[..8193]), 414);
    assert_eq!(check(&field(20_000)[..25 + 8192]), 0);
    assert_eq!(check(&field(20_000)[..25 + 8193]), 431);
    assert_eq!(check(&total(66_000)[..65535]), 0);
    assert_eq!(check(&total(66_000)[..65536]), 431);
}

#[test]
fn canonical() {
    type Case = (&'static [u8], &'static [u8], Option<&'static [u8]>);
    let table: &[Case] = &[
        (
            b"GET /a\"<>`\\{}|^\xff?\"{\xc3 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a%22%3C%3E%60%5C%7B%7D%7C%5E%FF?%22%7B%C3 HTTP/1.1\r\nHost: a\r\n\r\n",
            Some(b"/a\"<>`\\{}|^\xff?\"{\xc3"),
        ),
        (
            b"GET http://b:1/p?q HTTP/1.1\r\nA: 1\r\nHost: a\r\nB: 2\r\n\r\n",
            b"GET /p?q HTTP/1.1\r\nHost: b:1\r\nA: 1\r\nB: 2\r\n\r\n",
            None,
        ),
        (b"GET HTTPS://b HTTP/1.0\r\nA: 1\r\n\r\n", b"GET / HTTP/1.0\r\nHost: b\r\nA: 1\r\n\r\n", None),
        (b"GET http://b?{ HTTP/1.1\r\nHost:\r\n\r\n", b"GET /?%7B HTTP/1.1\r\nHost: b\r\n\r\n", Some(b"/?{")),
        (b"OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", None),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
    ];
    for (bytes, expected, raw) in table {
        let found = head(bytes);
        assert!(!found.verbatim);
        let mut canonical = BytesMut::new();
        let differs = found.put_canonical(bytes, &mut canonical);
        assert_eq!(canonical.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(differs.differs().map(|raw| &raw[..]), *raw);
        assert!(
            matches!(scan(&canonical, &limits()), Scan::Head(head) if head.verbatim && head.framing == found.framing)
        );
    }
    assert!(head(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").verbatim);
}

#[test]
fn a_slash_can_be_added() {
    let limits = Limits { add_slash: true, ..Limits::default() };
    let bytes = b"GET cgi-bin/x{ HTTP/1.0\r\n\r\n";
    let Scan::Head(head) = verdict(bytes, &limits) else { panic!("refused") };
    let mut canonical = BytesMut::new();
    let raw = head.put_canonical(bytes, &mut canonical);
    assert_eq!(&canonical[..], b"GET /cgi-bin/x%7B HTTP/1.0\r\n\r\n");
    assert_eq!(raw.differs().map(|raw| &raw[..]), Some(&b"/cgi-bin/x{"[..]));
}
