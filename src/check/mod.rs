//! `cgiserve check`: every problem of the catalogue that can be seen without a client, before one sees it.

mod fix;
mod greeting;
mod htdocs;
mod scripts;

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config, Flags};
use crate::explain::Diagnosis;
use crate::rehearse::{Answer, Request, host};
use crate::route::Target;
use crate::server::rehearsal::{Rehearsal, rehearse};

pub use greeting::greeting;

/// `cgiserve check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The folder that is served [default: .]
    directory: Option<PathBuf>,
    /// Configuration file [default: DIR/cgiserve.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also ask every script for a page (GET, no query) and look at its answer
    #[arg(long)]
    run: bool,
    /// One JSON object for all
    #[arg(long)]
    json: bool,
    /// Set x bits and turn CR LF into LF, where that is what is wrong; shows the change and asks first
    #[arg(long)]
    fix: bool,
    /// Do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Finding {
    /// The file or folder.
    pub file: PathBuf,
    /// The word for it: of the catalogue, or of what does not belong into a document root.
    pub slug: &'static str,
    /// What it is.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// The command to copy.
    pub command: String,
    /// The first octets of a file that is no program.
    pub detail: Option<String>,
}

/// A script that was looked at.
#[derive(Debug)]
struct Looked {
    file: PathBuf,
    url: String,
    /// Whether it answers GET at all: it is no WebSocket.
    plain: bool,
}

impl Finding {
    fn of(file: PathBuf, diagnosis: Diagnosis) -> Self {
        let Diagnosis { cause, what, fix, command, detail } = diagnosis;
        Self { file, slug: cause.slug(), what, fix, command, detail }
    }
}

impl Check {
    /// Looks, prints, fixes. 0: nothing is wrong. 1: something is. 2: the configuration is, so nothing else was
    /// looked at.
    pub fn perform(self) -> ExitCode {
        let flags = Flags { directory: self.directory.clone(), config: self.config.clone(), ..Flags::default() };
        let config = match config::resolve(&flags) {
            Ok(config) => config,
            Err(problems) => {
                let _ = writeln!(io::stderr(), "{problems}");
                return ExitCode::from(2);
            }
        };
        let mut looked = Vec::new();
        let mut findings = look(&config, &mut looked);
        let count = looked.len();
        if self.run {
            match run(config, looked, &mut findings) {
                Ok(()) => {}
                Err(error) => {
                    let _ = writeln!(io::stderr(), "cgiserve: {error}");
                    return ExitCode::from(2);
                }
            }
        }
        let mut out = io::stdout().lock();
        let printed = if self.json { json(&findings, count, &mut out) } else { text(&findings, count, &mut out) };
        let mut left = findings.len();
        if self.fix && printed.is_ok() {
            match fix::all(&findings, self.yes, io::stdin().is_terminal(), &mut out) {
                Ok(fixed) => left -= fixed,
                Err(error) => drop(writeln!(io::stderr(), "cgiserve: {error}")),
            }
        }
        if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Everything that can be seen without running anything.
fn look(config: &Config, looked: &mut Vec<Looked>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = HashSet::new();
    for route in &config.routes {
        match &route.target {
            // Without a configuration nobody names Python's folders; one that is not here is not missed.
            Target::Scripts(programs) if config.file.is_none() && !programs.path.exists() => {}
            Target::Scripts(programs) | Target::Script(programs) => {
                scripts::look(route, programs, &mut seen, looked, &mut findings);
            }
            Target::Files(files) => htdocs::look(files.tree.options(), &mut seen, &mut findings),
            Target::Redirect(..) | Target::Builtin(_) | Target::Status(_) => {}
        }
    }
    // What is wrong with a folder is wrong for every file in it, and told once.
    let mut told = HashSet::new();
    findings.retain(|finding| told.insert((finding.slug, finding.what.clone())));
    findings
}

/// Asks every script for a page; a finding that was seen before is not told twice.
fn run(config: Config, scripts: Vec<Looked>, findings: &mut Vec<Finding>) -> io::Result<()> {
    let host = host(&config);
    let asked = rehearse(config, async |rehearsal: &Rehearsal| -> io::Result<Vec<Finding>> {
        let mut found = Vec::new();
        for script in scripts.iter().filter(|script| script.plain) {
            let request = Request::get(Vec::new()).bytes(&script.url, &host).map_err(io::Error::other)?;
            let answer = rehearsal.ask(&request).await.and_then(|answer| Answer::parse(&answer, false));
            let mut explained = false;
            for evidence in rehearsal.seen() {
                for diagnosis in evidence.story().await.causes {
                    explained = true;
                    found.push(Finding::of(script.file.clone(), diagnosis));
                }
            }
            match answer {
                Ok(answer) if explained || (answer.status < 500 && answer.complete) => {}
                Ok(answer) => found.push(unexplained(script, &format!("the answer was {}", answer.status))),
                Err(_) if explained => {}
                Err(error) => found.push(unexplained(script, &error.to_string())),
            }
        }
        Ok(found)
    })??;
    for finding in asked {
        if !findings
            .iter()
            .any(|known| known.slug == finding.slug && (known.file == finding.file || known.what == finding.what))
        {
            findings.push(finding);
        }
    }
    Ok(())
}

fn unexplained(script: &Looked, what: &str) -> Finding {
    let file = script.file.display().to_string();
    Finding {
        slug: "failed",
        what: format!("GET {} failed: {what}.", script.url),
        fix: "See what it does.".to_owned(),
        command: format!("cgiserve run -v {}", crate::explain::shell(&file)),
        detail: None,
        file: script.file.clone(),
    }
}

fn text(findings: &[Finding], scripts: usize, out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{}: {}", finding.slug, finding.what)?;
        if let Some(detail) = &finding.detail {
            writeln!(out, "    {detail}")?;
        }
        writeln!(out, "    {}\n    $ {}\n", finding.fix, finding.command)?;
    }
    let scripts = if scripts == 1 { "1 script".to_owned() } else { format!("{scripts} scripts") };
    match findings.len() {
        0 => writeln!(out, "{scripts}, nothing to complain about"),
        1 => writeln!(out, "{scripts}, 1 problem"),
        n => writeln!(out, "{scripts}, {n} problems"),
    }
}

fn json(findings: &[Finding], scripts: usize, out: &mut impl Write) -> io::Result<()> {
    let all: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "file": finding.file.to_string_lossy(), "cause": finding.slug, "what": finding.what,
                "fix": finding.fix, "command": finding.command, "detail": finding.detail,
            })
        })
        .collect();
    writeln!(out, "{}", serde_json::json!({ "scripts": scripts, "problems": all }))
}
