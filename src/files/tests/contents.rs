//! What is sent of a file.

use super::*;

#[tokio::test]
async fn a_file_is_served_with_its_fields() {
    let site = Site::new();
    site.write("a b.html", "<p>ä</p>");
    let answered = get(&site.tree(), "/a%20b.html").await.unwrap();
    assert_eq!((answered.status, answered.text()), (200, "<p>ä</p>"));
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "9"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answered.fields[name], value);
    }
    assert!(answered.field(LAST_MODIFIED).ends_with(" GMT"));
    assert!(answered.field(ETAG).ends_with('"'));
    let head = ask(&site.tree(), Method::HEAD, "/a%20b.html", &[]).await.unwrap();
    assert_eq!((head.field(CONTENT_LENGTH), head.body.len()), ("9", 0));
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let site = Site::new();
    site.write("a", "a");
    let tree = site.tree();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE, Method::PATCH] {
        let failure = found(&tree, method, "/a", &[]).await.err().unwrap();
        assert_eq!((failure.kind, failure.allow), (Kind::MethodNotAllowed, Some("GET, HEAD, OPTIONS")));
    }
    let answered = ask(&tree, Method::OPTIONS, "/a", &[]).await.unwrap();
    assert_eq!((answered.status, answered.field(ALLOW)), (204, "GET, HEAD, OPTIONS"));
}

