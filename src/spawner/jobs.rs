//! The jobs of one spawner, from start to the last of their processes: who belongs to whom, and what is due when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpgid, getsid, kill_process, kill_process_group};

use super::family::{self, FileId, OwnChildren};
use super::wire::Notice;
use crate::sys::{self, Reap, Reaped};

/// How long leftovers may keep a pipe of the job after its leader has ended, and so its answer unfinished.
const HOLD: Duration = Duration::from_secs(2);

/// Between two looks at leftovers that have been killed for holding a pipe and are still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Between two rounds of KILL, growing from the first to the second; each round finds what forked during the last.
const KILL_FIRST: Duration = Duration::from_millis(2);
const KILL_SLOWEST: Duration = Duration::from_millis(200);

/// Orphans that belong to no job.
const STRAY: u64 = u64::MAX;

/// One job whose processes are not all gone.
#[derive(Debug)]
struct Job {
    /// Also its session and first process group.
    pid: i32,
    /// The leader has not been collected, so its pid and group are still its own.
    leads: bool,
    started: Instant,
    linger: Duration,
    grace: Duration,
    /// Its pipes.
    files: Vec<FileId>,
    /// How the leader ended, until that has been told.
    ended: Option<(Reaped, Duration)>,
    orphans: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    /// The leader has ended by itself, others have not.
    Leftovers {
        look: Option<Instant>,
        warned: bool,
        end: Instant,
    },
    /// TERM has been sent.
    Terminating {
        kill: Instant,
    },
    /// KILL is being sent until nothing is left.
    Killing {
        again: Instant,
        pause: Duration,
    },
}

/// All jobs of this spawner.
#[derive(Debug)]
pub(super) struct Jobs {
    jobs: HashMap<u64, Job>,
    leaders: HashMap<i32, u64>,
    /// Children by adoption, and whose they are.
    orphans: HashMap<i32, u64>,
    children: Option<OwnChildren>,
    /// Jobs that are not simply running, and strays: while zero, nothing is due and nobody looks.
    unquiet: usize,
    stray_check: Instant,
    doubt: bool,
    /// What the server has to be told.
    pub(super) notices: Vec<Notice>,
}

/// What a new job needs to be remembered for.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) started: Instant,
    pub(super) linger: Duration,
    pub(super) grace: Duration,
    pub(super) files: Vec<FileId>,
}

