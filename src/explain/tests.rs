//! Facts in, causes out.

use std::path::PathBuf;

use super::facts::{Limit, RunFacts, Stat, Trouble, Who};
use super::program::{self, Kind, Program};
use super::*;
use crate::gateway::HeadError;
use crate::spawner::{Ending, Step, Usage};

fn facts(head: &[u8]) -> FileFacts {
    let folder = Stat { mode: 0o755, owner: "root:root".into(), folder: true, ..Stat::default() };
    FileFacts {
        file: "/srv/cgi-bin/x".into(),
        stat: Some(Stat { mode: 0o755, owner: "root:root".into(), ..Stat::default() }),
        folders: vec![("/".into(), folder.clone()), ("/srv/cgi-bin".into(), folder)],
        head: Some(head.to_vec()),
        program: Program::Here("/bin/sh".into()),
        who: Who { uid: 33, gid: 33, groups: vec![33, 50], name: "www-data".into() },
        refuse_writable: true,
        ..FileFacts::default()
    }
}

/// Whether a `{name}` of the table was left as it is.
fn forgotten(line: &str) -> bool {
    let rest = line.replace("\\u{", "");
    rest.split('{').skip(1).any(|rest| rest.split('}').next().is_some_and(|name| name.chars().all(char::is_lowercase)))
}

fn first(all: &[Diagnosis]) -> &'static str {
    all.first().map_or("", |diagnosis| diagnosis.cause.slug())
}

#[test]
fn every_row_has_a_slug_of_its_own_and_no_fact_is_forgotten() {
    let mut slugs = std::collections::HashSet::new();
    for cause in Cause::ALL {
        let (slug, what, fix, command) = cause.row();
        assert!(slugs.insert(slug), "{slug} stands twice");
        assert!(fix.ends_with(['.', ')', ';']), "{slug}: {fix}");
        assert!(!command.is_empty() && what.len() > 20, "{slug}");
    }
    for fault in ["body-longer", "body-shorter", "killed-by-limit"] {
        assert!(slugs.contains(fault), "the gateway says {fault}, the catalogue does not");
    }
}