/// The same questions to a file on the disk and to one in memory.
#[tokio::test]
async fn conditions_are_answered_alike_from_disk_and_from_memory() {
    let site = Site::new();
    site.write("a.txt", "0123456789");
    for budget in [0, 1 << 20] {
        let mut options = site.options();
        options.headers = vec![(http::header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"))];
        let tree = Tree::new(options, Arc::default(), Arc::new(Cache::new(budget)));
        if budget > 0 {
            remember(&tree, "/a.txt").await;
        } else {
            settle(&site.path("a.txt")).await;
        }
        let first = get(&tree, "/a.txt").await.unwrap();
        let (tag, date) = (first.field(ETAG).to_owned(), first.field(LAST_MODIFIED).to_owned());
        assert!(tag.starts_with('"'), "settled, so strong: {tag}");
        let weak = format!("W/{tag}");
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        type Row<'a> = (&'a [(HeaderName, &'a str)], Result<u16, Kind>);
        let table: &[Row<'_>] = &[
            (&[(IF_NONE_MATCH, &tag)], Ok(304)),
            (&[(IF_NONE_MATCH, &weak)], Ok(304)),
            (&[(IF_NONE_MATCH, "\"x\"")], Ok(200)),
            (&[(IF_MODIFIED_SINCE, &date)], Ok(304)),
            (&[(IF_MODIFIED_SINCE, old)], Ok(200)),
            (&[(IF_MATCH, &tag)], Ok(200)),
            (&[(IF_MATCH, &weak)], Err(Kind::PreconditionFailed)),
            (&[(http::header::IF_UNMODIFIED_SINCE, old)], Err(Kind::PreconditionFailed)),
            (&[(RANGE, "bytes=2-4")], Ok(206)),
            (&[(RANGE, "bytes=10-")], Err(Kind::RangeNotSatisfiable)),
            (&[(RANGE, "bytes=2-4"), (IF_RANGE, &tag)], Ok(206)),
            (&[(RANGE, "bytes=2-4"), (IF_RANGE, &date)], Ok(206)),
            (&[(RANGE, "bytes=2-4"), (IF_RANGE, "\"x\"")], Ok(200)),
            (&[(RANGE, "bytes=2-4"), (IF_RANGE, &weak)], Ok(200)),
            (&[(RANGE, "bytes=2-4"), (IF_NONE_MATCH, &tag)], Ok(304)),
            (&[(RANGE, "rubbish")], Ok(200)),
        ];
        for (fields, wanted) in table {
            let answered = ask(&tree, Method::GET, "/a.txt", fields).await;
            let status = answered.as_ref().map(|answered| answered.status).map_err(|kind| *kind);
            assert_eq!(status, *wanted, "{fields:?}");
            let Ok(answered) = answered else { continue };
            assert_eq!((answered.field(ETAG), answered.field(LAST_MODIFIED)), (&*tag, &*date));
            assert_eq!(answered.fields["cache-control"], "max-age=60");
            assert_eq!(answered.fields["x-content-type-options"], "nosniff");
            match answered.status {
                206 => {
                    assert_eq!((answered.field(CONTENT_RANGE), answered.text()), ("bytes 2-4/10", "234"));
                }
                304 => {
                    assert!(answered.body.is_empty());
                    assert!(
                        !answered.fields.contains_key(CONTENT_LENGTH) && !answered.fields.contains_key(CONTENT_TYPE)
                    );
                }
                _ => assert_eq!(answered.text(), "0123456789"),
            }
        }
        let head = ask(&tree, Method::HEAD, "/a.txt", &[(RANGE, "bytes=2-4")]).await.unwrap();
        assert_eq!((head.status, head.field(CONTENT_LENGTH)), (200, "10"));
        let missing = ask(&tree, Method::GET, "/missing", &[(IF_NONE_MATCH, "*")]).await;
        assert_eq!(missing.err(), Some(Kind::NotFound));
    }
}

#[tokio::test]
async fn several_ranges_arrive_as_parts() {
    let site = Site::new();
    let large: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    site.write("large.bin", &large);
    site.write("small.bin", &large[..5_000]);
    let remembered = site.tree();
    remember(&remembered, "/small.bin").await;
    for (tree, target, size) in [
        (&site.tree(), "/large.bin", 1_000_000),
        (&site.tree(), "/small.bin", 5_000),
        (&remembered, "/small.bin", 5_000),
    ] {
        let answered = ask(tree, Method::GET, target, &[(RANGE, "bytes=4000-4009,0-9,-5")]).await.unwrap();
        assert_eq!(answered.status, 206);
        assert!(!answered.fields.contains_key(CONTENT_RANGE));
        let kind = answered.field(CONTENT_TYPE).to_owned();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut wanted = Vec::new();
        for (start, end) in [(4_000, 4_010), (0, 10), (size - 5, size)] {
            wanted.extend_from_slice(
                format!(
                    "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{}/{size}\r\n\r\n",
                    end - 1
                )
                .as_bytes(),
            );
            wanted.extend_from_slice(&large[start..end]);
        }
        wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_eq!(answered.body, wanted, "{target}");
    }
    let tree = site.tree();
    let answered = ask(&tree, Method::GET, "/large.bin", &[(RANGE, "bytes=300000-899999")]).await.unwrap();
    assert_eq!(answered.body, &large[300_000..900_000]);
    assert_eq!(get(&tree, "/large.bin").await.unwrap().body, large);
}

#[tokio::test]
async fn a_file_that_becomes_shorter_breaks_the_answer_off() {
    let site = Site::new();
    let path = site.write("large", vec![7; 3 * buffers::BUFFER_SIZE]);
    let tree = site.tree();
    let Ok(Found::Response(response)) = found(&tree, Method::GET, "/large", &[]).await else { panic!() };
    assert_eq!(response.headers()[CONTENT_LENGTH], (3 * buffers::BUFFER_SIZE).to_string());
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.len(), buffers::BUFFER_SIZE);
    fs::File::options().write(true).open(&path).unwrap().set_len(buffers::BUFFER_SIZE as u64 + 10).unwrap();
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second.len(), 10);
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_sparse_terabyte_is_sent_by_the_buffer() {
    let site = Site::new();
    let terabyte = 1_u64 << 40;
    fs::File::create(site.path("sparse")).unwrap().set_len(terabyte).unwrap();
    let tree = site.tree();
    let Ok(Found::Response(response)) = found(&tree, Method::GET, "/sparse", &[]).await else { panic!() };
    assert_eq!(response.headers()[CONTENT_LENGTH], terabyte.to_string());
    let mut body = response.into_body();
    for _ in 0..50 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.len() <= buffers::BUFFER_SIZE && frame.iter().all(|&octet| octet == 0));
    }
    let end = ask(&tree, Method::GET, "/sparse", &[(RANGE, "bytes=-3")]).await.unwrap();
    assert_eq!(end.field(CONTENT_RANGE), format!("bytes {}-{}/{terabyte}", terabyte - 3, terabyte - 1));
}

#[tokio::test]
async fn twins_are_sent_to_those_who_can_read_them() {
    let site = Site::new();
    site.write("a.html", "original");
    site.write("a.html.br", "brotli");
    site.write("a.html.gz", "gzip");
    site.write("old.html.gz", "stale");
    let past = SystemTime::now() - std::time::Duration::from_secs(100);
    fs::File::options().write(true).open(site.path("old.html.gz")).unwrap().set_modified(past).unwrap();
    site.write("old.html", "fresh");
    let tree = tree_with(&site, |options| options.precompressed = true);
    for (target, accept, body, coding) in [
        ("/a.html", "gzip, br", "brotli", "br"),
        ("/a.html", "gzip, br;q=0.5", "gzip", "gzip"),
        ("/a.html", "zstd, gzip;q=0.1", "gzip", "gzip"),
        ("/a.html", "zstd", "original", ""),
        ("/a.html", "identity", "original", ""),
        ("/a.html", "br;q=0", "original", ""),
        ("/old.html", "gzip", "fresh", ""),
        ("/a.html.gz", "gzip", "gzip", ""),
    ] {
        let answered = ask(&tree, Method::GET, target, &[(ACCEPT_ENCODING, accept)]).await.unwrap();
        assert_eq!((answered.text(), answered.field(CONTENT_ENCODING)), (body, coding), "{target} {accept}");
        assert_eq!(answered.field(VARY), "accept-encoding");
        let kind = if target.ends_with(".gz") { "application/gzip" } else { "text/html; charset=utf-8" };
        assert_eq!(answered.field(CONTENT_TYPE), kind);
    }
    let plain = get(&tree, "/a.html").await.unwrap();
    let brotli = ask(&tree, Method::GET, "/a.html", &[(ACCEPT_ENCODING, "br")]).await.unwrap();
    assert_ne!(plain.field(ETAG), brotli.field(ETAG));
    assert_eq!(get(&site.tree(), "/a.html").await.unwrap().field(VARY), "");
}

#[tokio::test]
async fn the_operators_fields_win() {
    let site = Site::new();
    site.write("a.bin", "x");
    site.write("README", "x");
    let tree = tree_with(&site, |options| {
        options.headers = vec![
            (http::header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (CONTENT_TYPE, HeaderValue::from_static("text/x-mine")),
        ];
    });
    let answered = get(&tree, "/a.bin").await.unwrap();
    assert_eq!(
        (answered.field(CONTENT_TYPE), &answered.fields["cache-control"]),
        ("text/x-mine", &"no-store".parse().unwrap())
    );
    let plain = tree_with(&site, |options| options.default_type = Some(HeaderValue::from_static("text/plain")));
    assert_eq!(get(&plain, "/README").await.unwrap().field(CONTENT_TYPE), "text/plain");
}

#[tokio::test]
async fn text_is_compressed_where_it_pays() {
    let site = Site::new();
    let text = "All work and no play makes Jack a dull boy.\n".repeat(100);
    let large = text.repeat(400);
    site.write("a.txt", &text);
    site.write("large.txt", &large);
    site.write("tiny.txt", "tiny");
    site.write("a.bin", &text);
    let tree = tree_with(&site, |options| options.compress = true);
    settle(&site.path("a.bin")).await;
    // Twice: made, and from memory.
    for target in ["/a.txt", "/a.txt", "/large.txt"] {
        for (accept, coding) in [("gzip", "gzip"), ("br, gzip", "br"), ("zstd", ""), ("", "")] {
            let response = found(&tree, Method::GET, target, &[(ACCEPT_ENCODING, accept)]).await;
            let Ok(Found::Response(response)) = response else { panic!("{target}") };
            let (head, body) = response.into_parts();
            let sent = body.collect().await.unwrap().to_bytes();
            assert_eq!(head.headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap()), coding);
            assert_eq!(head.headers[VARY], "accept-encoding");
            let plain = decoded(&sent, coding).await;
            assert!(coding.is_empty() || sent.len() < plain.len() / 5);
            assert_eq!(plain, if target == "/a.txt" { text.as_bytes() } else { large.as_bytes() });
            let tag = head.headers[ETAG].to_str().unwrap();
            assert_eq!(tag.starts_with("W/"), !coding.is_empty());
            let again = ask(&tree, Method::GET, target, &[(ACCEPT_ENCODING, accept), (IF_NONE_MATCH, tag)]).await;
            assert_eq!(again.unwrap().status, 304);
        }
    }
    for (target, field) in [("/tiny.txt", "x"), ("/a.bin", "x"), ("/a.txt", "bytes=0-9")] {
        let fields = [(ACCEPT_ENCODING, "gzip, br"), (RANGE, field)];
        let answered = ask(&tree, Method::GET, target, &fields[..if field == "x" { 1 } else { 2 }]).await.unwrap();
        assert_eq!(answered.field(CONTENT_ENCODING), "", "{target} {field}");
    }
    let head = ask(&tree, Method::HEAD, "/large.txt", &[(ACCEPT_ENCODING, "gzip")]).await.unwrap();
    assert_eq!((head.field(CONTENT_ENCODING), head.field(CONTENT_LENGTH)), ("gzip", ""));
    fs::write(site.path("a.txt"), text.replace("Jack", "Jill")).unwrap();
    let fresh = ask(&tree, Method::GET, "/a.txt", &[(ACCEPT_ENCODING, "gzip")]).await.unwrap();
    assert!(decoded(&fresh.body, "gzip").await.starts_with(b"All work and no play makes Jill"));
}

async fn decoded(sent: &[u8], coding: &str) -> Vec<u8> {
    use async_compression::tokio::write::{BrotliDecoder, GzipDecoder};
    use tokio::io::AsyncWriteExt;
    match coding {
        "gzip" => {
            let mut decoder = GzipDecoder::new(Vec::new());
            decoder.write_all(sent).await.unwrap();
            decoder.shutdown().await.unwrap();
            decoder.into_inner()
        }
        "br" => {
            let mut decoder = BrotliDecoder::new(Vec::new());
            decoder.write_all(sent).await.unwrap();
            decoder.shutdown().await.unwrap();
            decoder.into_inner()
        }
        _ => sent.to_vec(),
    }
}
