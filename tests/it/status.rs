//! The live view, the metrics and the health check.

use crate::server::{serve, serve_with};
use crate::tree::Tree;
use crate::wait::until;

const SLEEPS: &str =
    "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nworking\\n'\necho 'last words' >&2\nexec sleep 60\n";

#[test]
fn the_live_view_shows_and_ends_what_runs() {
    let server = serve(Tree::new().config("status = true").script("sleeps", SLEEPS));
    let mut client = server.connect();
    client.send("GET /cgi-bin/sleeps HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.wait_for("working");
    let page = server.get("/status").expect(200).text();
    assert!(page.contains("/cgi-bin/sleeps") && page.contains("answering") && page.contains("<svg"), "{page}");
    let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let action = action.replace("&amp;", "&");
    let post = |fields: &str| {
        server.ask(format!(
            "POST {action} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n{fields}\r\n"
        ))
    };
    post("Origin: http://evil.example\r\n").expect(403);
    post("Sec-Fetch-Site: cross-site\r\n").expect(403);
    server.get(&action).expect(405);
    post("Origin: http://localhost\r\n").expect(303);
    client.rest();
    until("the entry is gone", || server.get("/status").text().contains("Nothing at the moment"));
    let page = server.get("/status").text();
    assert!(page.contains("last words") && page.contains("p95"), "{page}");
    let metrics = server.get("/metrics").expect(200).text();
    for line in [
        "cgiserve_script_kills_total{reason=\"operator\"} 1",
        "cgiserve_script_exits_total{how=\"signal\"} 1",
        "cgiserve_script_spawn_seconds_count 1",
        "cgiserve_scripts_running 0",
        "cgiserve_websocket_clients 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn events_carry_the_tables() {
    let server = serve(Tree::new().config("status = true"));
    let mut client = server.connect();
    client.send("GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.wait_for("text/event-stream");
    client.wait_for("data: <div class=\"tiles\">");
}

#[test]
fn nobody_else_sees_it() {
    let off = serve(Tree::new());
    for path in ["/status", "/metrics", "/healthz", "/status/events"] {
        off.get(path).expect(404);
    }
    let local = serve(Tree::new().config("status = true"));
    local.get("/healthz").expect(200);
    local
        .ask("GET /status HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n")
        .expect(404);
    local.ask("GET /metrics HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n").expect(404);
    let token = serve(Tree::new().config("status = \"0123456789abcdef01234567\""));
    token.get("/status").expect(404);
    token.get("/status?token=0123456789abcdef0123456x").expect(404);
    token.get("/status?token=0123456789abcdef01234567").expect(200);
    let with = "GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer 0123456789abcdef01234567\r\nConnection: close\r\n\r\n";
    token.ask(with).expect(200);
    let python = serve_with(Tree::python(), &["--cgi", "-b", "127.0.0.1"]);
    python.get("/status").expect(404);
}
