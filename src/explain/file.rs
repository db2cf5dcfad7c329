//! What a script's file shows without being run.

use std::path::Path;

use super::facts::{FileFacts, Right, Stat};
use super::program::{self, Kind, Program, Shebang};
use super::{Cause, Diagnosis, stdlib, words};

/// How much of a file that is no program is shown to its author, octets.
const SHOWN: usize = 16;

/// What keeps the file from running, for certain.
pub fn diagnose(facts: &FileFacts) -> Vec<Diagnosis> {
    let mut all = Vec::new();
    let file = words::path(&facts.file);
    let user = format!("user {}", facts.who.name);
    let right = |cause: Cause, key: &str, path: &Path, stat: &Stat| {
        let (path, mode) = (words::path(path), mode(stat));
        cause.because(&[
            ("file", &file),
            (key, &path),
            ("user", &user),
            ("username", &facts.who.name),
            ("mode", &mode),
            ("owner", &stat.owner),
            ("sandbox", ""),
        ])
    };
    for (folder, stat) in &facts.folders {
        if !facts.who.may(Right::Execute, stat) {
            all.push(right(Cause::FolderNotSearchable, "folder", folder, stat));
        }
    }
    let Some(stat) = &facts.stat else { return all };
    if stat.folder {
        return all;
    }
    if !facts.interpreted && !facts.who.may(Right::Execute, stat) {
        all.push(right(Cause::NotExecutable, "file", &facts.file, stat));
    }
    if facts.refuse_writable && stat.mode & 0o002 != 0 {
        all.push(right(Cause::WritableByOthers, "file", &facts.file, stat));
    }
    if let Some(mount) = facts.noexec.as_ref().filter(|_| !facts.interpreted) {
        let mount = words::path(mount);
        all.push(Cause::NoexecMount.because(&[("file", &file), ("mount", &mount)]));
    }
    let Some(head) = &facts.head else { return all };
    let kind = program::kind(head, std::env::consts::ARCH);
    let needs_reading = facts.interpreted || matches!(kind, Kind::Script(_));
    if needs_reading && !facts.who.may(Right::Read, stat) {
        all.push(right(Cause::Permission, "target", &facts.file, stat));
    }
    if !facts.interpreted {
        all.extend(unrunnable(facts, &file, head, &kind));
    }
    all
}

fn unrunnable(facts: &FileFacts, file: &str, head: &[u8], kind: &Kind) -> Option<Diagnosis> {
    match kind {
        Kind::Script(Shebang { program, by_env, crlf: true, .. }) => {
            let program = String::from_utf8_lossy(by_env.as_ref().unwrap_or(program)).into_owned();
            Some(Cause::CrlfShebang.because(&[("file", file), ("program", &program)]))
        }
        Kind::Script(shebang) => missing(facts, file, &shebang.rest, shebang.by_env.is_some()),
        Kind::Native(_) => missing(facts, file, b"", true),
        Kind::Late(before) => Some(Cause::BomBeforeShebang.because(&[("file", file), ("before", before)])),
        Kind::Foreign(theirs) => {
            let ours = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
            Some(Cause::WrongArchitecture.because(&[("file", file), ("theirs", theirs), ("ours", &ours)]))
        }
        Kind::Plain | Kind::Empty => {
            let better = guess(&facts.file, head);
            let mut diagnosis = Cause::NoShebang.because(&[("file", file), ("better", better)]);
            diagnosis.detail = Some(match kind {
                Kind::Empty => "The file is empty.".to_owned(),
                _ => format!("It begins with \"{}\".", words::octets(head, SHOWN)),
            });
            Some(diagnosis)
        }
    }
}

