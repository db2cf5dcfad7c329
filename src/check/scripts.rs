//! The programs of a route, one by one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Finding, Looked, htdocs};
use crate::explain::{self, Cause, observe, program};
use crate::rehearse::url;
use crate::route::{Pattern, Route, Scripts, Target};

/// Files of one route that are looked at, and how deep.
const FILES: usize = 20_000;
const DEPTH: usize = 16;

pub(super) fn look(
    route: &Route,
    programs: &Scripts,
    seen: &mut HashSet<PathBuf>,
    looked: &mut Vec<Looked>,
    findings: &mut Vec<Finding>,
) {
    let fixed = matches!(route.target, Target::Script(_));
    if !programs.path.exists() {
        findings.push(absent(&programs.path));
        return;
    }
    let mut files = Vec::new();
    let mut folders = Vec::new();
    if programs.path.is_dir() {
        collect(&programs.path, DEPTH, &mut files, &mut folders);
    } else {
        files.push(programs.path.clone());
    }
    // A folder that cannot be searched may hide its files from this look, too.
    for folder in folders {
        let facts = observe::folder(&folder, &programs.settings);
        findings.extend(explain::file::diagnose(&facts).into_iter().map(|found| Finding::of(folder.clone(), found)));
    }
    for file in files {
        let name = file.file_name().map(OsStr::as_bytes).unwrap_or_default();
        if let Pattern::Suffix(_, suffix) = &route.pattern
            && !fixed
            && !name.ends_with(suffix)
        {
            continue;
        }
        if !seen.insert(file.clone()) {
            continue;
        }
        one(route, programs, file, looked, findings);
    }
}

fn one(route: &Route, programs: &Scripts, file: PathBuf, looked: &mut Vec<Looked>, findings: &mut Vec<Finding>) {
    let settings = &programs.settings;
    let name = file.file_name().map(OsStr::as_bytes).unwrap_or_default().to_vec();
    if let Some(finding) = htdocs::leftover(&file, "it can be run by anybody who guesses its name") {
        findings.push(finding);
        return;
    }
    let named = |list: &[(Vec<u8>, _)]| list.iter().any(|(suffix, _): &(Vec<u8>, Vec<_>)| name.ends_with(suffix));
    let interpreted = named(&settings.interpreters);
    let executable = std::fs::metadata(&file).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    let facts = observe::file(&file, settings, interpreted);
    let head = facts.head.as_deref().unwrap_or_default();
    let kind = program::kind(head, std::env::consts::ARCH);
    // A module, a database or a picture beside the scripts is none.
    let meant = executable || interpreted || !matches!(kind, program::Kind::Plain | program::Kind::Empty);
    if !meant {
        return;
    }
    let rescued = named(&settings.fallback_interpreters);
    for diagnosis in explain::diagnose(Some(&facts), None) {
        let saved = matches!(diagnosis.cause, Cause::NotExecutable | Cause::InterpreterMissing | Cause::NoShebang);
        if !(rescued && saved) {
            findings.push(Finding::of(file.clone(), diagnosis));
        }
    }
    let plain = !name.starts_with(b"ws-") && !name.starts_with(b"hub-");
    if let Some(url) = url(route, &file) {
        looked.push(Looked { file, url, plain });
    }
}

fn absent(path: &Path) -> Finding {
    let shown = path.display().to_string();
    Finding {
        slug: "no-such-folder",
        what: format!("The configuration names {shown}, which is not here."),
        fix: "Make it, or take the route away.".to_owned(),
        command: format!("mkdir -p {}", explain::shell(&shown)),
        detail: None,
        file: path.to_path_buf(),
    }
}

/// Every plain file below `folder`, in order. Names with a dot in front are never scripts.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) {
    folders.push(folder.to_path_buf());
    for name in observe::names(folder) {
        if name.starts_with('.') || files.len() >= FILES {
            continue;
        }
        let path = folder.join(name);
        if path.is_file() {
            files.push(path);
        } else if depth > 0 && path.is_dir() && !path.is_symlink() {
            collect(&path, depth - 1, files, folders);
        }
    }
}