#[test]
fn what_a_file_shows() {
    type Change = fn(&mut FileFacts);
    let table: &[(&str, &[u8], Change)] = &[
        ("", b"#!/bin/sh\necho\n", |_| ()),
        ("not-executable", b"#!/bin/sh\n", |f| f.stat.as_mut().unwrap().mode = 0o644),
        ("", b"#!/bin/sh\n", |f| (f.stat.as_mut().unwrap().mode, f.interpreted) = (0o644, true)),
        ("folder-not-searchable", b"#!/bin/sh\n", |f| f.folders[1].1.mode = 0o750),
        ("", b"#!/bin/sh\n", |f| (f.folders[1].1.mode, f.folders[1].1.gid) = (0o750, 50)),
        ("writable-by-others", b"#!/bin/sh\n", |f| f.stat.as_mut().unwrap().mode = 0o777),
        ("", b"#!/bin/sh\n", |f| (f.stat.as_mut().unwrap().mode, f.refuse_writable) = (0o777, false)),
        ("noexec-mount", b"#!/bin/sh\n", |f| f.noexec = Some("/tmp".into())),
        ("interpreter-missing", b"#!/usr/bin/pyton\n", |f| {
            f.program = Program::Missing("/usr/bin/pyton".into(), vec![])
        }),
        ("crlf-shebang", b"#!/bin/sh\r\necho\r\n", |_| ()),
        ("crlf-shebang", b"#!/usr/bin/env python3\r\n", |_| ()),
        ("bom-before-shebang", b"\xef\xbb\xbf#!/bin/sh\n", |_| ()),
        ("bom-before-shebang", b"\n#!/bin/sh\n", |_| ()),
        ("no-shebang", b"echo hello\n", |_| ()),
        ("no-shebang", b"", |_| ()),
        ("", b"echo hello\n", |f| f.interpreted = true),
        ("wrong-architecture", b"MZ\x90\0", |_| ()),
        ("wrong-architecture", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x16\0", |_| ()),
        ("permission", b"#!/bin/sh\n", |f| f.stat.as_mut().unwrap().mode = 0o711),
    ];
    for (wanted, head, change) in table {
        let mut facts = facts(head);
        change(&mut facts);
        let all = diagnose(Some(&facts), None);
        assert_eq!(first(&all), *wanted, "{:?}: {all:?}", head.escape_ascii().to_string());
        assert!(all.iter().all(|d| !forgotten(&d.line())), "a fact was forgotten: {all:?}");
    }
}

#[test]
fn what_a_script_makes_likely() {
    for (wanted, head, beside) in [
        ("shadowed-module", "#!/usr/bin/python3\nimport os, random\n", "random.py"),
        ("shadowed-module", "#!/usr/bin/python3\nfrom email.utils import x\n", "email.py"),
        ("", "#!/usr/bin/python3\nimport helper\n", "helper.py"),
        ("python2-syntax", "#!/usr/bin/python3\nprint \"Content-Type: x\"\n", ""),
        ("", "#!/usr/bin/python2\nprint \"Content-Type: x\"\n", ""),
        ("", "#!/usr/bin/python3\nprint (\"x\")\n\"\"\"print the thing\"\"\"\n", ""),
        ("perl-dot-inc", "#!/usr/bin/perl\nuse Helper;\n", "Helper.pm"),
        ("perl-dot-inc", "#!/usr/bin/perl\nrequire \"old.pl\";\n", "old.pl"),
        ("", "#!/usr/bin/perl\nuse lib '.';\nuse Helper;\n", "Helper.pm"),
        ("python-cgi-module-gone", "#!/usr/bin/env python3\nimport cgi\n", ""),
    ] {
        let mut facts = facts(head.as_bytes());
        facts.program = Program::Here("/usr/bin/python3.13".into());
        facts.neighbours = vec![beside.to_owned()];
        let all = diagnose(Some(&facts), None);
        assert_eq!(first(&all), wanted, "{head:?}");
    }
}

#[test]
fn what_a_module_beside_the_script_imports() {
    let mut facts = facts(b"#!/usr/bin/python3\nimport os\nfrom helper import x\n");
    facts.program = Program::Here("/usr/bin/python3.13".into());
    facts.neighbours = ["deeper.py", "helper.py", "random.py", "other.py"].map(str::to_owned).to_vec();
    assert_eq!(file::next_helper(&facts).as_deref(), Some("helper.py"));
    facts.helpers.push(("helper.py".into(), b"import deeper, helper\n".to_vec()));
    assert_eq!(file::next_helper(&facts).as_deref(), Some("deeper.py"));
    facts.helpers.push(("deeper.py".into(), b"import random\nimport cgi\n".to_vec()));
    assert_eq!(file::next_helper(&facts), None);
    let all = diagnose(Some(&facts), None);
    let slugs: Vec<_> = all.iter().map(|found| found.cause.slug()).collect();
    assert_eq!(slugs, ["shadowed-module", "python-cgi-module-gone"], "{all:?}");
    assert!(all.iter().all(|found| found.what.contains("/srv/cgi-bin/deeper.py")), "{all:?}");
}

fn exited(status: i32) -> Option<Ending> {
    Some(Ending::Exited { status, usage: Usage::default() })
}

fn signalled(signal: i32) -> Option<Ending> {
    Some(Ending::Signalled { signal, usage: Usage::default() })
}

#[test]
fn what_a_run_shows() {
    let field = |line: &str| Trouble::Head(HeadError::NotAField(line.into()));
    for (wanted, trouble, ending, output, stderr) in [
        ("exit-before-header", Trouble::NoHead(0), exited(3), "", "oops\n"),
        ("killed-by-signal", Trouble::NoHead(0), signalled(libc::SIGSEGV), "", ""),
        ("killed-by-limit", Trouble::NoHead(0), signalled(libc::SIGXCPU), "", ""),
        ("killed-by-limit", Trouble::NoHead(0), exited(1), "", "MemoryError\n"),
        ("killed-by-limit", Trouble::Timeout("first-byte-timeout"), None, "", ""),
        ("killed-by-limit", Trouble::Head(HeadError::TooLarge), None, "A: bbbbb", ""),
        ("no-blank-line", Trouble::NoHead(13), exited(0), "A: b\nContent-Type: x\n", ""),
        ("no-blank-line", field("<html>"), None, "A: b\n<html>\n", ""),
        ("header-line-without-colon", field("hello"), None, "hello\x1b world\n", ""),
        ("header-line-without-colon", Trouble::NoHead(5), exited(0), "hello", ""),
        ("bad-header", Trouble::Head(HeadError::Blank), None, "\nhello", ""),
        ("python-cgi-module-gone", Trouble::NoHead(0), exited(1), "", "ModuleNotFoundError: No module named 'cgi'\n"),
        ("module-missing", Trouble::NoHead(0), exited(1), "", "ModuleNotFoundError: No module named 'flask'\n"),
        ("python2-syntax", Trouble::NoHead(0), exited(1), "", "SyntaxError: Missing parentheses in call to 'print'."),
        ("perl-dot-inc", Trouble::NoHead(0), exited(2), "", "Can't locate Helper.pm in @INC (you may need to install"),
        ("module-missing", Trouble::NoHead(0), exited(2), "", "Can't locate Foo/Bar.pm in @INC (you may"),
        ("php-force-redirect", field("Security"), exited(0), "Security Alert! compiled with force-cgi-redirect\n", ""),
        (
            "read-only-database",
            Trouble::NoHead(0),
            exited(1),
            "",
            "OperationalError: attempt to write a readonly database",
        ),
        ("permission", Trouble::NoHead(0), exited(1), "", "PermissionError: [Errno 13] Permission denied: '/x/y'"),
        ("interpreter-missing", Trouble::NoHead(0), exited(127), "", "env: ‘pyton’: No such file or directory"),
        ("interpreter-missing", Trouble::NoHead(0), exited(126), "", "/usr/bin/env: ‘pyton3’: Permission denied"),
        ("crlf-shebang", Trouble::NoHead(0), exited(127), "", "/usr/bin/env: 'python3\\r': No such file or directory"),
        ("body-longer", Trouble::Body(crate::gateway::Fault::Longer { over: 3 }), exited(0), "", ""),
        ("body-shorter", Trouble::Body(crate::gateway::Fault::Shorter { missing: 3 }), exited(0), "", ""),
        ("", Trouble::None, exited(0), "", ""),
    ] {
        let mut file = facts(b"#!/bin/sh\n");
        file.neighbours = vec!["Helper.pm".into()];
        let limits = ["cpu", "memory", "first-byte-timeout", "head-size"].map(|key| Limit {
            key,
            value: "1".into(),
            more: "2".into(),
        });
        let run = RunFacts {
            trouble,
            ending,
            output: output.as_bytes(),
            stderr: stderr.as_bytes(),
            limits: &limits,
            strict: false,
            named: &[],
        };
        let all = diagnose(Some(&file), Some(&run));
        assert_eq!(first(&all), wanted, "{output:?} {stderr:?}: {all:?}");
        assert!(all.iter().all(|d| !forgotten(&d.line())), "a fact was forgotten: {all:?}");
    }
}

#[test]
fn a_program_that_did_not_start_is_explained_by_its_file() {
    let facts = facts(b"#!/bin/sh\r\n");
    let run = RunFacts {
        trouble: Trouble::NotStarted(Step::Exec, libc::ENOENT),
        ending: None,
        output: b"",
        stderr: b"",
        limits: &[],
        strict: false,
        named: &[],
    };
    assert_eq!(first(&diagnose(Some(&facts), Some(&run))), "crlf-shebang");
}

#[test]
fn control_characters_are_shown() {
    let run = RunFacts {
        trouble: Trouble::Head(HeadError::NotAField(String::new())),
        ending: None,
        output: b"hello\x1b[2J\xff\n",
        stderr: b"",
        limits: &[],
        strict: false,
        named: &[],
    };
    let all = diagnose(Some(&facts(b"#!/bin/sh\n")), Some(&run));
    assert!(all[0].what.contains(r"hello\u{1b}[2J\xff"), "{}", all[0].what);
}

#[test]
fn commands_can_be_copied() {
    let mut facts = facts(b"#!/bin/sh\n");
    facts.file = "/srv/cgi-bin/it's here; rm -rf x".into();
    facts.stat.as_mut().unwrap().mode = 0o644;
    assert_eq!(diagnose(Some(&facts), None)[0].command, r"chmod +x '/srv/cgi-bin/it'\''s here; rm -rf x'");
}

#[test]
fn nearest_names() {
    let names = ["hello.py", "guestbook.pl", "dump", "todo.py"];
    for (wanted, near) in
        [("Hello.py", "hello.py"), ("hello.cgi", "hello.py"), ("gestbook.pl", "guestbook.pl"), ("x", "")]
    {
        let found = nearest::nearest(wanted, names, 3);
        assert_eq!(found.first().copied().unwrap_or_default(), near, "{wanted}");
    }
}

#[test]
fn files_that_last_words_name() {
    for (said, wanted) in [
        ("PermissionError: [Errno 13] Permission denied: '/var/x/y.log'", "/var/x/y.log"),
        ("/srv/a.sh: 3: cannot create /var/log/z: Permission denied", "/var/log/z"),
        ("/srv/a.sh: 3: cannot create ./z: Permission denied", "/srv/z"),
        ("/srv/a.sh: line 3: data/z: Permission denied", "/srv/data/z"),
        ("sqlite3.OperationalError: attempt to write a readonly database", "/srv/a.db"),
    ] {
        let found = run::named_files(said.as_bytes(), std::path::Path::new("/srv"), &["a.db".into(), "b".into()]);
        assert_eq!(found.first(), Some(&PathBuf::from(wanted)), "{said}");
    }
}

#[test]
fn secrets_are_masked() {
    for (name, hidden) in
        [("DB_PASSWORD", true), ("HTTP_COOKIE", true), ("API_KEY", true), ("HTTP_AUTHORIZATION", true), ("PATH", false)]
    {
        assert_eq!(secrets::masked(name, "v") != "v", hidden, "{name}");
    }
    for (value, hidden) in [("postgres://u:p@h/db", true), ("http://u@h/", false), ("http://h:80/a:b@c", false)] {
        assert_eq!(secrets::masked("DATABASE_URL", value) != value, hidden, "{value}");
    }
    assert_eq!((secrets::masked("DB_PWD", "v"), secrets::masked("PWD", "/srv")), (secrets::MASK, "/srv"));
}

#[test]
fn a_binary_tells_its_loader() {
    let this = std::fs::read("/proc/self/exe").unwrap();
    match program::kind(&this[..this.len().min(1 << 16)], std::env::consts::ARCH) {
        Kind::Native(loader) => assert!(loader.is_none_or(|loader| loader.is_file())),
        other => panic!("{other:?}"),
    }
}
