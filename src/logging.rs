//! Messages of the server and of scripts, in the same log as the request lines.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer, format};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::access_log::LogFile;

/// Sends every message from `level` on to `log`.
pub fn start(log: Arc<LogFile>, level: tracing::Level) {
    // Only the first call in a process counts; tests make several servers.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(Messages(log.clone()))
        .with_ansi(false)
        .event_format(Words { log, whole: format().with_timer(LocalTime).with_ansi(false) })
        .try_init();
}

/// What a script says, at a terminal: short, beneath the line of its request. Everything else, and elsewhere, whole.
struct Words {
    log: Arc<LogFile>,
    whole: Format<Full, LocalTime>,
}

impl<S, N> FormatEvent<S, N> for Words
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (terminal, colour) = self.log.is_for_people();
        if !terminal {
            return self.whole.format_event(context, out, event);
        }
        let mut said = Said::default();
        event.record(&mut said);
        let mut line = String::new();
        if event.metadata().target() == "script" {
            let (dim, plain) = if colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
            writeln!(line, "    {dim}{}{plain} {}", said.script, said.words)?;
        } else {
            self.whole.format_event(context, Writer::new(&mut line), event)?;
        }
        if said.id.is_empty() {
            return out.write_str(&line);
        }
        // What is told of a request stands beneath its line, which is written when the request is over.
        self.log.say(&said.id, line.as_bytes());
        Ok(())
    }
}

/// The request, the script, and what it said.
#[derive(Default)]
struct Said {
    id: String,
    script: String,
    words: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "id" => value.clone_into(&mut self.id),
            "script" => value.clone_into(&mut self.script),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.words = format!("{value:?}");
        }
    }
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
        if !self.text.is_empty() {
            self.log.push(&self.text);
        }
    }
}

struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
    }
}
