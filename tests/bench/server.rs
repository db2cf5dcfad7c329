//! A server under test: started on a free port of the loopback address, ended with everything it started.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    proc::{self, Memory, Process},
    workload::Who,
};

/// How long a server may take until it accepts connections.
const START: Duration = Duration::from_secs(10);
/// How long it may take to end after TERM before it is killed.
const END: Duration = Duration::from_secs(3);

/// One running server.
pub(crate) struct Server {
    pub(crate) who: Who,
    pub(crate) address: SocketAddr,
    /// What was started for it, in that order; ended in the other.
    children: Vec<Child>,
}

impl Server {
    pub(crate) fn new(who: Who) -> Result<Server, String> {
        Ok(Server { who, address: free_address()?, children: Vec::new() })
    }

    /// Starts one of its processes with both outputs in `log`.
    pub(crate) fn launch(&mut self, command: &mut Command, log: &Path) -> Result<(), String> {
        let problem = |e: std::io::Error| format!("{}: {e}", command_name(command));
        let out =
            fs::File::options().create(true).append(true).open(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(problem)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        self.children.push(child.map_err(|e| format!("{}: {e}", command_name(command)))?);
        Ok(())
    }

    /// Waits until `ready`; an early end or a silent server is an error that quotes the log.
    pub(crate) fn wait_until(&mut self, log: &Path, ready: impl Fn(SocketAddr) -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !ready(self.address) {
            if let Some(Ok(Some(status))) = self.children.last_mut().map(Child::try_wait) {
                return Err(format!("ended at once ({status}): {}", last_words(log)));
            }
            if begin.elapsed() > START {
                return Err(format!("does not listen after {} s: {}", START.as_secs(), last_words(log)));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// CPU seconds of all its processes so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.children.iter().map(|child| proc::cpu_seconds(child.id())).sum()
    }

    /// Memory of all its processes except the scripts of these names.
    pub(crate) fn memory(&self, scripts: &[&str]) -> Memory {
        let each = self.children.iter().map(|child| proc::memory(child.id(), scripts));
        each.fold(Memory::default(), |sum, one| Memory { pss: sum.pss + one.pss, rss: sum.rss + one.rss })
    }

    /// Waits, two seconds at most, until it has nothing to do: connections that were just closed cost it time that
    /// belongs to nobody's sample.
    pub(crate) fn settle(&self) {
        let mut before = self.cpu_seconds();
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(100));
            let now = self.cpu_seconds();
            if now - before < 0.015 {
                return;
            }
            before = now;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            end(child.id());
            // Reaped here, so that its pid is free and its CPU time is counted as ours.
            let _ = child.wait();
        }
    }
}

/// Does somebody accept connections there?
pub(crate) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Ends every process below `root` and then it; used when the benchmark itself is interrupted.
pub(crate) fn end_all_below(root: u32) {
    for process in proc::tree(root).iter().filter(|p| p.pid != root) {
        signal(process, Signal::TERM);
    }
    thread::sleep(Duration::from_millis(300));
    for process in proc::tree(root).iter().filter(|p| p.pid != root) {
        signal(process, Signal::KILL);
    }
}

fn end(root: u32) {
    let processes = proc::tree(root);
    if let Some(first) = processes.iter().find(|p| p.pid == root) {
        // The first process ends the others itself, each server in its own way.
        signal(first, Signal::TERM);
    }
    let begin = Instant::now();
    while begin.elapsed() < END && processes.iter().any(alive) {
        thread::sleep(Duration::from_millis(5));
    }
    for process in processes.iter().filter(|p| alive(p)) {
        signal(process, Signal::KILL);
    }
}

/// Still the same process, and not only its remains?
fn alive(process: &Process) -> bool {
    proc::one(process.pid).is_some_and(|now| now.started == process.started && !now.zombie)
}

fn signal(process: &Process, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process.pid as i32) {
        // It may have ended meanwhile, which is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

fn free_address() -> Result<SocketAddr, String> {
    // The port is free again when the listener is dropped; nobody else on this machine is given it so soon.
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).map_err(|e| format!("no free port: {e}"))
}

fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    if lines.is_empty() { "(no output)".into() } else { lines.into_iter().rev().collect::<Vec<_>>().join(" | ") }
}

fn command_name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
