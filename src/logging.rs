//! Messages of the server and of scripts, in the same log as the request lines.

use std::fmt;
use std::io;
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::access_log::LogFile;

/// Sends every message from `level` on to `log`.
pub fn start(log: Arc<LogFile>, level: tracing::Level) {
    // Only the first call in a process counts; tests make several servers.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(Messages(log))
        .with_timer(LocalTime)
        .with_ansi(false)
        .try_init();
}

struct Messages(Arc<LogFile>);

struct Line<'a> {
    log: &'a LogFile,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Messages {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { log: &self.0, text: Vec::new() }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.log.push(&self.text);
    }
}

struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
    }
}
