//! What a failed request leaves behind, until somebody turns it into a [`Story`].

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::facts::{self, RunFacts, Trouble};
use super::{Cause, Diagnosis, Story, diagnose, nearest, observe, run, words};
use crate::gateway::{Context, Settings, describe};
use crate::spawner::{Ending, Sandbox};

/// How long the last of standard error, and the exit, are waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// Names that are proposed in place of one that does not exist.
const PROPOSED: usize = 3;

/// Where to look for the cause of a failure.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The path of the URL that names the script, or does not.
    pub script: String,
    /// The file; where there is none, the one that was looked for.
    pub file: PathBuf,
    /// How the route's scripts run.
    pub settings: Arc<Settings>,
    /// Whether the configuration names the program that runs it.
    pub interpreted: bool,
    /// Nothing is there.
    pub missing: bool,
    /// The run, if it came to one.
    pub run: Option<Run>,
}

/// One run of a script.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the gateway saw.
    pub trouble: Trouble,
    /// What it kept.
    pub context: Arc<Context>,
    /// The script's arguments.
    pub argv: Vec<CString>,
    /// The folder it ran in.
    pub folder: CString,
    /// `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// The header of its answer as it was understood, where it was.
    pub head: Vec<String>,
    /// From its start to the failure, or to the end of its header.
    pub took: Duration,
}

impl Evidence {
    /// What happened, as far as it can be found out.
    pub async fn story(self: Arc<Self>) -> Story {
        if let Some(run) = &self.run {
            // A script that was ended because it took too long is still ending; its last words are there already.
            let record = &run.context.record;
            tokio::join!(record.stderr.settled(PATIENCE), record.over(PATIENCE));
        }
        let this = self.clone();
        match tokio::task::spawn_blocking(move || this.judge()).await {
            Ok(story) => story,
            Err(_) => Story { script: self.script.clone(), ..Story::default() },
        }
    }

    fn judge(&self) -> Story {
        let mut story = Story { script: self.script.clone(), ..Story::default() };
        if self.missing {
            story.causes.push(self.no_such_script());
            let facts = observe::file(&self.file, &self.settings, true);
            story.causes.extend(diagnose(Some(&facts), None));
            return story;
        }
        let facts = observe::file(&self.file, &self.settings, self.interpreted);
        let Some(run) = &self.run else {
            story.causes = diagnose(Some(&facts), None);
            return story;
        };
        let record = &run.context.record;
        let (stderr, output, ending) = (record.stderr.text(), record.refused_output(), record.ending());
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        let said = [stderr.as_slice(), b"\n", &output].concat();
        let named = observe::stats(run::named_files(&said, folder, &facts.neighbours));
        let limits = facts::limits(&self.settings);
        let trouble = match (&run.trouble, record.body_fault()) {
            (Trouble::None, Some(fault)) => Trouble::Body(fault),
            (trouble, _) => trouble.clone(),
        };
        // The server ends what it refuses; that signal is not the cause.
        let ours = matches!(trouble, Trouble::Head(_) | Trouble::Timeout(_) | Trouble::Body(_))
            && matches!(ending, Some(Ending::Signalled { signal: libc::SIGTERM | libc::SIGKILL, .. }));
        let healthy =
            matches!(trouble, Trouble::None) && matches!(ending, Some(Ending::Exited { status: 0, .. }) | None);
        if !healthy {
            let seen = RunFacts {
                trouble,
                ending: ending.filter(|_| !ours),
                output: &output,
                stderr: &stderr,
                limits: &limits,
                strict: matches!(self.settings.sandbox, Sandbox::Strict { .. }),
                named: &named,
            };
            story.causes = diagnose(Some(&facts), Some(&seen));
        }
        let text = |words: &CString| String::from_utf8_lossy(words.to_bytes()).into_owned();
        story.argv = run.argv.iter().map(text).collect();
        story.folder = text(&run.folder);
        story.environment = observe::variables(&run.environment);
        story.head = run.head.clone();
        story.took = run.took;
        story.exit = match ending {
            Some(_) if ours => Some("was ended by this server".to_owned()),
            ending => ending.map(|ending| describe(&ending)),
        };
        story.usage = ending.and_then(|ending| match ending {
            Ending::Exited { usage, .. } | Ending::Signalled { usage, .. } => Some(usage),
            _ => None,
        });
        story.set_stderr(&stderr);
        story.set_output(&output);
        story
    }

    /// That nothing is there, and what is nearly.
    fn no_such_script(&self) -> Diagnosis {
        let folder = self.file.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let wanted = self.file.strip_prefix(folder).ok().and_then(|rest| rest.components().next());
        let wanted = wanted.map(|name| name.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
        let names = observe::names(folder);
        let names = names.iter().map(String::as_str).filter(|name| !name.starts_with('.'));
        let near = match nearest::nearest(&wanted, names, PROPOSED).as_slice() {
            [] => String::new(),
            near => format!(" Nearest: {}.", near.join(", ")),
        };
        let (file, folder) = (words::path(&self.file), words::path(folder));
        Cause::NoSuchScript.because(&[("file", &file), ("near", &near), ("folder", &folder)])
    }
}
