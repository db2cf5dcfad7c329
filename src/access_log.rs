//! One line per request, written by one thread behind a bounded buffer: a slow disk delays nobody.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Octets that may wait for the disk; lines beyond are counted and lost.
const BUFFER: usize = 4 << 20;

/// How a request line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As `python -m http.server` writes it.
    Python,
    /// NCSA's.
    Common,
    /// NCSA's with Referer and User-Agent.
    Combined,
    /// One JSON object a line.
    Json,
}

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
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
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
            state: Mutex::new(State { path: path.map(Path::to_path_buf), ..State::default() }),
            wake: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let theirs = shared.clone();
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || theirs.write(&mut sink))?;
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Adds a line, which ends in a newline. Never waits for the disk.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.waiting.len() + line.len() > BUFFER {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = state.waiting.is_empty() && !state.writing;
        state.waiting.extend_from_slice(line);
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
            state.path = path;
            state.reopen = true;
            drop(state);
            self.shared.wake.notify_one();
        }
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
            while state.waiting.is_empty() && !state.reopen && !state.closing {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.writing = true;
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

/// What is known of a request when its answer is over.
#[derive(Debug)]
pub struct Record<'a> {
    /// The client's address.
    pub client: &'a str,
    /// REMOTE_USER, where checked.
    pub user: Option<&'a str>,
    /// The request line as sent.
    pub line: &'a [u8],
    /// Status sent; 499 where the client left before the answer was complete.
    pub status: u16,
    /// Octets of the body.
    pub octets: u64,
    /// From the head's arrival to the end of the answer.
    pub took: std::time::Duration,
    /// `Referer` and `User-Agent`.
    pub referer: Option<&'a [u8]>,
    /// See `referer`.
    pub agent: Option<&'a [u8]>,
    /// The request's id.
    pub id: &'a str,
    /// Why it failed, if it did: the slug and Python's sentence.
    pub failure: Option<(&'static str, &'a str)>,
}

impl Record<'_> {
    /// The line, newline included.
    pub fn format(&self, format: Format) -> String {
        let mut text = String::with_capacity(160);
        let now = jiff::Zoned::now();
        let line = escaped(self.line);
        // Writing to a String cannot fail.
        let _ = match format {
            Format::Python => {
                let stamp = now.strftime("%d/%b/%Y %H:%M:%S").to_string();
                if let Some((_, message)) = self.failure {
                    let _ = writeln!(text, "{} - - [{stamp}] code {}, message {message}", self.client, self.status);
                }
                writeln!(text, "{} - - [{stamp}] \"{line}\" {} -", self.client, self.status)
            }
            Format::Common | Format::Combined => {
                let user = self.user.map_or("-".into(), |u| escaped(u.as_bytes()));
                let stamp = now.strftime("%d/%b/%Y:%H:%M:%S %z");
                let _ = write!(text, "{} - {user} [{stamp}] \"{line}\" {} {}", self.client, self.status, self.octets);
                if format == Format::Combined {
                    let field = |f: Option<&[u8]>| f.map_or("-".into(), escaped);
                    let _ = write!(text, " \"{}\" \"{}\"", field(self.referer), field(self.agent));
                }
                writeln!(text)
            }
            Format::Json => {
                let object = serde_json::json!({
                    "time": now.timestamp().to_string(), "client": self.client, "user": self.user, "request": line,
                    "status": self.status, "octets": self.octets, "ms": self.took.as_secs_f64() * 1e3, "id": self.id,
                    "failure": self.failure.map(|(slug, _)| slug),
                    "referer": self.referer.map(escaped), "agent": self.agent.map(escaped),
                });
                writeln!(text, "{object}")
            }
        };
        text
    }
}

/// As Python writes it: control characters as `\xNN`, a backslash doubled; a quote and 8-bit octets as well, so that a
/// line can be taken apart again (CVE-2024-47252).
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(line: &'a [u8]) -> Record<'a> {
        Record {
            client: "127.0.0.1",
            user: None,
            line,
            status: 404,
            octets: 7,
            took: std::time::Duration::from_millis(2),
            referer: None,
            agent: Some(b"curl"),
            id: "x",
            failure: Some(("not-found", "File not found")),
        }
    }

    #[test]
    fn lines_have_their_shapes() {
        let python = record(b"GET /\x1b\"\\ HTTP/1.1").format(Format::Python);
        let lines: Vec<_> = python.lines().collect();
        assert!(lines[0].ends_with("] code 404, message File not found"), "{python}");
        assert!(lines[1].ends_with(r#"] "GET /\x1b\"\\ HTTP/1.1" 404 -"#), "{python}");
        let combined = record(b"GET / HTTP/1.1").format(Format::Combined);
        assert!(combined.ends_with("\"GET / HTTP/1.1\" 404 7 \"-\" \"curl\"\n"), "{combined}");
        let json: serde_json::Value = serde_json::from_str(&record(b"GET /").format(Format::Json)).unwrap();
        assert_eq!(json["failure"], "not-found");
    }

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
