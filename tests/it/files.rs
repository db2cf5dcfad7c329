//! The static side, as a client sees it; the tree itself has tests of its own beside its code.

use crate::server::{Server, serve, serve_with};
use crate::tree::Tree;

fn ask(server: &Server, method: &str, target: &str, fields: &str) -> crate::raw::Response {
    server.ask(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"))
}

#[test]
fn a_file_has_its_type_length_and_date() {
    let tree = Tree::new()
        .file("htdocs/index.html", "<p>index")
        .file("htdocs/a b.txt", "text")
        .file("htdocs/folder/index.html", "<p>folder")
        .file("htdocs/x.unknown", "?")
        .file("htdocs/empty.css", "");
    let server = serve(tree);
    for (target, kind, body) in [
        ("/", "text/html", "<p>index"),
        ("/index.html", "text/html", "<p>index"),
        ("/a%20b.txt", "text/plain", "text"),
        ("/folder/", "text/html", "<p>folder"),
        ("/x.unknown", "application/octet-stream", "?"),
        ("/empty.css", "text/css", ""),
    ] {
        let response = server.get(target).expect(200);
        assert!(response.field("content-type").unwrap().starts_with(kind), "{response:?}");
        assert_eq!(response.text(), body);
        assert_eq!(response.field("content-length").unwrap(), body.len().to_string());
        assert!(response.field("last-modified").unwrap().ends_with(" GMT"));
        assert!(response.field("etag").is_some());
        let mut client = server.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.response_to_head().expect(200);
        assert_eq!(head.field("content-length"), response.field("content-length"));
        assert_eq!(head.field("etag"), response.field("etag"));
    }
}

#[test]
fn conditions_in_their_order() {
    let server = serve(Tree::new().file("htdocs/x.txt", "text"));
    let first = server.get("/x.txt").expect(200);
    let (etag, date) = (first.field("etag").unwrap(), first.field("last-modified").unwrap());
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"x\", {etag}\r\n"), 304),
        (format!("If-None-Match: W/{}\r\n", etag.trim_start_matches("W/")), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Modified-Since: {old}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
        // If-None-Match goes before If-Modified-Since (RFC 9110 §13.2.2).
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200),
        (format!("If-None-Match: {etag}\r\nIf-Modified-Since: {old}\r\n"), 304),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Unmodified-Since: {old}\r\n"), 412),
    ] {
        let response = ask(&server, "GET", "/x.txt", &fields);
        assert_eq!(response.status(), status, "{fields}");
        if status == 304 {
            assert_eq!(response.field("etag").as_deref(), Some(etag.as_str()));
        }
    }
}

#[test]
fn ranges() {
    let server = serve(Tree::new().file("htdocs/x.txt", "0123456789"));
    for (range, part, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=0-99", "0123456789", "bytes 0-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ] {
        let response = ask(&server, "GET", "/x.txt", &format!("Range: {range}\r\n")).expect(206);
        assert_eq!((response.text().as_str(), response.field("content-range").as_deref()), (part, Some(content_range)));
    }
    for range in ["bytes=10-", "bytes=-0", "bytes=99-100"] {
        let response = ask(&server, "GET", "/x.txt", &format!("Range: {range}\r\n")).expect(416);
        assert_eq!(response.field("content-range").as_deref(), Some("bytes */10"), "{range}");
    }
    for range in ["bytes=4-2", "lines=1-2", "bytes=x", "bytes="] {
        assert_eq!(
            ask(&server, "GET", "/x.txt", &format!("Range: {range}\r\n")).expect(200).text(),
            "0123456789",
            "{range}"
        );
    }
    let several = ask(&server, "GET", "/x.txt", "Range: bytes=0-1,5-6\r\n");
    assert!(matches!(several.status(), 200 | 206), "{several:?}");
    // A file younger than the clock's grain could change again without a trace: its tag is weak and selects no range.
    let mut etag = String::new();
    crate::wait::until("the tag to be strong", || {
        etag = server.get("/x.txt").field("etag").unwrap();
        !etag.starts_with("W/")
    });
    assert_eq!(
        ask(&server, "GET", "/x.txt", &format!("Range: bytes=1-1\r\nIf-Range: {etag}\r\n")).expect(206).text(),
        "1"
    );
    assert_eq!(
        ask(&server, "GET", "/x.txt", "Range: bytes=1-1\r\nIf-Range: \"x\"\r\n").expect(200).text(),
        "0123456789"
    );
}

