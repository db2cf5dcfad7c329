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
fn websockets_have_rows_that_end_them() {
    let echo = "#!/bin/sh\nwhile read -r line; do echo \"$line\"; done\n";
    // A room says to nobody what it hears.
    let room = "#!/bin/sh\nwhile read -r line; do :; done\n";
    let server = serve(Tree::new().config("status = true").script("ws-echo", echo).script("hub-room", room));
    for name in ["ws-echo", "hub-room"] {
        let mut client = server.connect();
        client.send(format!(
            "GET /cgi-bin/{name} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        client.wait_for("101 ");
        let row = || {
            let page = server.get("/status").expect(200).text();
            let row =
                page.split("<tr>").find(|row| row.contains(&format!("/cgi-bin/{name}<")) && row.contains("talking"));
            row.map(str::to_owned)
        };
        until("the conversation has a row", || row().is_some());
        if name == "ws-echo" {
            let pid = |row: String| {
                row.split("<td class=\"n\">").nth(1).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            until("its process is known", || row().is_some_and(pid));
        }
        let row = row().expect("it has");
        let action = row.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
        let action = action.replace("&amp;", "&");
        let end =
            format!("POST {action} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        server.ask(end).expect(303);
        // A close frame (RFC 6455 §5.5.1), code 1001, and the end.
        let last = client.rest();
        assert!(last.windows(4).any(|w| w[0] == 0x88 && w[2..] == [0x03, 0xe9]), "{name}: {last:?}");
        until("the row is gone", || server.get("/status").text().contains("Nothing at the moment"));
    }
    let page = server.get("/status").text();
    let history = page.split("<tr>").find(|row| row.contains("/cgi-bin/ws-echo")).expect("what it was is remembered");
    assert!(history.contains("<td class=\"n\">0</td>"), "it did not fail: {history}");
}

/// A hub has one process for all its visitors: a row of its own, and a history.
#[test]
fn the_process_of_a_hub_has_a_row() {
    let room = "#!/bin/sh\nwhile read -r line; do :; done\n";
    let server = serve(Tree::new().config("status = true").script("hub-room", room));
    let mut visitors: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut visitors {
        client.send(
            "GET /cgi-bin/hub-room HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        client.wait_for("101 ");
    }
    let rows = || {
        let page = server.get("/status").expect(200).text();
        let rows = page.split("<tr>").filter(|row| row.contains("/cgi-bin/hub-room<") && row.contains("talking"));
        let has_pid = |row: &str| {
            row.split("<td class=\"n\">").nth(1).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let (processes, others): (Vec<_>, Vec<_>) = rows.map(str::to_owned).partition(|row| has_pid(row));
        (processes, others.len())
    };
    until("a row for the process and one for each visitor", || {
        let (processes, visitors) = rows();
        (processes.len(), visitors) == (1, 2)
    });
    let (processes, _) = rows();
    assert!(processes[0].contains("<td>everybody</td>"), "{processes:?}");
    let action = processes[0].split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let end = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        action.replace("&amp;", "&")
    );
    server.ask(end).expect(303);
    for mut client in visitors {
        let last = client.rest();
        assert!(last.windows(4).any(|w| w[0] == 0x88 && w[2..] == [0x03, 0xf3]), "1011, and the end: {last:?}");
    }
    until("the rows are gone", || server.get("/status").text().contains("Nothing at the moment"));
    let page = server.get("/status").text();
    let history = page.split("<tr>").find(|row| row.contains("/cgi-bin/hub-room")).expect("it is remembered");
    assert!(history.contains("<td class=\"n\">1</td><td class=\"n\">0</td>"), "once, and well: {history}");
}

/// What lets a script run on the page must not be guessed from one page for the next.
#[test]
fn the_nonce_of_the_page_is_random() {
    let server = serve(Tree::new().config("status = true"));
    let nonce = || {
        let answer = server.get("/status").expect(200);
        let policy = answer.field("content-security-policy").expect("a policy");
        let nonce =
            policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce").to_owned();
        assert!(answer.text().contains(&format!("nonce=\"{nonce}\"")));
        assert!(nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_hexdigit()), "{nonce}");
        nonce
    };
    let (first, second) = (nonce(), nonce());
    let same = first.bytes().zip(second.bytes()).filter(|(a, b)| a == b).count();
    // Two of each 32 are the same by chance; 16 once in ten million million.
    assert!(same < 16, "{first} {second}");
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

/// A script can end with status 0 and still have failed its client.
#[test]
fn what_was_no_answer_is_an_error_of_the_script() {
    let server = serve(
        Tree::new()
            .config("status = true")
            .script("mute", "#!/bin/sh\n")
            .script("rude", "#!/bin/sh\necho Hello, world!\n")
            .script("fine", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfine\\n'\n"),
    );
    for (name, status, errors) in [("mute", 502, 1), ("rude", 502, 1), ("fine", 200, 0)] {
        server.get(&format!("/cgi-bin/{name}")).expect(status);
        let class = if errors > 0 { "n bad" } else { "n" };
        let counted = format!("<td class=\"n\">1</td><td class=\"{class}\">{errors}</td>");
        let row = || {
            let page = server.get("/status").text();
            page.split("<tr>").any(|row| row.contains(&format!("/cgi-bin/{name}<")) && row.contains(&counted))
        };
        until(&format!("{name} to be counted once, with {errors} errors"), row);
    }
}
