//! "Why 500?": one catalogue of causes, and the pure decision which of them it was.
//!
//! The same words stand on the explaining page, in the log, and in what `cgiserve check` and `cgiserve run` say.
//!
//! ```text
//!  observe (the file, the folders above it, its interpreter) ─► FileFacts ─► file::diagnose ─┐
//!  the gateway (exit, output, standard error)                ─► RunFacts  ─► run::diagnose  ─┴► Vec<Diagnosis>
//! ```

pub mod catalogue;
pub mod evidence;
pub mod facts;
pub mod file;
pub mod nearest;
pub mod observe;
pub mod page;
pub mod program;
pub mod run;
pub mod secrets;
mod stdlib;
pub mod story;
#[cfg(test)]
mod tests;
mod words;

pub use catalogue::{Cause, Diagnosis};
pub use evidence::{Evidence, Run};
pub use facts::{FileFacts, RunFacts, Stat, Trouble, Who};
pub use story::Story;
pub use words::{shell, shown};

/// Every cause that the facts show, the likeliest first; at most one of each kind.
pub fn diagnose(file: Option<&FileFacts>, run: Option<&RunFacts<'_>>) -> Vec<Diagnosis> {
    let certain = file.map(file::diagnose).unwrap_or_default();
    let suspicions = file.map(file::suspicions).unwrap_or_default();
    let shown = run.map(|run| run::diagnose(file, run)).unwrap_or_default();
    // How it ended says least, and what the text makes likely is only that.
    let (end, shown): (Vec<_>, Vec<_>) =
        shown.into_iter().partition(|d| matches!(d.cause, Cause::ExitBeforeHeader | Cause::KilledBySignal));
    let mut all: Vec<Diagnosis> = match run.map(|run| &run.trouble) {
        None | Some(Trouble::NotStarted(..)) => certain.into_iter().chain(shown).collect(),
        Some(_) => shown.into_iter().chain(certain).collect(),
    };
    all.extend(end);
    all.extend(suspicions);
    let mut known = Vec::new();
    all.retain(|diagnosis| {
        let new = !known.contains(&diagnosis.cause);
        known.push(diagnosis.cause);
        new
    });
    all
}
