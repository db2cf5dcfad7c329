//! SIGHUP.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::server::serve;
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;
use crate::wait::until;

/// Writes another configuration, as `Tree::config` would have.
fn rewrite(tree: &Tree, text: &str) {
    let state = tree.path("state");
    tree.put("cgiserve.toml", format!("state-directory = \"{}\"\n{text}", state.display()));
}

#[test]
fn a_new_configuration_is_taken_and_a_broken_one_is_not() {
    let server = serve(Tree::new().file("htdocs/a", "a").config("cache-control = \"one\""));
    let mut client = server.connect();
    let cache = |client: &mut crate::raw::Client| client.get("/a").expect(200).head.get("cache-control");
    assert_eq!(cache(&mut client).as_deref(), Some("one"));

    rewrite(&server.tree, "cache-control = \"two\"\nbind = [\"127.0.0.2\"]\n[limits]\nspawners = 3");
    server.signal(Signal::HUP);
    server.wait_for_log(|line| line.contains("configuration reloaded"));
    assert_eq!(cache(&mut client).as_deref(), Some("two"), "on the connection that was there");
    assert_eq!(server.get("/a").expect(200).head.get("cache-control").as_deref(), Some("two"));
    server.wait_for_log(|line| line.contains("limits.spawners: a change needs a restart"));

    rewrite(&server.tree, "cache-controll = \"three\"\nport = \"x\"");
    server.signal(Signal::HUP);
    for key in ["cache-controll", "port"] {
        server.wait_for_log(|line| line.contains("the old one stays") && line.contains(&format!(" {key}: ")));
    }
    assert_eq!(cache(&mut client).as_deref(), Some("two"));
}

#[test]
fn who_runs_scripts_stays_the_same() {
    let id = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u\n";
    let server = serve(Tree::new().script("id", id));
    let before = server.get("/cgi-bin/id").expect(200).body;
    assert_ne!(before, b"0\n", "never root");
    server.signal(Signal::HUP);
    server.wait_for_log(|line| line.contains("configuration reloaded"));
    assert_eq!(server.get("/cgi-bin/id").expect(200).body, before);
}

#[test]
fn scripts_that_run_count_after_a_reload_too() {
    let slow =
        "#!/bin/sh\necho $$ > @NOTES@/running\nread line < @NOTES@/gate\nprintf 'Content-Type: text/plain\\n\\ndone'\n";
    let limits = "[limits]\nmax-running = 1\nqueue = 0";
    let server = serve(Tree::new().script("slow", slow).script("env", ENVIRONMENT).config(limits));
    let mut gate = server.tree.gate("gate");
    let mut client = server.connect();
    client.send("GET /cgi-bin/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    server.tree.note("running");
    server.signal(Signal::HUP);
    server.wait_for_log(|line| line.contains("configuration reloaded"));
    server.get("/cgi-bin/env").expect(503);
    // The same where the number changes: one of the two places is taken.
    rewrite(&server.tree, "[limits]\nmax-running = 2\nqueue = 1");
    server.signal(Signal::HUP);
    until("a second reload", || server.log().matches("configuration reloaded").count() == 2);
    server.get("/cgi-bin/env").expect(200);
    gate.open();
    assert_eq!(client.response().expect(200).body, b"done");
    server.get("/cgi-bin/env").expect(200);
}

#[test]
fn a_renamed_log_loses_no_line() {
    let tree = Tree::new().file("htdocs/a", "a").config("[log]\nfile = \"logs/log\"\naccess = \"common\"");
    tree.folder("logs");
    std::fs::set_permissions(tree.path("logs"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let server = serve(tree);
    let (asked, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (log, old) = (server.tree.path("logs/log"), server.tree.path("logs/log.1"));
    let lines = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"GET /a?")).count()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            while !over.load(Ordering::Relaxed) {
                let n = asked.fetch_add(1, Ordering::Relaxed);
                client.get(&format!("/a?{n}")).expect(200);
            }
        });
        until("lines in the log", || lines(&log) > 10);
        std::fs::rename(&log, &old).unwrap();
        server.signal(Signal::HUP);
        until("lines in the new log", || lines(&log) > 10);
        over.store(true, Ordering::Relaxed);
    });
    let asked = asked.load(Ordering::Relaxed);
    until("every line", || lines(&old) + lines(&log) == asked);
}
