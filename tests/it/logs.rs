//! One line per request, in the format asked for, of what was answered.

use crate::server::{Server, serve, serve_with};
use crate::tree::Tree;

fn server(format: &str) -> Server {
    let tree = Tree::new()
        .file("htdocs/x.txt", "text")
        .script("nothing", "#!/bin/sh\nprintf 'Status: 204\\n\\n'\n")
        .script("same", "#!/bin/sh\nprintf 'Status: 304\\n\\n'\n")
        .script(
            "much",
            "#!/bin/sh\nprintf 'Content-Type: text/plain\\nContent-Length: 100\\n\\n'\nhead -c 100 /dev/zero\n",
        );
    serve_with(tree, &["-b", "127.0.0.1", "--log", format])
}

#[test]
fn pythons_lines() {
    let server = server("python");
    server.get("/x.txt?a=b").expect(200);
    let line = server.wait_for_log(|line| line.contains("GET /x.txt"));
    let (before, after) = line.split_once('[').unwrap();
    assert_eq!(before, "127.0.0.1 - - ");
    let (stamp, rest) = after.split_once("] ").unwrap();
    // 21/Nov/2026 07:08:52
    assert_eq!((stamp.len(), stamp.as_bytes()[2], stamp.as_bytes()[11]), (20, b'/', b' '), "{stamp}");
    assert_eq!(rest, "\"GET /x.txt?a=b HTTP/1.1\" 200 -");
    server.get("/none").expect(404);
    let line = server.wait_for_log(|line| line.contains("code 404"));
    assert!(line.ends_with("] code 404, message File not found"), "{line}");
    server.wait_for_log(|line| line.ends_with("\"GET /none HTTP/1.1\" 404 -"));
}

#[test]
fn common_and_combined_lines() {
    let common = server("common");
    common.get("/x.txt").expect(200);
    let line = common.wait_for_log(|line| line.contains("GET /x.txt"));
    assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with("] \"GET /x.txt HTTP/1.1\" 200 4"), "{line}");
    let server = server("combined");
    server.ask("GET /x.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nReferer: http://r/\"\r\nUser-Agent: a\\b\r\n\r\n").expect(200);
    let line = server.wait_for_log(|line| line.contains("GET /x.txt"));
    assert!(line.ends_with("\"GET /x.txt HTTP/1.1\" 200 4 \"http://r/\\\"\" \"a\\\\b\""), "{line}");
}

#[test]
fn json_lines() {
    let server = server("json");
    server.get("/none").expect(404);
    let line = server.wait_for_log(|line| line.contains("GET /none"));
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["client"], "127.0.0.1");
    assert_eq!(record["request"], "GET /none HTTP/1.1");
    assert_eq!(record["status"], 404);
    assert_eq!(record["failure"], "not-found");
    assert!(record["ms"].as_f64().unwrap() >= 0.0);
}

#[test]
fn nothing_where_nothing_is_wanted() {
    let server = server("off");
    server.get("/x.txt").expect(200);
    let mut server = server;
    server.signal(rustix::process::Signal::TERM);
    assert!(!server.ended().2.contains("/x.txt"));
}

#[test]
fn what_was_answered_is_what_is_logged() {
    let server = server("common");
    let mut client = server.connect();
    for (method, target, status, octets) in [
        ("HEAD", "/x.txt", 200, 0),
        ("HEAD", "/cgi-bin/much", 200, 0),
        ("GET", "/cgi-bin/nothing", 204, 0),
        ("GET", "/cgi-bin/same", 304, 0),
        ("GET", "/cgi-bin/much", 200, 100),
        ("HEAD", "/none", 404, 0),
        ("OPTIONS", "/ajax/time", 204, 0),
        ("HEAD", "/ajax/time", 200, 0),
    ] {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let response = if method == "HEAD" { client.response_to_head() } else { client.response() };
        assert_eq!(response.status(), status, "{method} {target}");
        server.wait_for_log(|line| line.ends_with(&format!("\"{method} {target} HTTP/1.1\" {status} {octets}")));
    }
    let etag = server.get("/x.txt").field("etag").unwrap();
    client.send(format!("GET /x.txt?304 HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\n\r\n"));
    client.response().expect(304);
    server.wait_for_log(|line| line.ends_with("\"GET /x.txt?304 HTTP/1.1\" 304 0"));
    assert!(!server.log().contains("499"), "{}", server.log());
}

#[test]
fn lines_of_a_client_cannot_forge_lines_of_the_log() {
    let server = server("combined");
    server.ask(b"GET /x.txt?\"%0a\x80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: \x80\xff\t\"\r\n\r\n").expect(200);
    let line = server.wait_for_log(|line| line.contains("GET /x.txt"));
    assert!(line.contains("\"GET /x.txt?\\\"%0a\\x80 HTTP/1.1\" 200 4 \"-\" \"\\x80\\xff\\x09\\\"\""), "{line}");
}

#[test]
fn a_log_file_is_opened_anew_on_hangup() {
    let tree = Tree::new().file("htdocs/x.txt", "text").config("[log]\nfile = \"notes/log\"");
    let server = serve(tree);
    let (log, old) = (server.tree.path("notes/log"), server.tree.path("notes/log.1"));
    let lines = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().matches("/x.txt").count();
    server.get("/x.txt").expect(200);
    crate::wait::until("the first line", || lines(&log) == 1);
    std::fs::rename(&log, &old).unwrap();
    server.signal(rustix::process::Signal::HUP);
    crate::wait::until("a new file", || log.exists());
    server.get("/x.txt").expect(200);
    crate::wait::until("the second line", || lines(&log) == 1);
    assert_eq!(lines(&old), 1);
}

#[test]
fn a_full_disk_loses_lines_and_no_request() {
    let config = "status = true\n[log]\nfile = \"/dev/full\"\naccess = \"common\"";
    let mut server = serve(Tree::new().file("htdocs/x.txt", "text").config(config));
    let lost = || {
        let metrics = server.get("/metrics").expect(200).text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("cgiserve_log_lines_lost "));
        line.unwrap_or_else(|| panic!("no counter in {metrics}")).parse::<u64>().unwrap()
    };
    let mut client = server.connect();
    for _ in 0..10 {
        client.get("/x.txt").expect(200);
    }
    crate::wait::until("the lines to be counted", || lost() >= 10);
    client.get("/x.txt").expect(200);
    server.signal(rustix::process::Signal::TERM);
    let (code, _, said) = server.ended();
    assert_eq!(code, Some(0));
    // Once, not once a line: standard error may be on the same disk.
    assert_eq!(said.matches("No space left on device").count(), 1, "{said}");
}
