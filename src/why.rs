//! `cgiserve why ID`: what the log says of one request.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Flags};

/// Octets of a line that are looked at; a log has none that is longer, another file may.
const LINE: u64 = 1 << 20;

/// `cgiserve why`.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// The request's id, as it stands on the error page
    id: String,
    /// The log; - is standard input (journalctl -u cgiserve | cgiserve why ID --log-file -)
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// The folder that is served [default: .]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Configuration file [default: DIR/cgiserve.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Why {
    /// Prints the lines of the request. 1: there are none. 2: there is no log.
    pub fn perform(self) -> ExitCode {
        match self.search(&mut io::stdout().lock()) {
            Ok(0) => {
                let _ = writeln!(io::stderr(), "cgiserve: the log says nothing of {}", self.id);
                ExitCode::FAILURE
            }
            Ok(_) => ExitCode::SUCCESS,
            Err(problem) => {
                let _ = writeln!(io::stderr(), "cgiserve: {problem}");
                ExitCode::from(2)
            }
        }
    }

    fn search(&self, out: &mut impl Write) -> Result<usize, String> {
        let file = match &self.log_file {
            Some(file) => file.clone(),
            None => self.configured()?,
        };
        let found = if file.as_os_str() == "-" {
            lines(io::stdin().lock(), &self.id, out)
        } else {
            File::open(&file).and_then(|log| lines(BufReader::new(log), &self.id, out))
        };
        found.map_err(|error| format!("{}: {error}", file.display()))
    }

    fn configured(&self) -> Result<PathBuf, String> {
        let flags = Flags { directory: self.directory.clone(), config: self.config.clone(), ..Flags::default() };
        let config = config::resolve(&flags).map_err(|problems| problems.to_string())?;
        config.log_file.ok_or_else(|| {
            "no log.file is configured, so the log went to standard error; say where that went: --log-file FILE".into()
        })
    }
}

/// Copies every line that holds `id` as a word; how many.
fn lines(mut log: impl BufRead, id: &str, out: &mut impl Write) -> io::Result<usize> {
    let mut found = 0;
    let mut line = Vec::new();
    while io::Read::take(&mut log, LINE).read_until(b'\n', &mut line)? > 0 {
        if holds(&line, id.as_bytes()) {
            found += 1;
            out.write_all(line.trim_ascii_end())?;
            out.write_all(b"\n")?;
        }
        line.clear();
    }
    Ok(found)
}

fn holds(line: &[u8], id: &[u8]) -> bool {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-');
    !id.is_empty()
        && line.windows(id.len()).enumerate().any(|(at, window)| {
            window == id && !part(at.checked_sub(1).and_then(|at| line.get(at))) && !part(line.get(at + id.len()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_that_request_are_shown() {
        let log = "ERROR id=\"7f-1\" one\nERROR id=\"7f-12\" two\nINFO id=\"17f-1\" three\n7f-1 four\n";
        let mut out = Vec::new();
        assert_eq!(lines(log.as_bytes(), "7f-1", &mut out).unwrap(), 2);
        assert_eq!(String::from_utf8(out).unwrap(), "ERROR id=\"7f-1\" one\n7f-1 four\n");
    }
}
