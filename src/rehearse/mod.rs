//! `cgiserve run` and `cgiserve env`: one request for one script, on the very path that the server's requests take.

mod answer;
mod place;
mod request;
mod tell;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Config, Flags};
use crate::server::rehearsal::{Rehearsal, rehearse};

pub use answer::Answer;
pub(crate) use place::url;
pub use request::Request;

/// Where the script is, and which configuration holds for it.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The script: its file, or the path of its URL
    script: String,
    /// The folder that is served [default: the one whose cgi-bin holds the script, or .]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Configuration file [default: DIR/cgiserve.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Python's habits, as for the server
    #[arg(long)]
    python_compat: bool,
}

/// `cgiserve run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    request: Request,
    /// Also show environment, header as understood, standard error, exit and times
    #[arg(short, long)]
    verbose: bool,
}

/// `cgiserve env`.
#[derive(Debug, clap::Args)]
pub struct Env {
    #[command(flatten)]
    place: Place,
    /// The URL that is asked for [default: that of the script]
    url: Option<String>,
    /// A header field of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

impl Place {
    fn flags(&self) -> Flags {
        Flags {
            directory: self.directory.clone(),
            config: self.config.clone(),
            python_compat: self.python_compat,
            ..Flags::default()
        }
    }
}

impl Run {
    /// Runs the script and prints its answer. 0: all is well. 1: it is not. 2: it could not be tried.
    pub fn perform(self) -> ExitCode {
        let (config, url) = match place::find(&self.place.script, self.place.flags()) {
            Ok(found) => found,
            Err(problem) => return fail(&problem),
        };
        let bytes = match self.request.bytes(&url, &host(&config)) {
            Ok(bytes) => bytes,
            Err(problem) => return fail(&problem),
        };
        let head = self.request.is_head();
        let outcome = rehearse(config, async |rehearsal: &Rehearsal| -> io::Result<bool> {
            let answer = Answer::parse(&rehearsal.ask(&bytes).await?, head).unwrap_or_default();
            let mut stories = Vec::new();
            for evidence in rehearsal.seen() {
                stories.push(evidence.story().await);
            }
            let own = stories.iter().all(|story| story.causes.is_empty() || !story.head.is_empty());
            tell::answer(&answer, own, &mut io::stdout().lock())?;
            tell::stories(&stories, self.verbose, &mut io::stderr().lock())?;
            let well = answer.complete && answer.status < 500;
            Ok(well && stories.iter().all(|story| story.causes.is_empty()))
        });
        match outcome.and_then(|well| well) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error.to_string()),
        }
    }
}

impl Env {
    /// Prints the variables that the script would see, without running it.
    pub fn perform(self) -> ExitCode {
        let (config, own) = match place::find(&self.place.script, self.place.flags()) {
            Ok(found) => found,
            Err(problem) => return fail(&problem),
        };
        let mut authority = host(&config);
        let mut target = own;
        if let Some(url) = &self.url {
            target = match url.split_once("://") {
                None => url.clone(),
                Some((_, rest)) => {
                    let at = rest.find('/').unwrap_or(rest.len());
                    authority = rest[..at].to_owned();
                    if at < rest.len() { rest[at..].to_owned() } else { target }
                }
            };
        }
        let request = Request::get(self.headers.clone());
        let bytes = match request.bytes(&target, &authority) {
            Ok(bytes) => bytes,
            Err(problem) => return fail(&problem),
        };
        let outcome = rehearse(config, async |rehearsal: &Rehearsal| -> io::Result<bool> {
            rehearsal.only_look();
            rehearsal.ask(&bytes).await?;
            let mut out = io::stdout().lock();
            let seen = rehearsal.seen();
            let run = seen.iter().find_map(|evidence| evidence.run.as_ref());
            for variable in run.iter().flat_map(|run| &run.environment) {
                out.write_all(variable.to_bytes())?;
                out.write_all(b"\n")?;
            }
            for evidence in seen.iter().filter(|evidence| evidence.run.is_none()) {
                let story = evidence.clone().story().await;
                tell::stories(&[story], false, &mut io::stderr().lock())?;
            }
            Ok(run.is_some())
        });
        match outcome.and_then(|found| found) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => fail(&format!("no script answers {target}")),
            Err(error) => fail(&error.to_string()),
        }
    }
}

/// The Host field of a client on this machine.
pub(crate) fn host(config: &Config) -> String {
    let port = config.listen.iter().find_map(|listen| match listen {
        crate::config::Listen::Tcp(address) => Some(address.port()),
        crate::config::Listen::Unix(_) => None,
    });
    match (config.hosts.first(), port.filter(|&port| port != 0)) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.clone(),
        (None, Some(port)) => format!("127.0.0.1:{port}"),
        (None, None) => "127.0.0.1".to_owned(),
    }
}

fn fail(problem: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "cgiserve: {problem}");
    ExitCode::from(2)
}
