//! What one run of a script shows: its exit, its output, its last words.

use std::path::{Path, PathBuf};

use super::facts::{FileFacts, Limit, RunFacts, Trouble};
use super::program::Program;
use super::{Cause, Diagnosis, file, stdlib, words};
use crate::gateway::{Fault, HeadError, describe};
use crate::spawner::Ending;

/// Longest piece of a script's words that is quoted, octets.
const QUOTED: usize = 160;

/// What the run shows, the likeliest first; what only says how it ended stands alone.
pub fn diagnose(file: Option<&FileFacts>, run: &RunFacts<'_>) -> Vec<Diagnosis> {
    let name = file.map(|file| words::path(&file.file)).unwrap_or_default();
    let mut all = Vec::new();
    if let Some((key, value)) = limit(run) {
        let facts = [("file", &*name), ("key", value.key), ("value", &value.value), ("more", &value.more)];
        debug_assert_eq!(key, value.key);
        all.push(Cause::KilledByLimit.because(&facts));
    }
    if let Some(file) = file {
        all.extend(last_words(file, run));
    }
    all.extend(wording(file, &name, run));
    if all.is_empty() {
        all.extend(end(&name, run));
    }
    all
}

/// The limit that the program ran into.
fn limit<'a>(run: &RunFacts<'a>) -> Option<(&'static str, &'a Limit)> {
    let limits: &'a [Limit] = run.limits;
    let set = |key: &'static str| limits.iter().find(|limit| limit.key == key).map(|limit| (key, limit));
    match (&run.trouble, run.ending) {
        (Trouble::Timeout(key), _) | (Trouble::Body(Fault::TimedOut { key }), _) => return set(key),
        (Trouble::Head(HeadError::TooLarge), _) => {
            let lines = run.output.iter().filter(|&&b| b == b'\n').count();
            let fields =
                set("head-fields").filter(|(_, limit)| limit.value.parse().is_ok_and(|most: usize| lines >= most));
            return fields.or_else(|| set("head-size"));
        }
        (_, Some(Ending::Signalled { signal: libc::SIGXCPU, .. })) => return set("cpu"),
        (_, Some(Ending::Signalled { signal: libc::SIGXFSZ, .. })) => return set("file-size"),
        // One second behind SIGXCPU comes SIGKILL, for those that do not listen.
        (_, Some(Ending::Signalled { signal: libc::SIGKILL, usage })) if usage.cpu.as_secs() >= 1 => {
            if let Some(cpu) = set("cpu") {
                return Some(cpu);
            }
        }
        _ => {}
    }
    let says = |words: &[&str]| words.iter().any(|word| find(run.stderr, word.as_bytes()));
    let table: [(&[&str], &'static str); 4] = [
        (&["MemoryError", "Cannot allocate memory", "Out of memory", "out of memory", "bad_alloc"], "memory"),
        (&["File too large"], "file-size"),
        (&["Too many open files"], "open-files"),
        (&["Cannot fork", "can't start new thread", "fork: retry", "Resource temporarily unavailable"], "processes"),
    ];
    table.into_iter().filter(|(sayings, _)| says(sayings)).find_map(|(_, key)| set(key))
}

/// What standard error says in the words of interpreters and libraries.
fn last_words(file: &FileFacts, run: &RunFacts<'_>) -> Vec<Diagnosis> {
    let name = words::path(&file.file);
    let text = String::from_utf8_lossy(run.stderr);
    let both = format!("{text}\n{}", String::from_utf8_lossy(run.output));
    let mut all = Vec::new();
    if text.contains("Traceback") || text.contains("SyntaxError") || text.contains("Error: ") {
        all.extend(python(file, &name, &text));
    }
    if let Some(module) = between(&text, "Can't locate ", " in @INC") {
        let module = module.trim_end_matches(".pm").replace('/', "::");
        all.push(file::dot_inc(file, &module).unwrap_or_else(|| {
            let install = format!("cpan {module}");
            missing_module(file, &name, "Perl", &module, &install)
        }));
    }
    if both.contains("force-cgi-redirect") || both.contains("cgi.force_redirect") {
        all.push(Cause::PhpForceRedirect.because(&[("file", &name)]));
    }
    let database = ["readonly database", "read-only database", "unable to open database"];
    if database.iter().any(|words| both.contains(words)) {
        all.push(denied(file, run, &name, Cause::ReadOnlyDatabase));
    } else if ["Permission denied", "PermissionError", "EACCES", "Operation not permitted"]
        .iter()
        .any(|words| text.lines().any(|line| line.contains(words) && !is_of_env(line)))
    {
        all.push(denied(file, run, &name, Cause::Permission));
    }
    if let Some(program) = not_found_by_env(&text) {
        let program = program.as_str();
        all.push(match program.strip_suffix("\\r") {
            Some(program) => Cause::CrlfShebang.because(&[("file", &name), ("program", program)]),
            None => {
                let facts =
                    [("file", &*name), ("program", program), ("instead", ""), ("better", "/usr/bin/env PROGRAM")];
                // The look at the file knows more: what is here in its place.
                let looked = file::diagnose(file).into_iter().find(|found| found.cause == Cause::InterpreterMissing);
                looked.unwrap_or_else(|| Cause::InterpreterMissing.because(&facts))
            }
        });
    }
    all
}

fn python(file: &FileFacts, name: &str, text: &str) -> Vec<Diagnosis> {
    let mut all = Vec::new();
    // The names that a traceback goes through: a standard module that is found beside the script is a shadow.
    let folder = file.file.parent().unwrap_or(Path::new("/"));
    let through = text.lines().filter_map(|line| between(line, "File \"", "\""));
    for module in through.filter_map(|path| Path::new(path).strip_prefix(folder).ok()?.to_str()?.strip_suffix(".py")) {
        all.extend(file::shadow(file, name, module));
    }
    let of_module = between(text, "module '", "'").or_else(|| between(text, "from '", "'"));
    if text.contains("has no attribute") || text.contains("cannot import name") {
        all.extend(of_module.and_then(|module| file::shadow(file, name, module)));
    }
    if let Some(module) = between(text, "No module named '", "'") {
        let top = module.split('.').next().unwrap_or(module);
        if let Some(package) = stdlib::package_for(top) {
            all.push(file::gone(file, name, top, package));
        } else if stdlib::is_python2(top) {
            let sign = format!("only that has a module \"{top}\"");
            all.push(Cause::Python2Syntax.because(&[("file", name), ("sign", &sign)]));
        } else if !stdlib::is_standard(top) {
            let python = program(file, "python3");
            all.push(missing_module(file, name, "Python", module, &format!("{python} -m pip install {top}")));
        }
    }
    let signs = [
        ("Missing parentheses in call to", "print without parentheses"),
        ("multiple exception types must be parenthesized", "\"except X, e:\""),
        ("leading zeros in decimal integer literals", "octal numbers without 0o"),
        ("name 'raw_input'", "raw_input"),
        ("name 'unicode'", "unicode"),
        ("name 'xrange'", "xrange"),
        ("has no attribute 'has_key'", "has_key"),
        ("for >>: 'builtin_function_or_method'", "print >> file"),
    ];
    if let Some((_, sign)) = signs.iter().find(|(words, _)| text.contains(words)) {
        all.push(Cause::Python2Syntax.because(&[("file", name), ("sign", sign)]));
    }
    all
}

fn program(file: &FileFacts, otherwise: &str) -> String {
    match &file.program {
        Program::Here(path) => words::path(path),
        _ => otherwise.to_owned(),
    }
}

fn missing_module(file: &FileFacts, name: &str, language: &str, module: &str, install: &str) -> Diagnosis {
    let program = program(file, language);
    Cause::ModuleMissing.because(&[
        ("file", name),
        ("language", language),
        ("module", module),
        ("program", &program),
        ("install", install),
    ])
}

fn denied(file: &FileFacts, run: &RunFacts<'_>, name: &str, cause: Cause) -> Diagnosis {
    let folder = file.folders.last().cloned().unwrap_or_default();
    let (target, stat) = run.named.first().cloned().unwrap_or(folder);
    let (target, mode, user) = (words::path(&target), file::mode(&stat), format!("user {}", file.who.name));
    let sandbox = if run.strict {
        " The sandbox is strict: only $X_STATE_DIRECTORY and writable = [..] can be written."
    } else {
        ""
    };
    cause.because(&[
        ("file", name),
        ("user", &user),
        ("username", &file.who.name),
        ("target", &target),
        ("mode", &mode),
        ("owner", &stat.owner),
        ("sandbox", sandbox),
    ])
}

/// Where a folder of PATH may not be searched, `env` says that instead.
fn is_of_env(line: &str) -> bool {
    line.contains("env: ") && ["No such file or directory", "Permission denied"].iter().any(|says| line.contains(says))
}

/// `env: ‘python’: No such file or directory`, as GNU, busybox and BSD write it.
fn not_found_by_env(text: &str) -> Option<String> {
    let line = text.lines().find(|line| is_of_env(line))?;
    let rest = line.split_once("env: ")?.1;
    let name = rest.split(": No such").next()?.split(": Permission").next()?.trim_matches(['\'', '‘', '’', '"', ' ']);
    Some(name.replace('\r', "\\r"))
}

/// What is wrong with the answer itself.
fn wording(file: Option<&FileFacts>, name: &str, run: &RunFacts<'_>) -> Option<Diagnosis> {
    // A header and its blank line, as the script's own language writes them.
    let print = match file.and_then(file::language) {
        Some("python") => r#"print("Content-Type: text/html\n")"#,
        Some("perl") => r#"print "Content-Type: text/html\n\n";"#,
        _ => r"printf 'Content-Type: text/html\n\n'",
    };
    let line = |cause: Cause, line: &str| cause.because(&[("file", name), ("line", line), ("print", print)]);
    match &run.trouble {
        Trouble::Body(Fault::TimedOut { .. }) => None,
        Trouble::Body(fault) => {
            let cause = if matches!(fault, Fault::Longer { .. }) { Cause::BodyLonger } else { Cause::BodyShorter };
            Some(cause.because(&[("file", name), ("fault", &fault.to_string())]))
        }
        Trouble::Head(HeadError::NotAField(_)) => {
            // Not the line of the error: it is cut, and escaped in another way.
            let lines = run.output.split(|&b| b == b'\n');
            let bad = lines.enumerate().find(|(_, line)| !is_field(line))?;
            let shown = words::octets(bad.1, QUOTED);
            let body = bad.0 > 0 && bad.1.first().is_some_and(|b| b"<{[#".contains(b));
            Some(line(if body { Cause::NoBlankLine } else { Cause::HeaderLineWithoutColon }, &shown))
        }
        Trouble::Head(HeadError::TooLarge) => None,
        Trouble::Head(error) => Some(Cause::BadHeader.because(&[("file", name), ("problem", &error.to_string())])),
        Trouble::NoHead(1..) if matches!(run.ending, Some(Ending::Exited { status: 0, .. })) => {
            let mut lines = run.output.split(|&b| b == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let first_is_field = lines.clone().next().is_some_and(is_field);
            let last = lines.next_back().unwrap_or_default();
            let cause = if first_is_field { Cause::NoBlankLine } else { Cause::HeaderLineWithoutColon };
            Some(line(cause, &words::octets(last, QUOTED)))
        }
        _ => None,
    }
}

fn is_field(line: &[u8]) -> bool {
    line.starts_with(b"HTTP/") || line.iter().position(|&b| b == b':').is_some_and(|at| at > 0 && line[at - 1] != b' ')
}

/// How it ended, where nothing says why.
fn end(name: &str, run: &RunFacts<'_>) -> Option<Diagnosis> {
    match (run.ending, &run.trouble) {
        (Some(Ending::Signalled { signal, .. }), _) => {
            let number = signal.to_string();
            Some(Cause::KilledBySignal.because(&[("file", name), ("signal", &number), ("meaning", meaning(signal))]))
        }
        (ending, Trouble::NoHead(octets)) => {
            let how = match ending {
                Some(ending) => describe(&ending),
                None => "closed its output".to_owned(),
            };
            let last = String::from_utf8_lossy(run.stderr);
            let last = last.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.map(|line| format!(" Its last words: \"{}\".", words::octets(line.as_bytes(), QUOTED)));
            let (octets, last) = (octets.to_string(), last.unwrap_or_default());
            Some(Cause::ExitBeforeHeader.because(&[
                ("file", name),
                ("how", &how),
                ("octets", &octets),
                ("last", &last),
            ]))
        }
        _ => None,
    }
}

fn meaning(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV: it used memory that is not its own",
        libc::SIGBUS => "SIGBUS: it used memory that is not there",
        libc::SIGABRT => "SIGABRT: it gave up by itself",
        libc::SIGFPE => "SIGFPE: it divided by zero",
        libc::SIGILL => "SIGILL: it was compiled for another processor",
        libc::SIGKILL => "SIGKILL: somebody killed it; the system does when memory runs out",
        libc::SIGTERM => "SIGTERM: somebody asked it to end",
        libc::SIGPIPE => "SIGPIPE: it wrote where nobody reads",
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGSYS => "SIGSYS: it called what the system does not let it call",
        libc::SIGXCPU => "SIGXCPU: too much processor time",
        libc::SIGXFSZ => "SIGXFSZ: it wrote too large a file",
        _ => "see signal(7)",
    }
}

/// The files that a program's last words name, for a look at their owner and mode; the databases in its folder where
/// they only say "database".
pub fn named_files(said: &[u8], folder: &Path, neighbours: &[String]) -> Vec<PathBuf> {
    let text = String::from_utf8_lossy(said);
    let mut found = Vec::new();
    let denials = ["Permission denied", "Operation not permitted", "open database", "readonly database"];
    for line in text.lines().filter(|line| denials.iter().any(|denial| line.contains(denial))) {
        let mut words = line.split(['\'', '"', '‘', '’', ' ', ':', '`']).filter(|word| word.contains('/'));
        // The script's own name stands in front of what the shell says; what it tried comes last.
        found.extend(words.next_back().map(|word| folder.join(word.trim_start_matches("./"))));
    }
    if text.contains("database") {
        let is_database = |name: &&String| [".db", ".sqlite", ".sqlite3", ".db3"].iter().any(|s| name.ends_with(s));
        found.extend(neighbours.iter().filter(is_database).map(|name| folder.join(name)));
    }
    found.truncate(4);
    found
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(behind).map(|(found, _)| found)
}

fn find(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
