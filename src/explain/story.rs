//! Everything that can be told of a failed script: for the page, the log, `cgiserve run`.

use std::time::Duration;

use super::{Diagnosis, secrets, words};

/// Lines of a refused answer that are shown.
const LINES: usize = 20;

/// A failure in full.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// SCRIPT_NAME, or the path that named no script.
    pub script: String,
    /// What it was, the likeliest first.
    pub causes: Vec<Diagnosis>,
    /// How the program ended: "exited with status 1".
    pub exit: Option<String>,
    /// Its arguments, the program first.
    pub argv: Vec<String>,
    /// The folder it ran in.
    pub folder: String,
    /// Its environment, secrets masked.
    pub environment: Vec<(String, String)>,
    /// The last of its standard error.
    pub stderr: String,
    /// The first lines of its refused answer.
    pub output: Vec<String>,
    /// The header of its answer as it was understood, where it was.
    pub head: Vec<String>,
    /// From its start to the failure, or to the end of its header.
    pub took: Duration,
    /// Processor time and largest memory, where it ran to its end.
    pub usage: Option<crate::spawner::Usage>,
}

impl Story {
    /// One line for the log: the likeliest cause.
    pub fn line(&self) -> Option<(&'static str, String)> {
        self.causes.first().map(|diagnosis| (diagnosis.cause.slug(), diagnosis.line()))
    }

    /// The first lines of an answer, control characters shown, values of cookies and the like masked.
    pub fn set_output(&mut self, octets: &[u8]) {
        let lines = octets.split_inclusive(|&b| b == b'\n').take(LINES);
        self.output = lines
            .map(|line| {
                let text = words::octets(line.strip_suffix(b"\n").unwrap_or(line), 500);
                match text.split_once(':') {
                    Some((name, value)) if !name.contains(' ') => {
                        format!("{name}:{}", secrets::masked(name, value))
                    }
                    _ => text,
                }
            })
            .collect();
    }

    /// Standard error as text, line ends kept.
    pub fn set_stderr(&mut self, octets: &[u8]) {
        let lines: Vec<String> = octets.split(|&b| b == b'\n').map(|line| words::octets(line, line.len())).collect();
        self.stderr = lines.join("\n");
    }
}
