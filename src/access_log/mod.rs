//! One line per request, written by one thread behind a bounded buffer: a slow disk delays nobody.

mod held;
mod record;
mod stamps;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use held::Held;
pub use record::{Format, Record};
use stamps::Stamps;

/// Octets that may wait for the disk; lines beyond are counted and lost.
const BUFFER: usize = 4 << 20;

/// How long the first of several lines waits for the others.
const GATHER: Duration = Duration::from_millis(5);

/// A log that is written by a thread of its own.
#[derive(Debug)]
pub struct LogFile {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// Lines that could not be kept or written.
    lost: AtomicU64,
    /// Whether the lines go to a terminal.
    terminal: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    held: Held,
    stamps: Stamps,
    colour: bool,
    path: Option<PathBuf>,
    writing: bool,
    reopen: bool,
    closing: bool,
}

impl LogFile {
    /// Opens a log: a file, or standard error without one.
    ///
    /// # Errors
    /// What opening the file says, or that no thread could be made.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut sink = Sink::open(path)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                colour: path.is_none() && is_for_people(),
                path: path.map(Path::to_path_buf),
                ..State::default()
            }),
            wake: Condvar::new(),
            lost: AtomicU64::new(0),
            terminal: AtomicBool::new(is_terminal(path)),
        });
        let theirs = shared.clone();
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || theirs.write(&mut sink))?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Adds a line, which ends in a newline. Never waits for the disk.
    pub fn push(&self, line: &[u8]) {
        self.add(|state| state.waiting.extend_from_slice(line));
    }

    /// Adds a request. The line is formatted where it waits, so that nothing is allocated for it.
    pub fn record(&self, record: &Record<'_>, format: Format) {
        self.add(|state| record.write(format, state.colour, state.stamps.now(), &mut state.waiting));
    }

    /// Where lines go to a terminal: what is said of the request `id` stands beneath its line, which is written before
    /// the answer is dropped.
    pub fn beneath(self: &Arc<Self>, id: impl FnOnce() -> String) -> Option<Beneath> {
        self.shared.terminal.load(Ordering::Relaxed).then(|| {
            let id = id();
            self.shared.lock().held.expect(id.clone(), Instant::now());
            Beneath { log: self.clone(), id }
        })
    }

    /// Adds a line about the request `id`, beneath its own line if that is to come soon.
    pub fn say(&self, id: &str, line: &[u8]) {
        self.add(|state| state.held.say(id, line, Instant::now(), &mut state.waiting));
    }

    fn add(&self, write: impl FnOnce(&mut State)) {
        let mut state = self.shared.lock();
        let before = state.waiting.len();
        write(&mut state);
        if state.waiting.len() > BUFFER {
            state.waiting.truncate(before);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = before == 0 && !state.writing;
        drop(state);
        if first {
            self.shared.wake.notify_one();
        }
    }

    /// Opens the file anew, after somebody renamed it (SIGHUP). No line is lost.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.wake.notify_one();
    }

    /// Writes to another file from now on, or to standard error without one; nothing happens if it is the same.
    pub fn move_to(&self, path: Option<PathBuf>) {
        let mut state = self.shared.lock();
        if state.path != path {
            state.colour = path.is_none() && is_for_people();
            self.shared.terminal.store(is_terminal(path.as_deref()), Ordering::Relaxed);
            state.path = path;
            state.reopen = true;
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// Whether the lines go to a terminal, in front of which somebody may sit; and whether he likes colours.
    pub fn is_for_people(&self) -> (bool, bool) {
        (self.shared.terminal.load(Ordering::Relaxed), self.shared.lock().colour)
    }

    /// How many lines were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Writes what waits and ends the thread.
    pub fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, sink: &mut Sink) {
        let mut batch = Vec::new();
        let mut complained = false;
        loop {
            let mut state = self.lock();
            state.writing = false;
            loop {
                let State { held, waiting, closing, .. } = &mut *state;
                let due = held.due();
                held.overdue((!*closing).then(Instant::now), waiting);
                if !state.waiting.is_empty() || state.reopen || state.closing {
                    break;
                }
                state = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                    Some(left) => self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
            }
            state.writing = true;
            // One write for the lines of a moment: waking this thread for each would cost a core a third of its time.
            let gathering = |state: &mut State| !state.reopen && !state.closing;
            state = self.wake.wait_timeout_while(state, GATHER, gathering).unwrap_or_else(PoisonError::into_inner).0;
            std::mem::swap(&mut batch, &mut state.waiting);
            let reopen = std::mem::take(&mut state.reopen).then(|| state.path.clone());
            let closing = state.closing;
            drop(state);
            let written = sink.write_all(&batch);
            if written.is_err() {
                let lines = batch.iter().filter(|&&b| b == b'\n').count();
                self.lost.fetch_add(lines as u64, Ordering::Relaxed);
            }
            let opened = reopen.map_or(Ok(()), |path| Sink::open(path.as_deref()).map(|opened| *sink = opened));
            if let Err(error) = written.and(opened)
                && !std::mem::replace(&mut complained, true)
            {
                let _ = writeln!(io::stderr(), "cgiserve: the log cannot be written: {error}; requests go on");
            }
            batch.clear();
            if closing && self.lock().waiting.is_empty() {
                return;
            }
        }
    }
}

/// Holds back what is said of a request until this is dropped.
#[derive(Debug)]
pub struct Beneath {
    log: Arc<LogFile>,
    id: String,
}

impl Drop for Beneath {
    fn drop(&mut self) {
        self.log.add(|state| state.held.release(&self.id, &mut state.waiting));
    }
}

/// Whether what is logged there is read at a terminal.
fn is_terminal(path: Option<&Path>) -> bool {
    path.is_none() && rustix::termios::isatty(rustix::stdio::stderr())
}

/// Whether standard error is a terminal whose user has not said no to colours (https://no-color.org).
fn is_for_people() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    rustix::termios::isatty(rustix::stdio::stderr()) && !no_color && !dumb
}

enum Sink {
    File(File),
    Stderr,
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        Ok(match path {
            Some(path) => Self::File(OpenOptions::new().append(true).create(true).open(path)?),
            None => Self::Stderr,
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Stderr => io::stderr().write_all(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_log_is_opened_anew_and_no_line_is_lost() {
        let folder = std::env::temp_dir().join(format!("cgiserve-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, old) = (folder.join("log"), folder.join("log.1"));
        let log = LogFile::open(Some(&path)).unwrap();
        for n in 0..1000 {
            log.push(format!("{n}\n").as_bytes());
            if n == 500 {
                std::fs::rename(&path, &old).unwrap();
                log.reopen();
            }
        }
        log.close();
        let all = std::fs::read_to_string(&old).unwrap() + &std::fs::read_to_string(&path).unwrap();
        let lines: Vec<usize> = all.lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(lines, (0..1000).collect::<Vec<_>>());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_is_counted_and_never_fatal() {
        let log = LogFile::open(Some(Path::new("/dev/full"))).unwrap();
        log.push(b"a line\n");
        log.close();
        assert_eq!(log.lost(), 1);
    }
}
