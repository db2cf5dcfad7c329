//! The real program, started at a free port over a tree of its own, and ended with the test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Signal};

use crate::raw::{Client, Response};
use crate::tree::{Tree, fork_lock};
use crate::wait::PATIENCE;

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its first line.
    pub banner: String,
    log: Arc<Log>,
    stdout: Option<BufReader<std::process::ChildStdout>>,
    /// What it serves.
    pub tree: Tree,
}

#[derive(Debug, Default)]
struct Log {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

/// A server over `tree`, with the command line `-d TREE -b 127.0.0.1 0`.
pub fn serve(tree: Tree) -> Server {
    serve_with(tree, &["-b", "127.0.0.1"])
}

/// A server over `tree` with these flags; the folder and the port come behind them.
pub fn serve_with(tree: Tree, flags: &[&str]) -> Server {
    tree.settle();
    let mut command = command(&tree);
    command.args(flags).args(["0"]);
    launch(command, tree)
}

/// The program, to be run over `tree` with nothing in its environment but what every shell has, and one secret.
pub fn command(tree: &Tree) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgiserve"));
    command
        .arg("-d")
        .arg(tree.root())
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", tree.root())
        .env("XDG_STATE_HOME", tree.path("xdg-state"))
        .env("A_SECRET", "of the server")
        .stdin(Stdio::null());
    command
}

/// Starts `command` and waits for its banner.
pub fn launch(mut command: Command, tree: Tree) -> Server {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = {
        let _alone = fork_lock();
        command.spawn().expect("the built program starts")
    };
    let log = Arc::new(Log::default());
    let stderr = child.stderr.take().expect("stderr was asked for");
    std::thread::spawn({
        let log = log.clone();
        move || log.follow(stderr)
    });
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout was asked for"));
    let mut banner = String::new();
    stdout.read_line(&mut banner).expect("standard output is text");
    let banner = banner.trim_end().to_owned();
    let address = banner.split("://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
    let Some(address) = address else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("no banner but {banner:?}; it said: {}", log.all());
    };
    Server { child, address, banner, log, stdout: Some(stdout), tree }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

/// Runs `command`, which must end by itself.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = {
        let _alone = fork_lock();
        command.spawn().expect("the built program starts")
    };
    fn text(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
        let mut from = from.expect("a pipe was asked for");
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    }
    let (out, err) = (text(child.stdout.take()), text(child.stderr.take()));
    let end = Instant::now() + PATIENCE;
    let code = loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => break Ok(status.code()),
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                break Err("it did not end by itself");
            }
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    let (out, err) = (out.join().expect("a reader"), err.join().expect("a reader"));
    let code = code.unwrap_or_else(|why| panic!("{why}; it said: {out}{err}"));
    Ended { code, out, err }
}

impl Log {
    fn follow(&self, stderr: impl Read) {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            text.0.push_str(&String::from_utf8_lossy(&line));
            line.clear();
            self.grown.notify_all();
        }
        self.text.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.grown.notify_all();
    }

    fn all(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Server {
    /// A connection to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// One POST on a connection of its own.
    #[track_caller]
    pub fn post(&self, target: &str, kind: &str, body: &[u8]) -> Response {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.ask([head.as_bytes(), body].concat())
    }

    /// These octets on a connection of their own, and the answer.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    /// Waits for a line of the log in which `wanted` finds what it looks for, and returns it.
    #[track_caller]
    pub fn wait_for_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut text = self.log.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = text.0.lines().find(|line| wanted(line)) {
                return line.to_owned();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !text.1, "no such line in the log:\n{}", text.0);
            text = self.log.grown.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything it has said so far on standard error.
    pub fn log(&self) -> String {
        self.log.all()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the server is there");
    }

    /// Waits for its end: exit code (`None` when a signal ended it), what more it wrote to standard output, its log.
    pub fn ended(&mut self) -> (Option<i32>, String, String) {
        let mut code = None;
        crate::wait::until("the server's end", || {
            code = self.child.try_wait().expect("the child is ours");
            code.is_some()
        });
        let mut last_words = String::new();
        if let Some(mut stdout) = self.stdout.take() {
            let _ = stdout.read_to_string(&mut last_words);
        }
        crate::wait::until("the end of the log", || self.log.text.lock().unwrap_or_else(PoisonError::into_inner).1);
        (code.and_then(|code| code.code()), last_words, self.log())
    }

    /// Resident memory, KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The spawner notices and ends every script.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}
