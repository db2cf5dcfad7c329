//! Octets on their way: at once, and never more of them than there is room for. And what comes too late.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::raw::End;
use crate::server::serve;
use crate::tree::Tree;
use crate::wait::{PATIENCE, alive, until_gone};

/// Waits until `value` has stopped growing for half a second, and returns it. `most` is more than may ever be.
#[track_caller]
fn stalled(what: &str, most: u64, mut value: impl FnMut() -> u64) -> u64 {
    let end = Instant::now() + PATIENCE;
    let (mut last, mut since) = (value(), Instant::now());
    loop {
        let now = value();
        assert!(now <= most, "{what}: {now} is more than {most}");
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if now > 0 && since.elapsed() > Duration::from_millis(500) {
            return now;
        }
        assert!(Instant::now() < end, "{what} never stopped");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_first_octet_arrives_before_the_script_ends() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfirst'\nread go < @NOTES@/go\necho last\n";
    let server = serve(Tree::new().script("x", script));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.wait_for("first");
    gate.open();
    assert_eq!(client.response().expect(200).text(), "firstlast\n");
}

#[test]
fn the_head_arrives_before_the_first_octet_of_the_body() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/event-stream\\n\\n'\nread go < @NOTES@/go\n";
    let server = serve(Tree::new().script("x", script));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.wait_for("text/event-stream");
    gate.open();
    client.response().expect(200);
}

#[test]
fn every_write_is_forwarded_at_once() {
    let script = "#!/bin/sh
printf 'Content-Type: text/plain\\n\\nready\\n'
while read n < @NOTES@/go; do echo \"[$n]\"; done
";
    let server = serve(Tree::new().script("answers_each", script));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/answers_each HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.wait_for("ready");
    let mut times: Vec<Duration> = (0..21)
        .map(|n| {
            let begun = Instant::now();
            gate.say(&n.to_string());
            client.wait_for(&format!("[{n}]"));
            begun.elapsed()
        })
        .collect();
    times.sort();
    // The middle one: a busy machine delays some, a buffer or a timer would delay all.
    assert!(times[10] < Duration::from_millis(50), "{times:?}");
}

