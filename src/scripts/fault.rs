//! What it means for the request that a script is not there, does not start or does not answer.

use std::io;
use std::path::Path;

use http::StatusCode;

use crate::explain::Trouble;
use crate::failure::{Blame, Failure, Kind};
use crate::gateway::{self, Error, NoScript};
use crate::spawner::Step;

/// What a gateway error means for the client.
pub fn failure(error: Error, file: &Path) -> Failure {
    let file = file.display();
    match error {
        Error::TooBig => Failure::new(Kind::HeadTooLarge, "the environment is more than the kernel takes"),
        Error::BodyTooLarge => Failure::new(Kind::BodyTooLarge, "the body is over max-body"),
        Error::DiskFull => Failure::new(Kind::DiskFull, "no room to spool the body"),
        Error::Resources(error) => Failure::new(Kind::OutOfResources, error.to_string()),
        Error::NotStarted(step, errno) => not_started(step, errno, &file.to_string()),
        Error::Identity(why) => Failure::new(Kind::CannotStart, format!("{file}: {why}")),
        Error::Head(error) => Failure::new(
            if error == gateway::HeadError::TooLarge { Kind::ScriptHeadTooLarge } else { Kind::BadScriptHead },
            format!("{file}: {error}"),
        ),
        Error::NoHead(how, 0) => Failure::new(Kind::EmptyAnswer, format!("{file} {how} and wrote nothing")),
        Error::NoHead(how, octets) => {
            Failure::new(Kind::NoScriptHead, format!("{file} {how} after {octets} octets without a complete header"))
        }
        Error::Timeout(key) => Failure::new(Kind::ScriptTimeout, format!("{file} gave no header in time ({key})")),
        Error::ClientGone(why) => Failure::new(Kind::BodyBroken, format!("the body did not arrive: {why}")),
        Error::SpawnerDied => Failure::new(Kind::SpawnerDied, format!("{file}: the spawner died")),
    }
}

fn not_started(step: Step, errno: i32, file: &str) -> Failure {
    let error = io::Error::from_raw_os_error(errno);
    match errno {
        libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ETXTBSY => {
            Failure::new(Kind::OutOfResources, format!("{file}: {step:?}: {error}"))
        }
        libc::E2BIG if step == Step::Exec => Failure::new(Kind::HeadTooLarge, format!("{file}: {error}")),
        _ => Failure::new(Kind::CannotStart, format!("{file}: {step:?}: {error}{}", hint(errno))),
    }
}

/// What the bare error does not say of a program that cannot be executed.
fn hint(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => " (the file is there, so its #! line names a program that is not, or ends in CR LF)",
        libc::EACCES => " (its user may not run it or search a folder above it, or the file system is noexec)",
        libc::ENOEXEC => " (it has no #! line and is no program of this machine)",
        _ => "",
    }
}

/// What it means that there is no program, for the log and, in Python's words, for the client.
pub(super) fn no_script(why: NoScript, shown: &str) -> Failure {
    match why {
        NoScript::Missing => Failure::new(Kind::NoSuchScript, format!("no script for {shown}"))
            .with_message(format!("No such CGI script ('{shown}').")),
        NoScript::NotAFile(file) => {
            Failure::new(Kind::ScriptNotAFile, format!("{} is not a plain file", file.display()))
                .with_message(format!("CGI script is not a plain file ('{shown}')."))
        }
        NoScript::NotExecutable(file) => {
            Failure::new(Kind::NotExecutable, format!("{f} lacks the x bit: chmod +x {f}", f = file.display()))
                .with_message(format!("CGI script is not executable ('{shown}')."))
        }
        NoScript::Writable(file) => Failure::new(
            Kind::WritableByOthers,
            format!("{f} may be written by everybody: chmod o-w {f}", f = file.display()),
        ),
        NoScript::Escapes(file) => {
            Failure::new(Kind::SymlinkEscapes, format!("{} leads out of the script folder", file.display()))
        }
        NoScript::Unreadable(file, kind) => {
            let short = kind == io::ErrorKind::OutOfMemory;
            let what = if short { Kind::OutOfResources } else { Kind::CannotStart };
            Failure::new(what, format!("{}: {}", file.display(), io::Error::from(kind)))
        }
    }
}

/// The failure with the status that the operator wants for a script's own faults.
pub(super) fn blame(failure: Failure, settings: &gateway::Settings) -> Failure {
    let its_own = failure.kind.row().1 == Blame::Script || failure.kind == Kind::NotExecutable;
    let status = settings.error_status.filter(|_| its_own).and_then(|s| StatusCode::from_u16(s).ok());
    match status {
        Some(status) => Failure { refused: Some((status, failure.kind.slug())), ..failure },
        None => failure,
    }
}

/// What of an error says something about the script.
pub(super) fn trouble(error: &Error) -> Option<Trouble> {
    match error {
        Error::NotStarted(step, errno) => Some(Trouble::NotStarted(*step, *errno)),
        Error::Head(error) => Some(Trouble::Head(error.clone())),
        Error::NoHead(_, octets) => Some(Trouble::NoHead(*octets)),
        Error::Timeout(key) => Some(Trouble::Timeout(key)),
        _ => None,
    }
}