fn missing(facts: &FileFacts, file: &str, rest: &[u8], drop_rest: bool) -> Option<Diagnosis> {
    let Program::Missing(program, found) = &facts.program else { return None };
    let instead = match found.as_slice() {
        [] => " Nothing like it was found.".to_owned(),
        found => {
            let names: Vec<String> = found.iter().map(|path| words::path(path)).collect();
            format!(" Here is {}.", names.join(", "))
        }
    };
    let mut better = found.first().map_or_else(|| "/usr/bin/env PROGRAM".to_owned(), |path| words::path(path));
    if !drop_rest && !rest.is_empty() {
        better = format!("{better} {}", words::octets(rest, 80));
    }
    let facts = [("file", file), ("program", program), ("instead", &instead), ("better", &better)];
    Some(Cause::InterpreterMissing.because(&facts))
}

/// The `#!` that a file without one probably wants.
fn guess(file: &Path, head: &[u8]) -> &'static str {
    match file.extension().and_then(|suffix| suffix.to_str()) {
        Some("py") => "/usr/bin/env python3",
        Some("pl" | "cgi") if head.windows(10).any(|w| w == b"use strict") => "/usr/bin/perl",
        Some("pl") => "/usr/bin/perl",
        Some("php") => "/usr/bin/php-cgi",
        Some("rb") => "/usr/bin/env ruby",
        _ if head.starts_with(b"import ") || head.starts_with(b"from ") => "/usr/bin/env python3",
        _ if head.starts_with(b"<?php") => "/usr/bin/php-cgi",
        _ => "/bin/sh",
    }
}

