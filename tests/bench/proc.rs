//! What `/proc` says about a server with all its children: CPU time, memory, and how busy others kept the machine.

use std::{collections::HashSet, fs};

/// `/proc/PID/stat` in ticks of `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that has a libc.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process.
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    /// Name of the program, as exec set it.
    pub(crate) name: String,
    /// CPU time of its own and of the children it has waited for.
    ticks: u64,
    /// Start time; with the pid it names a process for good.
    pub(crate) started: u64,
    pub(crate) zombie: bool,
}

/// Memory in KiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident, each shared page divided by the number of processes that share it.
    pub(crate) pss: u64,
    pub(crate) rss: u64,
}

/// A process, its children, theirs, and so on. Empty if it is gone.
pub(crate) fn tree(root: u32) -> Vec<Process> {
    let all = all();
    let mut known = HashSet::from([root]);
    // Pids wrap, so a child may have a lower one than its parent: go round until nothing is added.
    while all.iter().filter(|p| known.contains(&p.parent) && known.insert(p.pid)).count() > 0 {}
    all.into_iter().filter(|p| known.contains(&p.pid)).collect()
}

/// CPU seconds that a tree has used.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    tree(root).iter().map(|p| p.ticks).sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// Memory of a tree without the processes called one of `scripts`.
pub(crate) fn memory(root: u32, scripts: &[&str]) -> Memory {
    let mut sum = Memory::default();
    for process in tree(root).iter().filter(|p| !scripts.contains(&p.name.as_str())) {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
        sum.pss += kib(&text, "Pss:");
        sum.rss += kib(&text, "Rss:");
    }
    sum
}

/// CPU seconds of everybody outside a tree, the kernel's threads left out because they work for whoever is busy.
///
/// Counted process by process, not as the machine's total less ours: a server that ignores SIGCHLD is not charged for
/// its scripts, and their time would look like somebody else's.
pub(crate) fn seconds_outside(root: u32) -> f64 {
    const KERNEL: u32 = 2;
    let ours: HashSet<u32> = tree(root).iter().map(|p| p.pid).collect();
    let others = all().into_iter().filter(|p| p.pid != KERNEL && p.parent != KERNEL && !ours.contains(&p.pid));
    others.map(|p| p.ticks).sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// One process, if it is there.
pub(crate) fn one(pid: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any character, parentheses too.
    let (head, tail) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |i: usize| fields.get(i).and_then(|field| field.parse::<u64>().ok());
    Some(Process {
        pid,
        parent: number(1)? as u32,
        name: name.to_owned(),
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        started: number(19)?,
        zombie: fields.first() == Some(&"Z"),
    })
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(one).collect()
}

fn kib(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
