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

/// The server at a terminal, which `script` makes. Whatever runs there ends with Ctrl-C.
struct Terminal {
    child: std::process::Child,
    screen: std::process::ChildStdout,
    seen: String,
    port: u16,
}

impl Terminal {
    /// `None` where there is no `script`: then there is nothing to see.
    fn serve(tree: &Tree, no_color: &str) -> Option<Self> {
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
        let mut child = spawned.ok()?;
        let screen = child.stdout.take().expect("a pipe");
        let mut terminal = Self { child, screen, seen: String::new(), port: 0 };
        let banner = terminal.read_until("configuration");
        let port = banner.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        terminal.port = port.expect("a port");
        Some(terminal)
    }

    /// Everything shown, once `wanted` is among it.
    fn read_until(&mut self, wanted: &str) -> String {
        use std::io::Read;
        let mut piece = [0; 4096];
        while !self.seen.contains(wanted) {
            let n = self.screen.read(&mut piece).unwrap_or(0);
            assert!(n > 0, "{wanted:?} was never shown: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&piece[..n]));
        }
        self.seen.clone()
    }

    fn ask(&self, path: &str) -> std::net::TcpStream {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        std::io::Write::write_all(&mut stream, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        stream
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        use std::io::Write;
        let _ = self.child.stdin.take().map(|mut keys| keys.write_all(b"\x03"));
        let _ = self.child.wait();
    }
}

#[test]
fn a_terminal_is_told_what_is_served() {
    let fails = "#!/bin/sh\necho why it failed >&2\nexit 3\n";
    for no_color in ["", "1"] {
        let tree = Tree::python().script("fails", fails).file("cgi-bin/shut.py", "#!/usr/bin/python3\n");
        let Some(mut terminal) = Terminal::serve(&tree, no_color) else { return };
        let banner = terminal.seen.clone();
        for words in ["/cgi-bin/", "scripts", "2 scripts, 1 needs attention: cgiserve check", "interpreters: ", "sh"] {
            assert!(banner.contains(words), "{words}: {banner}");
        }
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut terminal.ask("/cgi-bin/fails"), &mut answer).unwrap();
        let told = terminal.read_until("exit-before-header");
        // The line of the request, and beneath it what is told of it.
        let line = told.find("\"GET /cgi-bin/fails HTTP/1.0\" ").unwrap_or_else(|| panic!("no request: {told}"));
        let beneath = &told[line..];
        let own = beneath.lines().find(|line| line.starts_with("    ") && line.trim_end().ends_with(" why it failed"));
        assert!(own.is_some_and(|line| line.contains("/cgi-bin/fails")), "{told}");
        assert_eq!(told.contains("\x1b[31m502"), no_color.is_empty(), "{told:?}");
    }
}

#[test]
fn a_script_that_works_long_is_heard_meanwhile() {
    let works = "#!/bin/sh\necho half way >&2\nread line < @NOTES@/gate\necho there >&2\nprintf 'Status: 204\\n\\n'\n";
    let tree = Tree::python().script("works", works);
    let mut gate = tree.gate("gate");
    let Some(mut terminal) = Terminal::serve(&tree, "1") else { return };
    let _asked = terminal.ask("/cgi-bin/works");
    let told = terminal.read_until("half way");
    assert!(!told.contains("GET /cgi-bin/works"), "{told}");
    gate.open();
    terminal.read_until("GET /cgi-bin/works HTTP/1.0\" 204");
    terminal.read_until("there");
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
