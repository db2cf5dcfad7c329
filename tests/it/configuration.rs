//! `cgiserve.toml`: what is wrong with it is said, all at once, before anything is served.

use crate::server::{command, launch, run, serve};
use crate::tree::Tree;

/// What the server says to this file; it must end with 2 and serve nothing.
#[track_caller]
fn complaints(toml: &str) -> String {
    let tree = Tree::new().config(toml);
    tree.settle();
    let ended = run(command(&tree).arg("0"));
    assert_eq!(ended.code, Some(2), "{toml}: {ended:?}");
    assert!(ended.out.is_empty(), "it began to serve");
    ended.err
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_a_hint() {
    let said = complaints("\nlistning = \"python\"");
    // The harness writes the first line.
    for part in ["cgiserve.toml:3: listning: unknown key", "did you mean \"listing\"?"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let said = complaints("[[route]]\npath = \"/x/\"\nscripts = \"cgi-bin\"\ntimeuot = 5");
    assert!(said.contains("route[1].timeuot") && said.contains("did you mean \"timeout\"?"), "{said}");
    let said = complaints("[limits]\nfrobnicate = 1");
    assert!(said.contains("limits.frobnicate") && said.contains("known here:"), "{said}");
}

#[test]
fn every_problem_is_told_at_once() {
    let said = complaints(
        "prot = 1\nlisting = \"pyton\"\n[scripts]\ntimeout = \"soon\"\nmax-body = true\n[[route]]\npath = \"/x\"\n[[route]]\nscripts = \"x\"\n",
    );
    for part in ["prot", "listing", "scripts.timeout", "scripts.max-body"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let said =
        complaints("[[route]]\npath = \"/x/\"\n[[route]]\nscripts = \"x\"\n[[route]]\npath = \"y\"\nscripts = \"x\"\n");
    for part in ["says not exactly one thing", "route.path: is missing", "\"y\" is not a path"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn what_is_not_toml_is_said_with_its_line() {
    let said = complaints("a = \"b");
    assert!(said.contains("cgiserve.toml:2"), "{said}");
    complaints("[[route]\n");
    complaints("a = 1\na = 2");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (toml, key) in [
        ("port = \"80\"", "port"),
        ("bind = \"no such address\"", "bind"),
        ("[scripts]\nisindex = \"yes\"", "isindex"),
        ("[scripts]\ninterpreter = { \".x\" = \"no-such-program\" }", "interpreter"),
        ("[scripts]\nenv = { \"A=B\" = \"c\" }", "env"),
        ("[scripts]\nsandbox = \"iron\"", "sandbox"),
        ("[scripts]\nencoded-slash = \"maybe\"", "encoded-slash"),
        ("[[route]]\npath = \"/x\"\nredirect = \"/y\"\nstatus = 200", "status"),
        ("[[route]]\npath = \"/x/\"\nscripts = \"a\"\nfiles = \"b\"", "route"),
        ("[[route]]\npath = \"/x*y/\"\nscripts = \"a\"", "route.path"),
        ("[[route]]\npath = \"/x/\"\nscripts = \"a\"\nauth = { realm = \"x\" }", "auth"),
        ("headers = { \"X Y\" = \"z\" }", "X Y"),
        ("error-pages = { \"200\" = \"x.html\" }", "error-pages"),
        ("error-pages = { \"404\" = \"../x.html\" }", "error-pages"),
        ("route = 1", "route"),
        ("[log]\naccess = \"loud\"", "access"),
    ] {
        let said = complaints(toml);
        assert!(said.contains(key), "{toml}: no {key:?} in {said}");
    }
    if !rustix::process::geteuid().is_root() {
        assert!(complaints("[scripts]\nuser = \"nobody\"").contains("only a server started as root"));
    }
}

#[test]
fn failures_may_have_pages_of_the_sites_own() {
    let pages = "error-pages = { \"404\" = \"sorry.html\", \"405\" = \"/deep/no.txt\", \"502\" = \"gone.html\", \"504\" = \"deep\" }";
    let tree = Tree::new()
        .file("htdocs/sorry.html", "<p>Sorry.</p>")
        .file("htdocs/deep/no.txt", "No.")
        .script("fails", "#!/bin/sh\nexit 3\n")
        .script("late", "#!/bin/sh\nexec sleep 60\n")
        .config(&format!("{pages}\n[scripts]\nfirst-byte-timeout = \"50ms\""));
    let server = serve(tree);
    let close = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    for (path, fields) in [("/none", ""), ("/cgi-bin/none", ""), ("/none", "If-None-Match: *\r\nRange: bytes=0-1\r\n")]
    {
        let answer = server.ask(format!("GET {path} {close}{fields}\r\n")).expect(404);
        assert_eq!(answer.text(), "<p>Sorry.</p>", "{path}");
        assert_eq!(answer.field("content-type").as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!((answer.field("etag"), answer.field("last-modified")), (None, None), "{path}");
    }
    let answer = server.ask(format!("PUT /sorry.html {close}Content-Length: 0\r\n\r\n")).expect(405);
    assert_eq!(answer.text(), "No.");
    assert!(answer.field("allow").is_some() && answer.field("content-type").unwrap().starts_with("text/plain"));
    // Programs are told in their own language, and where there is no such page the server's own stands in.
    let answer = server.ask(format!("GET /none {close}Accept: application/json\r\n\r\n")).expect(404);
    assert!(answer.text().contains("\"slug\":\"not-found\""));
    server.get("/cgi-bin/fails").expect_failure(502, "empty-answer");
    server.get("/cgi-bin/late").expect_failure(504, "script-timeout");
    server.tree.put("htdocs/gone.html", "Back.");
    assert_eq!(server.get("/cgi-bin/fails").expect(502).text(), "Back.");
}

#[test]
fn a_missing_file_or_folder_ends_with_2() {
    for flags in [&["--config", "/no/such/file.toml"][..], &["-d", "/no/such/folder"], &["-d", "/dev/null"]] {
        let ended = run(std::process::Command::new(env!("CARGO_BIN_EXE_cgiserve")).args(flags).arg("0"));
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:?}");
        assert!(ended.err.contains(flags[1]), "{flags:?}: {ended:?}");
    }
}

#[test]
fn flags_override_the_file() {
    let tree = Tree::new().config("port = 1\nbind = \"192.0.2.1\"\n[log]\naccess = \"json\"");
    tree.settle();
    let mut command = command(&tree);
    command.args(["-b", "127.0.0.1", "--log", "common", "0"]);
    let server = launch(command, tree);
    server.get("/x").expect(404);
    server.wait_for_log(|line| line.contains("\"GET /x HTTP/1.1\" 404 ") && !line.starts_with('{'));
}

#[test]
fn another_file_can_be_named() {
    let tree =
        Tree::new().file("htdocs/x.txt", "x").file("other.toml", "headers = { X-From = \"the other\" }\nport = 0\n");
    tree.settle();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cgiserve"));
    command.arg("--config").arg(tree.path("other.toml")).current_dir("/").env_clear().env("HOME", tree.root());
    let server = launch(command, tree);
    assert_eq!(server.get("/x.txt").expect(200).field("x-from").as_deref(), Some("the other"));
}

#[test]
fn the_state_folder_is_outside_of_everything_served_and_the_scripts_can_write_there() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\necho kept > \"$X_STATE_DIRECTORY/x\" && cat \"$X_STATE_DIRECTORY/x\"\n";
    let server = serve(Tree::new().script("keeps", script));
    assert_eq!(server.get("/cgi-bin/keeps").expect(200).text(), "kept\n");
    assert_eq!(std::fs::read_to_string(server.tree.path("state/x")).unwrap(), "kept\n");
    server.get("/state/x").expect(404);
    // Without a word of configuration it lies elsewhere.
    let server = serve(Tree::python().script("keeps", script).script("env", crate::vars::ENVIRONMENT));
    assert_eq!(server.get("/cgi-bin/keeps").expect(200).text(), "kept\n");
    let state = server.vars_of("/cgi-bin/env").get("X_STATE_DIRECTORY").unwrap();
    assert!(!std::path::Path::new(&state).starts_with(server.tree.path("cgi-bin")), "{state}");
}
