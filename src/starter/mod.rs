//! `cgiserve new NAME`: a script that works, to begin with.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::explain::shell;

/// `cgiserve new`.
#[derive(Debug, clap::Args)]
pub struct New {
    /// The file to write: NAME.py, .pl, .sh or .php; into ./cgi-bin if there is one
    name: PathBuf,
}

/// A beginning in each language: suffix, programs that run it in order of preference, text behind the `#!` line.
const BEGINNINGS: &[(&str, &[&str], &str)] = &[
    ("py", &["python3"], include_str!("beginnings/script.py")),
    ("pl", &["perl"], include_str!("beginnings/script.pl")),
    ("sh", &["sh"], include_str!("beginnings/script.sh")),
    ("php", &["php-cgi"], include_str!("beginnings/script.php")),
];

impl New {
    /// Writes the script. 1: it could not be written, or is there already. 2: nobody knows the language.
    pub fn perform(self) -> ExitCode {
        let suffix = self.name.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        let Some((_, programs, text)) = BEGINNINGS.iter().find(|(known, ..)| *known == suffix) else {
            let _ = writeln!(io::stderr(), "cgiserve: give it a name that ends in .py, .pl, .sh or .php");
            return ExitCode::from(2);
        };
        let place = place(&self.name);
        match write(&place, programs, text) {
            Ok(()) => {
                let shown = shell(&place.display().to_string());
                let _ = writeln!(io::stdout(), "{shown} is written. Try it:\n  cgiserve run {shown}\n  cgiserve");
                ExitCode::SUCCESS
            }
            Err(error) => {
                let _ = writeln!(io::stderr(), "cgiserve: {}: {error}", place.display());
                ExitCode::FAILURE
            }
        }
    }
}

fn place(name: &Path) -> PathBuf {
    let alone = name.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    if alone && Path::new("cgi-bin").is_dir() { Path::new("cgi-bin").join(name) } else { name.to_path_buf() }
}

/// Never over a file that is there.
fn write(place: &Path, programs: &[&str], text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(place)?;
    file.write_all(format!("#!{}\n{text}", program(programs)).as_bytes())
}

/// The first of `programs` that is here, by its absolute path; the last one's usual place otherwise.
fn program(programs: &[&str]) -> String {
    let folders = ["/usr/bin", "/bin", "/usr/local/bin"];
    let found = programs.iter().find_map(|program| {
        folders.iter().map(|folder| format!("{folder}/{program}")).find(|path| Path::new(path).is_file())
    });
    found.unwrap_or_else(|| format!("/usr/bin/{}", programs.last().copied().unwrap_or("env")))
}