/// What the text of a Python or Perl script makes likely; only a run can tell for certain.
pub fn suspicions(facts: &FileFacts) -> Vec<Diagnosis> {
    let Some(head) = &facts.head else { return Vec::new() };
    let text = String::from_utf8_lossy(head);
    match language(facts) {
        Some("python") => python(facts, &text),
        Some("perl") => perl(facts, &text).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The language of a script, by what runs it or by its suffix.
pub(super) fn language(facts: &FileFacts) -> Option<&'static str> {
    let head = facts.head.as_deref().unwrap_or_default();
    let name = match program::kind(head, std::env::consts::ARCH) {
        Kind::Script(Shebang { by_env: Some(name), .. }) => name,
        Kind::Script(Shebang { program, .. }) => program,
        _ => facts.file.extension().map(|suffix| suffix.as_encoded_bytes().to_vec()).unwrap_or_default(),
    };
    let name = String::from_utf8_lossy(&name).into_owned();
    let base = name.rsplit('/').next().unwrap_or_default();
    if base.starts_with("python") || base == "py" {
        Some("python")
    } else if base.starts_with("perl") || base == "pl" {
        Some("perl")
    } else {
        None
    }
}

fn python(facts: &FileFacts, text: &str) -> Vec<Diagnosis> {
    let file = words::path(&facts.file);
    let mut all = Vec::new();
    let version = version(&facts.program);
    let folder = facts.file.parent().unwrap_or(Path::new("/"));
    let helpers =
        facts.helpers.iter().map(|(name, head)| (words::path(&folder.join(name)), String::from_utf8_lossy(head)));
    for (file, text) in std::iter::once((file.clone(), text.into())).chain(helpers) {
        for module in text.lines().flat_map(imports) {
            if let Some(shadow) = shadow(facts, &file, module) {
                all.push(shadow);
            } else if let Some(package) = stdlib::package_for(module).filter(|_| version.is_some_and(|v| v >= (3, 13)))
            {
                all.push(gone(facts, &file, module, package));
            }
        }
    }
    let old = |line: &&str| {
        let line = line.trim_start();
        ["print \"", "print '", "print >>", "exec \""].iter().any(|start| line.starts_with(start))
            || (line.starts_with("except ") && line.contains(", ") && !line.contains('(') && line.ends_with(':'))
    };
    if version.is_none_or(|v| v >= (3, 0))
        && !is_python2(facts)
        && let Some((n, _)) = text.lines().enumerate().find(|(_, line)| old(line))
    {
        let sign = format!("line {} is in the syntax of Python 2", n + 1);
        all.push(Cause::Python2Syntax.because(&[("file", &file), ("sign", &sign)]));
    }
    all
}

fn is_python2(facts: &FileFacts) -> bool {
    let first = facts.head.as_deref().unwrap_or_default().split(|&b| b == b'\n').next().unwrap_or_default();
    first.windows(7).any(|w| w == b"python2")
}

/// That `module` is carried on by `package`.
pub(super) fn gone(facts: &FileFacts, file: &str, module: &str, package: &str) -> Diagnosis {
    let python = match &facts.program {
        Program::Here(path) => words::path(path),
        _ => "python3".to_owned(),
    };
    let facts = [("file", file), ("module", module), ("package", package), ("python", &python)];
    Cause::PythonCgiModuleGone.because(&facts)
}

/// The next module beside a Python script that it, or one that is known, imports.
pub(super) fn next_helper(facts: &FileFacts) -> Option<String> {
    let head = facts.head.as_ref().filter(|_| language(facts) == Some("python"))?;
    std::iter::once(head).chain(facts.helpers.iter().map(|(_, head)| head)).find_map(|head| {
        let text = String::from_utf8_lossy(head);
        let wanted = text.lines().flat_map(imports).filter(|module| !stdlib::is_standard(module));
        let mut wanted = wanted.map(|module| format!("{module}.py"));
        wanted.find(|name| facts.neighbours.contains(name) && !facts.helpers.iter().any(|(known, _)| known == name))
    })
}

/// That a file beside the script hides the standard `module` from `importer`.
pub(super) fn shadow(facts: &FileFacts, importer: &str, module: &str) -> Option<Diagnosis> {
    let name = format!("{module}.py");
    if !stdlib::is_standard(module) || !facts.neighbours.contains(&name) {
        return None;
    }
    let folder = facts.file.parent().unwrap_or(Path::new("/"));
    let (shadow, renamed) = (words::path(&folder.join(&name)), words::path(&folder.join(format!("my_{name}"))));
    let facts = [("file", importer), ("module", module), ("shadow", &shadow), ("renamed", &renamed)];
    Some(Cause::ShadowedModule.because(&facts))
}

/// The modules that a line of Python imports, top names only.
fn imports(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    let top = |name: &'_ str| -> usize { name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len()) };
    if let Some(rest) = line.strip_prefix("from ") {
        let rest = rest.trim_start();
        return vec![&rest[..top(rest)]];
    }
    let Some(rest) = line.strip_prefix("import ") else { return Vec::new() };
    rest.split(',').map(|name| name.trim_start()).map(|name| &name[..top(name)]).collect()
}

/// The version of Python, where the name of its file tells.
fn version(program: &Program) -> Option<(u32, u32)> {
    let Program::Here(path) = program else { return None };
    let name = path.file_name()?.to_str()?.strip_prefix("python")?;
    let (major, minor) = name.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn perl(facts: &FileFacts, text: &str) -> Option<Diagnosis> {
    if text.contains("use lib") || text.lines().next().is_some_and(|first| first.contains(" -I")) {
        return None;
    }
    let wanted = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = ["use ", "require ", "do "].iter().find_map(|word| line.strip_prefix(word))?;
        let rest = rest.trim_start().trim_start_matches(['"', '\'']);
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_:.-".contains(c)).unwrap_or(rest.len());
        Some(&rest[..end])
    });
    wanted.into_iter().find_map(|module| dot_inc(facts, module))
}

/// That Perl's `module` stands beside the script, where Perl does not look.
pub(super) fn dot_inc(facts: &FileFacts, module: &str) -> Option<Diagnosis> {
    let path = module.replace("::", "/");
    let top = path.split('/').next().unwrap_or_default();
    let beside = |name: &str| facts.neighbours.iter().any(|neighbour| neighbour == name);
    let here = if path.contains('/') { beside(top) } else { beside(&path) || beside(&format!("{path}.pm")) };
    let file = words::path(&facts.file);
    (here && !top.is_empty()).then(|| Cause::PerlDotInc.because(&[("file", &file), ("module", module)]))
}

/// Permission bits as `chmod` takes them.
pub(super) fn mode(stat: &Stat) -> String {
    format!("{:04o}", stat.mode & 0o7777)
}