#[test]
fn a_client_that_does_not_read_stops_the_script_and_not_the_servers_memory() {
    let script = "#!/bin/sh
printf 'Content-Type: application/octet-stream\\n\\n'
n=0
while head -c 1048576 /dev/zero; do n=$((n+1)); echo $n > @NOTES@/megabytes; done
";
    let server = serve(Tree::new().script("endless", script));
    let before = server.resident();
    let mut client = server.connect();
    client.send("GET /cgi-bin/endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head();
    let written = || {
        let note = std::fs::read_to_string(server.tree.path("notes/megabytes")).unwrap_or_default();
        note.trim().parse().unwrap_or(0)
    };
    // The sockets of the two ends hold some megabytes.
    stalled("the script", 64, written);
    let after = server.resident();
    assert!(after < before + 16 * 1024, "{before} KiB have become {after} KiB");
}

#[test]
fn a_script_that_does_not_read_stops_the_client_and_not_the_servers_memory() {
    let script = "#!/bin/sh\nread go < @NOTES@/go\nprintf 'Content-Type: text/plain\\n\\n'\nwc -c\n";
    let server = serve(Tree::new().script("reads_late", script));
    let mut gate = server.tree.gate("go");
    let before = server.resident();
    let mut client = server.connect();
    let length = 200 << 20;
    let sent = AtomicU64::new(0);
    let mut stream = client.stream.try_clone().unwrap();
    let response = std::thread::scope(|scope| {
        scope.spawn(|| {
            let head =
                format!("POST /cgi-bin/reads_late HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..200 {
                stream.write_all(&piece).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        stalled("the client", 100, || sent.load(Ordering::Relaxed));
        let after = server.resident();
        assert!(after < before + 16 * 1024, "{before} KiB have become {after} KiB");
        gate.open();
        client.response().expect(200)
    });
    assert_eq!(response.text().trim(), length.to_string());
}

#[test]
fn a_large_answer_arrives_octet_by_octet_as_written() {
    let script = "#!/bin/sh\nprintf 'Content-Type: application/octet-stream\\n\\n'\ni=0\nwhile [ $i -lt 300000 ]; do echo $i; i=$((i+1)); done\n";
    let server = serve(Tree::new().script("counts", script));
    let wanted: String = (0..300_000).map(|n| format!("{n}\n")).collect();
    assert!(server.get("/cgi-bin/counts").expect(200).text() == wanted);
}

#[test]
fn no_header_in_time_is_504_and_ends_the_script() {
    let script = "#!/bin/sh\necho $$ > @NOTES@/pid\nexec sleep 600\n";
    let half = "#!/bin/sh\nprintf 'Content-Type: text/plain\\nX: '\nexec sleep 600\n";
    let config = "[scripts]\nfirst-byte-timeout = \"300ms\"";
    let server = serve(Tree::new().script("silent", script).script("half_a_head", half).config(config));
    server.get("/cgi-bin/silent").expect_failure(504, "script-timeout");
    server.wait_for_log(|line| line.contains("/cgi-bin/silent") && line.contains("first-byte-timeout"));
    until_gone(server.tree.note("pid").parse().unwrap());
    server.get("/cgi-bin/half_a_head").expect_failure(504, "script-timeout");
}

#[test]
fn a_script_that_falls_silent_is_broken_off() {
    let script = "#!/bin/sh\necho $$ > @NOTES@/pid\nprintf 'Content-Type: text/plain\\n\\nbeginning'\nexec sleep 600\n";
    let server = serve(Tree::new().script("falls_silent", script).config("[scripts]\nidle-timeout = \"300ms\""));
    let response = server.get("/cgi-bin/falls_silent");
    assert_eq!((response.end, response.text().as_str()), (End::Aborted, "beginning"));
    server.wait_for_log(|line| line.contains("idle-timeout"));
    until_gone(server.tree.note("pid").parse().unwrap());
}

#[test]
fn a_script_that_never_ends_is_broken_off() {
    let script = "#!/bin/sh\necho $$ > @NOTES@/pid\nprintf 'Content-Type: text/plain\\n\\n'\nwhile :; do echo more; sleep 0.05; done\n";
    let server = serve(Tree::new().script("never_ends", script).config("[scripts]\ntimeout = \"500ms\""));
    let response = server.get("/cgi-bin/never_ends");
    assert_eq!(response.end, End::Aborted);
    assert!(response.text().starts_with("more\n"));
    server.wait_for_log(|line| line.contains("(timeout)"));
    until_gone(server.tree.note("pid").parse().unwrap());
}

#[test]
fn a_slow_client_is_no_idle_script() {
    let script = "#!/bin/sh\necho $$ > @NOTES@/pid\nprintf 'Content-Type: text/plain\\n\\n'\nhead -c 20000000 /dev/zero\necho end\n";
    let server = serve(Tree::new().script("much", script).config("[scripts]\nidle-timeout = \"300ms\""));
    let mut client = server.connect();
    client.send("GET /cgi-bin/much HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let pid = server.tree.note("pid").parse().unwrap();
    // Longer than the script may be idle; it is not, it waits for the client.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        assert!(alive(pid), "{}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(client.response().expect(200).text().ends_with("end\n"));
}

#[test]
fn zero_means_no_limit() {
    let script = "#!/bin/sh\nread go < @NOTES@/go\nprintf 'Content-Type: text/plain\\n\\nok'\n";
    let config = "[scripts]\nfirst-byte-timeout = 0\nidle-timeout = 0\ntimeout = 0";
    let server = serve(Tree::new().script("x", script).config(config));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    gate.open();
    assert_eq!(client.response().expect(200).text(), "ok");
}