#[test]
fn a_file_is_no_folder() {
    let server = serve(Tree::new().file("htdocs/x.txt", "text").file("htdocs/empty/.keep", ""));
    for target in ["/x.txt/", "/x.txt/extra", "/none", "/none/", "/empty/x.txt"] {
        server.get(target).expect(404);
    }
}

#[test]
fn dot_files_are_hidden_but_for_well_known() {
    let tree = Tree::new()
        .file("htdocs/.env", "secret")
        .file("htdocs/.git/config", "secret")
        .file("htdocs/folder/.htpasswd", "secret")
        .file("htdocs/.well-known/security.txt", "contact");
    let server = serve(tree);
    for target in ["/.env", "/.git/config", "/.git/", "/.git", "/folder/.htpasswd", "/%2eenv", "/folder/../.env"] {
        assert!(!server.get(target).expect(404).text().contains("secret"), "{target}");
    }
    assert_eq!(server.get("/.well-known/security.txt").expect(200).text(), "contact");
}

#[test]
fn other_methods_are_405_with_allow() {
    let server = serve(Tree::new().file("htdocs/x.txt", "text"));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let response = ask(&server, method, "/x.txt", "Content-Length: 0\r\n").expect(405);
        let allow = response.field("allow").unwrap();
        assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
    }
}

#[test]
fn the_sites_own_page_for_404() {
    let server = serve(Tree::new().file("htdocs/not-found.html", "<p>our own page"));
    let response = server.get("/none").expect(404);
    assert_eq!(response.text(), "<p>our own page");
    assert!(response.field("content-type").unwrap().starts_with("text/html"));
    serve(Tree::new()).get("/none").expect_failure(404, "not-found");
}

#[test]
fn listings_are_pythons_and_only_where_wanted() {
    let tree = |tree: Tree| {
        tree.file("folder/b <i>.txt", "").file("folder/a.txt", "").file("folder/sub/x", "").file("folder/.hidden", "")
    };
    serve(tree(Tree::new()).file("htdocs/folder/a.txt", "")).get("/folder/").expect(404);
    let server = serve_with(tree(Tree::python()), &["--cgi", "-b", "127.0.0.1"]);
    let page = server.get("/folder/").expect(200).text();
    for part in [
        "<title>Directory listing for /folder/</title>",
        "<a href=\"a.txt\">a.txt</a>",
        "<a href=\"sub/\">sub/</a>",
        "<a href=\"b%20%3Ci%3E.txt\">b &lt;i&gt;.txt</a>",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(page.find("a.txt") < page.find("b%20"), "sorted");
    let server = serve(tree(Tree::python()).config("listing = \"python\""));
    assert!(server.get("/folder/").expect(200).text().contains("a.txt"));
}

#[test]
fn a_changed_file_is_seen_at_once() {
    let server = serve(Tree::new().file("htdocs/x.txt", "before"));
    assert_eq!(server.get("/x.txt").text(), "before");
    let etag = server.get("/x.txt").field("etag").unwrap();
    server.tree.put("htdocs/x.txt", "after!");
    assert_eq!(server.get("/x.txt").text(), "after!");
    assert_eq!(ask(&server, "GET", "/x.txt", &format!("If-None-Match: {etag}\r\n")).status(), 200);
    std::fs::remove_file(server.tree.path("htdocs/x.txt")).unwrap();
    server.get("/x.txt").expect(404);
}

#[test]
fn a_large_file_arrives_whole() {
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let server = serve(Tree::new().file("htdocs/large.bin", &content));
    assert!(server.get("/large.bin").expect(200).body == content);
    let part = ask(&server, "GET", "/large.bin", "Range: bytes=1000000-2999999\r\n").expect(206);
    assert!(part.body == content[1_000_000..]);
}
