//! Real processes and real signals.

mod confinement;
mod ending;
mod life;
mod loss;
mod wire;

use std::ffi::CString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;

use super::*;

/// Longer than anything here takes; a test that reaches it has failed.
const LONG: Duration = Duration::from_secs(30);

fn c(text: impl AsRef<str>) -> CString {
    CString::new(text.as_ref()).unwrap()
}

fn spawner(size: usize) -> Spawner {
    Nursery::fork(size).unwrap().attach(&[tokio::runtime::Handle::current()]).unwrap()
}

/// A job with every protection on, as the identity of the tests.
fn shell(script: impl AsRef<str>) -> Job {
    Job {
        program: c("/bin/sh"),
        argv: vec![c("sh"), c("-c"), c(script)],
        env: vec![c("PATH=/usr/sbin:/usr/bin:/sbin:/bin")],
        dir: c("/"),
        limits: Limits::default(),
        identity: None,
        sandbox: Sandbox::Standard,
        umask: 0o022,
        no_new_privs: true,
        linger: LONG,
        grace: Duration::from_millis(300),
    }
}

/// Reads line by line what a job writes.
type Output = BufReader<Receiver>;

fn stdout() -> (Output, Stdio) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (BufReader::new(Receiver::from_owned_fd(read).unwrap()), Stdio { stdin: None, stdout: write, stderr: None })
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("in time")
}

/// Waits until the condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn start(spawner: &Spawner, job: &Job) -> (Output, Child) {
    let (output, stdio) = stdout();
    (output, spawner.start(job, stdio).await.unwrap())
}

/// Runs to the end: output (with what went to stderr, if the script says so) and ending.
async fn run(spawner: &Spawner, job: &Job) -> (String, Ending) {
    let (mut output, mut child) = start(spawner, job).await;
    let mut text = String::new();
    in_time(output.read_to_string(&mut text)).await.unwrap();
    (text, in_time(child.wait()).await)
}

async fn output_of(spawner: &Spawner, job: &Job) -> String {
    run(spawner, job).await.0.trim().to_owned()
}

async fn line(output: &mut Output) -> String {
    let mut line = String::new();
    in_time(output.read_line(&mut line)).await.unwrap();
    assert!(line.ends_with('\n'), "the output ended after {line:?}");
    line.trim().to_owned()
}

async fn pid_line(output: &mut Output) -> i32 {
    line(output).await.parse().unwrap()
}

/// Whether it runs; a zombie does not.
fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X']))
}

/// Whether it is in the table at all.
fn exists(pid: i32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).unwrap()
}

fn kill_9(pid: i32) {
    jobs::signal(pid, rustix::process::Signal::KILL);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test was not done, so that a green run hides nothing.
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// A folder of its own, removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spawner-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
