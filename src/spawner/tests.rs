//! Real processes and real signals.

use std::ffi::CString;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::*;

/// Longer than anything here takes; a test that reaches it has failed.
const LONG: Duration = Duration::from_secs(20);

fn c(text: impl AsRef<str>) -> CString {
    CString::new(text.as_ref()).unwrap()
}

fn spawner(size: usize) -> Spawner {
    Nursery::fork(size).unwrap().attach().unwrap()
}

fn shell(script: &str) -> Job {
    Job {
        program: c("/bin/sh"),
        argv: vec![c("sh"), c("-c"), c(script)],
        env: vec![c("PATH=/usr/bin:/bin")],
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

fn stdout() -> (Receiver, Stdio) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (Receiver::from_owned_fd(read).unwrap(), Stdio { stdin: None, stdout: write, stderr: None })
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

async fn run(spawner: &Spawner, job: &Job) -> (String, Ending) {
    let (mut output, stdio) = stdout();
    let mut child = spawner.start(job, stdio).await.unwrap();
    let mut text = String::new();
    in_time(output.read_to_string(&mut text)).await.unwrap();
    (text, in_time(child.wait()).await)
}

#[tokio::test]
async fn output_status_and_usage() {
    let spawner = spawner(1);
    let (text, ending) = run(&spawner, &shell("echo hello; exit 7")).await;
    assert_eq!(text, "hello\n");
    let Ending::Exited { status: 7, usage } = ending else { panic!("{ending:?}") };
    assert!(usage.wall > Duration::ZERO && usage.wall < LONG && usage.peak_rss_kib > 100, "{usage:?}");
    assert_eq!(spawner.in_flight(), 0);
}
