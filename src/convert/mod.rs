//! `cgiserve convert`: another server's configuration as `cgiserve.toml`, with a comment for each line that is not in
//! it.

mod apache;
mod busybox;
mod commands;
mod draft;
mod lighttpd;
mod pages;
mod passwords;
mod spots;
#[cfg(test)]
mod tests;
mod verdict;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Largest configuration that is read, octets.
const MOST: u64 = 16 << 20;

/// `cgiserve convert`.
#[derive(Debug, clap::Args)]
pub struct Convert {
    /// What it is [default: guessed]
    #[arg(long, value_name = "SERVER")]
    from: Option<From>,
    /// Where to write users whose passwords stand in the configuration itself; without it nobody gets in there
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// The configuration; - is standard input. Behind --: a command line of websocketd or python -m http.server
    #[arg(required = true, trailing_var_arg = true)]
    file: Vec<String>,
}

/// Whose configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// Apache httpd.
    Apache,
    /// lighttpd.
    Lighttpd,
    /// busybox httpd.
    Busybox,
    /// A command line of websocketd or python -m http.server.
    Command,
}

impl Convert {
    /// Prints the configuration. 2: the file cannot be read, or nobody knows what it is.
    pub fn perform(self) -> ExitCode {
        let (name, text) = match self.read() {
            Ok(read) => read,
            Err(error) => return fail(&error.to_string()),
        };
        let Some(from) = self.from.or_else(|| guess(&text, &name)) else {
            return fail(&format!("{name}: whose configuration is it? Say --from"));
        };
        match self.convert(from, &text) {
            Ok(converted) => match io::stdout().write_all(converted.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            },
            Err(problem) => fail(&problem),
        }
    }

    fn convert(&self, from: From, text: &str) -> Result<String, String> {
        let file = self.htpasswd.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
        let (converted, users) = convert(from, text, file.as_deref())?;
        if let Some(file) = file.filter(|_| !users.is_empty()) {
            passwords::write(&users, &file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(converted)
    }

    fn read(&self) -> io::Result<(String, String)> {
        if self.file.len() > 1 || self.from == Some(From::Command) && !Path::new(&self.file[0]).is_file() {
            return Ok(("command line".to_owned(), commands::join(&self.file)));
        }
        let name = self.file.first().cloned().unwrap_or_default();
        let mut bytes = Vec::new();
        if name == "-" {
            io::stdin().lock().take(MOST).read_to_end(&mut bytes)?;
        } else {
            let file = std::fs::File::open(&name).map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
            file.take(MOST).read_to_end(&mut bytes)?;
        }
        Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn fail(problem: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "cgiserve: {problem}");
    ExitCode::from(2)
}

/// The configuration in `text` as `cgiserve.toml`, and the users that `htpasswd` is to hold.
///
/// # Errors
/// It is a command line that means nothing.
fn convert(from: From, text: &str, htpasswd: Option<&Path>) -> Result<(String, Vec<draft::User>), String> {
    let mut draft = match from {
        From::Apache => apache::read(text),
        From::Lighttpd => lighttpd::read(text),
        From::Busybox => busybox::read(text),
        From::Command => return Ok((commands::read(text)?, Vec::new())),
    };
    passwords::protect(&mut draft, htpasswd);
    pages::name(&mut draft);
    Ok((draft.text(), draft.users))
}

/// Whose configuration it is, by its words.
fn guess(text: &str, name: &str) -> Option<From> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first_word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if lines().any(|line| line.contains("http.server") || line.contains("websocketd")) {
        return Some(From::Command);
    }
    if lines().any(|line| line.starts_with("server.") || line.starts_with("$HTTP[") || line.starts_with("cgi.assign")) {
        return Some(From::Lighttpd);
    }
    let directives = ["scriptalias", "alias", "<directory", "<ifmodule", "<virtualhost", "<location", "setenv"];
    let more = [
        "<files",
        "<filesmatch",
        "<directorymatch",
        "redirect",
        "documentroot",
        "addhandler",
        "servername",
        "loadmodule",
        "action",
        "define",
        "<ifdefine",
        "listen",
    ];
    if lines().any(|line| directives.contains(&&*first_word(line)) || more.contains(&&*first_word(line))) {
        return Some(From::Apache);
    }
    let busybox = |line: &str| {
        ["A:", "D:", "H:", "I:", "E4", "P:", "*."].iter().any(|start| line.starts_with(start))
            || (line.starts_with('/') && line.split(':').count() == 3)
    };
    (lines().any(busybox) || name.ends_with("httpd.conf")).then_some(From::Busybox)
}

/// Whether `path` is that of one program rather than of a folder of them; by its name where it is not here.
fn is_program(path: &str) -> bool {
    let path = PathBuf::from(path.trim_end_matches('/'));
    let known = ["cgi", "pl", "py", "sh", "php", "fcgi", "rb", "exe", "lua", "tcl"];
    path.is_file() || (!path.is_dir() && path.extension().and_then(|e| e.to_str()).is_some_and(|e| known.contains(&e)))
}
