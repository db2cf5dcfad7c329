//! Python's command line, and the first and last words of the server.

use std::process::Command;

use crate::server::{command, launch, run, serve, serve_with};
use crate::tree::{Tree, fork_lock};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_cgiserve"))
}

#[test]
fn the_banner_is_pythons() {
    let server = serve(Tree::new());
    let port = server.address.port();
    assert_eq!(server.banner, format!("Serving HTTP on 127.0.0.1 port {port} (http://127.0.0.1:{port}/) ..."));
    let server = serve_with(Tree::new(), &["--bind", "::1"]);
    let port = server.address.port();
    assert_eq!(server.banner, format!("Serving HTTP on ::1 port {port} (http://[::1]:{port}/) ..."));
}

#[test]
fn the_address_is_this_machines_alone_unless_said() {
    let tree = Tree::new();
    tree.settle();
    let mut command = command(&tree);
    command.arg("0");
    let server = launch(command, tree);
    assert!(server.banner.starts_with("Serving HTTP on 127.0.0.1 port "), "{}", server.banner);
}

#[test]
fn pythons_whole_command_line_works() {
    let hello = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";
    let tree = Tree::python().script("hello", hello).file("x.unknown", "?");
    let flags = [
        "--cgi",
        "--bind",
        "127.0.0.1",
        "--protocol",
        "HTTP/1.1",
        "-H",
        "X-One",
        "1",
        "--header",
        "X-Two",
        "2 2",
        "--content-type",
        "text/x-own",
    ];
    let server = serve_with(tree, &flags);
    for target in ["/x.unknown", "/cgi-bin/hello", "/", "/none"] {
        let response = server.get(target);
        assert_eq!(response.field("x-one").as_deref(), Some("1"), "{target}");
        assert_eq!(response.field("x-two").as_deref(), Some("2 2"), "{target}");
    }
    assert_eq!(server.get("/x.unknown").field("content-type").as_deref(), Some("text/x-own"));
    let mut client = server.connect();
    client.get("/cgi-bin/hello").expect(200);
    client.get("/cgi-bin/hello").expect(200);
}

#[test]
fn protocol_1_0_closes_after_every_answer() {
    let server = serve_with(Tree::new().file("htdocs/index.html", "index"), &["-p", "HTTP/1.0", "-b", "127.0.0.1"]);
    let mut client = server.connect();
    client.get("/").expect(200);
    client.assert_closed();
}

#[test]
fn without_dash_d_the_working_folder_is_served() {
    let tree = Tree::python().file("here.txt", "here");
    let mut command = program();
    command.args(["0"]).current_dir(tree.root()).env_clear().env("HOME", tree.root());
    assert_eq!(launch(command, tree).get("/here.txt").expect(200).text(), "here");
}

#[test]
fn mistakes_on_the_command_line_end_with_2_and_a_word() {
    for (flags, word) in [
        (&["--nope"][..], "--nope"),
        (&["70000"], "70000"),
        (&["eighty"], "eighty"),
        (&["-p", "HTTP/9"], "HTTP/9"),
        (&["-H", "X-One"], "--header"),
        (&["8000", "8001"], "8001"),
    ] {
        let ended = run(program().args(flags));
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:?}");
        assert!(ended.err.contains(word), "no {word}: {ended:?}");
        assert!(ended.out.is_empty());
    }
}

#[test]
fn help_and_version_end_with_0() {
    for (flag, word) in [("--help", "--directory"), ("-h", "--bind"), ("--version", "cgiserve ")] {
        let ended = run(program().arg(flag));
        assert_eq!(ended.code, Some(0));
        assert!(ended.out.contains(word));
    }
    for (arguments, word) in [(&["man"][..], ".TH"), (&["completions", "bash"], "complete")] {
        let ended = run(program().args(arguments));
        assert_eq!(ended.code, Some(0));
        assert!(ended.out.contains(word));
    }
}

/// Whatever runs at a terminal ends with Ctrl-C.
struct AtTerminal(std::process::Child);

