//! Where clients come to: addresses, Unix sockets, sockets that were handed over.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::server::{command, launch, serve};
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;
use crate::wait::{PATIENCE, until};

/// A server without a TCP port; ended with the test.
struct Portless(Child);

impl Portless {
    /// Starts it, and waits for its first line.
    fn start(mut command: Command) -> (Self, String) {
        let mut child = {
            let _alone = crate::tree::fork_lock();
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line)
    }
}

impl Drop for Portless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const REQUEST: &[u8] = b"GET /cgi-bin/env HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn ask_at(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(REQUEST).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn several_listeners_and_a_unix_socket() {
    let bind = "bind = [\"127.0.0.1\", \"127.0.0.1:0\", \"unix:@ROOT@/notes/sock\"]\nport = 0\nsocket-mode = 0o600";
    let tree = Tree::new().script("env", ENVIRONMENT).config(bind);
    let socket = tree.path("notes/sock");
    tree.settle();
    let mut server = launch(command(&tree), tree);
    server.get("/cgi-bin/env").expect(200);
    until("the socket", || socket.exists());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = ask_at(&socket);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("REMOTE_ADDR=127.0.0.1\0") && !answer.contains("REMOTE_PORT="), "{answer}");

    // A live server keeps its socket.
    let other = Command::new(env!("CARGO_BIN_EXE_cgiserve"))
        .args(["-d", "/", "-b", &format!("unix:{}", socket.display())])
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("another server listens there"));
    assert!(ask_at(&socket).starts_with("HTTP/1.1 200"));

    server.signal(Signal::TERM);
    let (code, words, _) = server.ended();
    assert_eq!(code, Some(0));
    assert!(words.lines().any(|line| line == format!("Serving HTTP on unix:{} ...", socket.display())), "{words}");
    assert!(!socket.exists(), "the socket goes with its server");
}

#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let tree = Tree::new().script("env", ENVIRONMENT);
    tree.settle();
    let socket = tree.path("notes/sock");
    let bind = format!("unix:{}", socket.display());
    let start = || {
        let mut command = command(&tree);
        command.args(["-b", &bind]);
        Portless::start(command)
    };
    drop(start());
    assert!(socket.exists(), "it had no time to tidy up");
    let (_server, banner) = start();
    assert_eq!(banner, format!("Serving HTTP on {bind} ...\n"));
    assert!(ask_at(&socket).starts_with("HTTP/1.1 200"));
}

#[test]
fn sockets_are_taken_from_a_service_manager_and_kept_from_scripts() {
    let tree = Tree::new()
        .script("env", ENVIRONMENT)
        .script("open", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nls -l /proc/$$/fd\n")
        .config("[scripts]\npass-env = [\"LISTEN_FDS\", \"LISTEN_PID\"]");
    tree.settle();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // What a service manager does: the socket is descriptor 3, and the variables name the process that is to have it.
    let real = command(&tree);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\""])
        .arg(real.get_program())
        .args(real.get_args())
        .arg("1")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    let server = launch(command, tree);
    assert_eq!(server.address, address, "not port 1");
    let environment = server.get("/cgi-bin/env").expect(200);
    assert!(!String::from_utf8_lossy(&environment.body).contains("LISTEN_"));
    let open = server.get("/cgi-bin/open").expect(200);
    assert!(!String::from_utf8_lossy(&open.body).contains("socket:"), "{}", String::from_utf8_lossy(&open.body));
}

#[test]
fn a_taken_port_says_who_has_it() {
    let server = serve(Tree::new());
    let output = Command::new(env!("CARGO_BIN_EXE_cgiserve"))
        .args(["-d", "/", &server.address.port().to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&server.address.to_string()), "{said}");
    assert!(said.contains(&format!("by cgiserve (pid {})", server.pid())), "{said}");
}

#[test]
fn the_server_survives_the_end_of_its_descriptors() {
    let tree = Tree::new().file("htdocs/a", "a");
    tree.settle();
    let real = command(&tree);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""]).arg(real.get_program()).args(real.get_args()).args([
        "-b",
        "127.0.0.1",
        "0",
    ]);
    let mut server = launch(command, tree);
    let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    drop(crowd);
    server.get("/a").expect(200);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0, Some(0));
}

/// The port that a server says it redirects from.
fn redirecting(server: &crate::server::Server) -> std::net::SocketAddr {
    let log = server.wait_for_log(|log| log.contains("redirecting from"));
    let address = log.split("redirecting from ").nth(1).and_then(|rest| rest.split(' ').next());
    address.and_then(|address| address.parse().ok()).expect("an address")
}

#[test]
fn a_port_can_be_there_for_sending_everybody_to_another() {
    for (flags, scheme) in [(&["-b", "127.0.0.1"][..], "http"), (&["-b", "127.0.0.1", "--tls"], "https")] {
        let tree = Tree::new().script("env", ENVIRONMENT).config("redirect-port = 0");
        let server = crate::server::serve_with(tree, flags);
        let port = server.address.port();
        let redirect = redirecting(&server);
        let ask = |request: &str| {
            let mut client = crate::raw::Client::connect(redirect);
            client.send(request);
            client.response()
        };
        for (request, status, location) in [
            ("GET /a/b?c=%20d HTTP/1.1\r\nHost: h:81\r\n\r\n", 301, format!("{scheme}://h:{port}/a/b?c=%20d")),
            ("GET / HTTP/1.0\r\n\r\n", 301, format!("{scheme}://127.0.0.1:{port}/")),
            ("GET http://other/x HTTP/1.1\r\nHost: other\r\n\r\n", 301, format!("{scheme}://other:{port}/x")),
            ("GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n", 301, format!("{scheme}://[::1]:{port}/")),
            (
                "POST /cgi-bin/env HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
                308,
                format!("{scheme}://h:{port}/cgi-bin/env"),
            ),
        ] {
            let answer = ask(request).expect(status);
            assert_eq!(answer.field("location"), Some(location), "{request}");
        }
        ask("GET / HTTP/1.1\r\n\r\n").expect(400);
        assert!(server.banner.contains(&format!("port {port} ")), "the first line is the server's own");
    }
}