impl Jobs {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            jobs: HashMap::new(),
            leaders: HashMap::new(),
            orphans: HashMap::new(),
            children: OwnChildren::open().ok(),
            unquiet: 0,
            stray_check: now,
            doubt: false,
            notices: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, birth: Birth) {
        let Birth { id, pid, started, linger, grace, files } = birth;
        self.leaders.insert(pid, id);
        let phase = Phase::Running;
        self.jobs.insert(id, Job { pid, leads: true, started, linger, grace, files, ended: None, orphans: 0, phase });
    }

    /// The kernel knows of no child, and there are leaders: one of the two is wrong, and no signal may come to say which.
    pub(super) fn in_doubt(&self) -> bool {
        self.doubt
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.jobs.contains_key(&id)
    }

    /// Of how many something is left.
    pub(super) fn count(&self) -> usize {
        self.jobs.len()
    }

    /// Collects every child that has ended. False when no child of any kind is left.
    pub(super) fn reap(&mut self, now: Instant) -> bool {
        let mut touched = Vec::new();
        let mut look = self.unquiet > 0;
        let any_left = loop {
            match sys::reap(None) {
                Reap::Child(reaped) => {
                    if let Some(id) = self.leaders.remove(&reaped.pid) {
                        if let Some(job) = self.jobs.get_mut(&id) {
                            job.leads = false;
                            job.ended = Some((reaped, now.saturating_duration_since(job.started)));
                            look = true;
                            touched.push(id);
                        }
                    } else if let Some(id) = self.orphans.remove(&reaped.pid) {
                        if let Some(job) = self.jobs.get_mut(&id) {
                            job.orphans -= 1;
                            touched.push(id);
                        } else {
                            self.unquiet -= 1;
                        }
                    }
                }
                Reap::AllRunning => break true,
                Reap::NoChildren => break false,
            }
        };
        self.doubt = !any_left && !self.leaders.is_empty();
        // Only now can there be new orphans that matter, and this is the whole price of looking: one short read.
        if any_left && look {
            self.adopt();
        }
        for id in touched {
            self.settle(id, now);
        }
        any_left
    }

    /// Finds children that this process did not start, and says whose they are.
    fn adopt(&mut self) {
        let Some(mut children) = self.children.take() else {
            return;
        };
        let mut new = Vec::new();
        let read = children.read(|pid| {
            if !self.leaders.contains_key(&pid) && !self.orphans.contains_key(&pid) {
                new.push(pid);
            }
        });
        self.children = Some(children);
        if read.is_err() {
            return;
        }
        for pid in new {
            let id = family::job_of(pid).filter(|id| self.jobs.contains_key(id)).or_else(|| self.job_by_session(pid));
            self.orphans.insert(pid, id.unwrap_or(STRAY));
            match id.and_then(|id| self.jobs.get_mut(&id)) {
                Some(job) => job.orphans += 1,
                None => {
                    self.unquiet += 1;
                    signal(pid, Signal::KILL);
                }
            }
        }
    }

    fn job_by_session(&self, pid: i32) -> Option<u64> {
        let session = getsid(Pid::from_raw(pid)).ok()?.as_raw_nonzero().get();
        self.jobs.iter().find(|(_, job)| job.pid == session).map(|(id, _)| *id)
    }

    /// A process of this job has gone: is that all of it?
    fn settle(&mut self, id: u64, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.leads {
            return;
        }
        let leftovers = job.orphans > 0;
        if leftovers {
            match &mut job.phase {
                phase @ Phase::Running => {
                    *phase = Phase::Leftovers { look: Some(now + HOLD), warned: false, end: now + job.linger };
                    self.unquiet += 1;
                }
                // What it left has become this process's child and can be found and killed at once.
                Phase::Killing { again, .. } => {
                    *again = now;
                    return;
                }
                Phase::Leftovers { .. } | Phase::Terminating { .. } => return,
            }
        }
        match job.ended.take() {
            Some((reaped, wall)) => self.notices.push(Notice::Ended {
                id,
                pid: job.pid,
                status: reaped.status,
                wall_us: micros(wall),
                cpu_us: micros(reaped.cpu),
                peak_rss_kib: reaped.peak_rss_kib,
                leftovers,
            }),
            None => self.notices.push(Notice::Gone { id }),
        }
        if !leftovers {
            if !matches!(job.phase, Phase::Running) {
                self.unquiet -= 1;
            }
            self.jobs.remove(&id);
        }
    }

    /// Ends everything of a job: TERM now, KILL after its grace. Unknown jobs have ended already.
    pub(super) fn end(&mut self, id: u64, now: Instant) {
        match self.jobs.get(&id).map(|job| job.phase) {
            None | Some(Phase::Terminating { .. } | Phase::Killing { .. }) => return,
            Some(Phase::Running) => self.unquiet += 1,
            Some(Phase::Leftovers { .. }) => {}
        }
        self.adopt();
        self.signal_family(id, Signal::TERM);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = Phase::Terminating { kill: now + job.grace };
        }
    }

    /// Ends every job.
    pub(super) fn end_all(&mut self, now: Instant) {
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.end(id, now);
        }
    }

    /// When [`Jobs::tick`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.unquiet == 0 {
            return None;
        }
        let stray = self.orphans.values().any(|id| *id == STRAY).then_some(self.stray_check);
        self.jobs.values().filter_map(|job| job.phase.due()).chain(stray).min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        self.adopt();
        if self.stray_check <= now {
            self.stray_check = now + KILL_SLOWEST;
            let strays = self.orphans.iter().filter(|(_, id)| **id == STRAY).map(|(pid, _)| *pid);
            for pid in family::with_descendants(strays) {
                signal(pid, Signal::KILL);
            }
        }
        let due = self.jobs.iter().filter(|(_, job)| job.phase.due().is_some_and(|due| due <= now));
        for (id, phase) in due.map(|(id, job)| (*id, job.phase)).collect::<Vec<_>>() {
            match phase {
                Phase::Running => {}
                Phase::Leftovers { end, .. } if end <= now => self.end(id, now),
                Phase::Leftovers { warned, end, .. } => self.end_holders(id, warned, end, now),
                Phase::Terminating { .. } => self.kill(id, KILL_FIRST, now),
                Phase::Killing { pause, .. } => self.kill(id, (pause * 2).min(KILL_SLOWEST), now),
            }
        }
    }

    fn kill(&mut self, id: u64, pause: Duration, now: Instant) {
        self.signal_family(id, Signal::KILL);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = Phase::Killing { again: now + pause, pause };
        }
    }

    /// Leftovers that keep the job's pipes open keep its answer open: they get TERM, then KILL. The others have
    /// detached properly and stay.
    fn end_holders(&mut self, id: u64, warned: bool, end: Instant, now: Instant) {
        let family = family::with_descendants(self.orphans_of(id));
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let mut held = false;
        for pid in family.into_iter().filter(|pid| family::holds(*pid, &job.files)) {
            held = true;
            signal(pid, if warned { Signal::KILL } else { Signal::TERM });
        }
        let look = held.then(|| now + if warned { LOOK_AGAIN } else { job.grace });
        job.phase = Phase::Leftovers { look, warned: true, end };
    }

    fn signal_family(&self, id: u64, what: Signal) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let leader = job.leads.then_some(job.pid);
        // The group in one call, so that a member that forks this very moment is not missed. Only while the leader is
        // uncollected: afterwards the number may name another's group.
        if let Some(group) = leader.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, what);
        }
        for pid in family::with_descendants(leader.into_iter().chain(self.orphans_of(id))) {
            let group = getpgid(Pid::from_raw(pid)).ok().map(|group| group.as_raw_nonzero().get());
            if leader.is_none() || group != leader {
                signal(pid, what);
            }
        }
    }

    fn orphans_of(&self, id: u64) -> impl Iterator<Item = i32> {
        self.orphans.iter().filter(move |(_, of)| **of == id).map(|(pid, _)| *pid)
    }
}

impl Phase {
    fn due(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Leftovers { look, end, .. } => Some(look.map_or(end, |look| look.min(end))),
            Self::Terminating { kill } => Some(kill),
            Self::Killing { again, .. } => Some(again),
        }
    }
}

/// Sends a signal; that the process has gone meanwhile is no error.
pub(super) fn signal(pid: i32, what: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, what);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