impl Drop for AtTerminal {
    fn drop(&mut self) {
        use std::io::Write;
        let _ = self.0.stdin.take().map(|mut keys| keys.write_all(b"\x03"));
        let _ = self.0.wait();
    }
}

/// `script` gives a program a terminal; without it there is nothing to see.
#[test]
fn a_terminal_is_told_what_is_served() {
    use std::io::Read;
    let fails = "#!/bin/sh\necho why it failed >&2\nexit 3\n";
    for no_color in ["", "1"] {
        let tree = Tree::python().script("fails", fails).file("cgi-bin/shut.py", "#!/usr/bin/python3\n");
        tree.settle();
        let mut command = Command::new("script");
        command.args(["-qefc", &format!("{} 0", env!("CARGO_BIN_EXE_cgiserve")), "/dev/null"]);
        command.current_dir(tree.root()).env_clear().env("HOME", tree.root()).env("PATH", "/usr/bin:/bin");
        command.env("TERM", "xterm").env("NO_COLOR", no_color);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let spawned = {
            let _alone = fork_lock();
            command.spawn()
        };
        let Ok(child) = spawned else { return };
        let mut server = AtTerminal(child);
        let mut terminal = server.0.stdout.take().expect("a pipe");
        let mut seen = String::new();
        let mut read_until = |wanted: &str| {
            let mut piece = [0; 4096];
            while !seen.contains(wanted) {
                let n = terminal.read(&mut piece).unwrap_or(0);
                assert!(n > 0, "{wanted:?} was never shown: {seen}");
                seen.push_str(&String::from_utf8_lossy(&piece[..n]));
            }
            seen.clone()
        };
        let banner = read_until("configuration");
        for words in ["/cgi-bin/", "scripts", "2 scripts, 1 needs attention: cgiserve check", "interpreters: ", "sh"] {
            assert!(banner.contains(words), "{words}: {banner}");
        }
        let port = banner.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a port");
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /cgi-bin/fails HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let told = read_until("\"GET /cgi-bin/fails HTTP/1.0\" ") + &read_until(" -");
        assert!(told.contains("why it failed") && told.contains("exit-before-header"), "{told}");
        let own = told.lines().find(|line| line.starts_with("    ") && line.trim_end().ends_with(" why it failed"));
        assert!(own.is_some_and(|line| line.contains("/cgi-bin/fails")), "{told}");
        assert_eq!(told.contains("\x1b[31m502"), no_color.is_empty(), "{told:?}");
    }
}

#[test]
fn who_holds_the_port_is_named() {
    let tree = Tree::new();
    tree.settle();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(command(&tree).args(["-b", "127.0.0.1", &port]));
    assert!(ended.err.contains(&format!("(pid {})", std::process::id())), "{ended:?}");
}

#[test]
fn an_address_that_is_taken_is_said_and_ends_with_1() {
    let server = serve(Tree::new());
    let tree = Tree::new();
    tree.settle();
    let ended = run(command(&tree).args(["-b", "127.0.0.1", &server.address.port().to_string()]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains(&server.address.to_string()), "{ended:?}");
}

#[test]
fn a_socket_in_the_file_system_works_and_a_live_one_is_not_taken_over() {
    use std::io::{Read, Write};
    let tree = Tree::new().script("env", crate::vars::ENVIRONMENT);
    tree.settle();
    let path = tree.path("notes/socket");
    let bind = format!("unix:{}", path.display());
    let mut first = command(&tree);
    first.args(["-b", &bind]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = {
        let _alone = fork_lock();
        first.spawn().unwrap()
    };
    let talk = || {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).ok()?;
        stream.write_all(b"GET /cgi-bin/env HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let mut text = String::new();
    crate::wait::until("an answer over the socket", || {
        text = talk().unwrap_or_default();
        text.contains("GATEWAY_INTERFACE=CGI/1.1")
    });
    assert!(text.contains("REMOTE_ADDR="), "{text}");
    let second = run(command(&tree).args(["-b", &bind]));
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("another server listens there"), "{second:?}");
    assert!(talk().is_some());
    child.kill().unwrap();
    child.wait().unwrap();
}
