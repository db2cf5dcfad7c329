//! The map in `src/lib.rs` and what the sources say agree: which module may name which, and how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules of the crate a module may name. What stands for others to embed names least.
const ARROWS: &[(&str, &[&str])] = &[
    ("cli", &["access_log", "check", "config", "convert", "rehearse", "starter", "why"]),
    (
        "config",
        &[
            "access_log",
            "auth",
            "builtin",
            "explain",
            "files",
            "gateway",
            "limits",
            "path",
            "route",
            "spawner",
            "status",
            "websocket",
        ],
    ),
    ("logging", &["access_log"]),
    ("websocketd", &["access_log", "config"]),
    ("check", &["config", "explain", "files", "rehearse", "route", "server"]),
    ("convert", &["config", "explain", "route", "websocketd"]),
    ("rehearse", &["config", "explain", "route", "server"]),
    ("starter", &["explain"]),
    ("why", &["config"]),
    (
        "app",
        &[
            "access_log",
            "builtin",
            "config",
            "connection",
            "edge",
            "explain",
            "files",
            "spawner",
            "status",
            "websocket",
        ],
    ),
    (
        "server",
        &[
            "access_log",
            "app",
            "body",
            "config",
            "connection",
            "dispatch",
            "edge",
            "explain",
            "failure",
            "logging",
            "reply",
            "spawner",
            "stream",
            "stripe",
            "sys",
        ],
    ),
    ("edge", &[]),
    ("stream", &[]),
    ("connection", &["body", "edge"]),
    (
        "dispatch",
        &[
            "app",
            "body",
            "builtin",
            "compat",
            "connection",
            "edge",
            "explain",
            "failure",
            "files",
            "path",
            "reply",
            "route",
            "scripts",
            "status",
            "ticket",
            "websocket",
        ],
    ),
    ("path", &[]),
    ("route", &["auth", "builtin", "files", "gateway", "limits", "path", "status", "websocket"]),
    ("auth", &[]),
    ("limits", &["failure"]),
    ("compat", &["connection", "failure", "gateway"]),
    ("builtin", &["body", "failure", "route"]),
    ("files", &["body", "failure", "path", "stripe"]),
    ("gateway", &["body", "path", "spawner", "sys"]),
    (
        "scripts",
        &[
            "app",
            "body",
            "compat",
            "connection",
            "explain",
            "failure",
            "gateway",
            "limits",
            "path",
            "route",
            "spawner",
            "websocket",
        ],
    ),
    ("status", &["app", "body", "connection", "failure", "gateway", "route", "spawner", "stripe"]),
    (
        "websocket",
        &[
            "app",
            "body",
            "connection",
            "edge",
            "failure",
            "gateway",
            "limits",
            "path",
            "route",
            "scripts",
            "spawner",
            "status",
            "stream",
            "sys",
        ],
    ),
    ("spawner", &["sys"]),
    ("explain", &["gateway", "spawner"]),
    ("access_log", &[]),
    ("body", &[]),
    ("failure", &["explain", "path"]),
    ("reply", &["body", "explain", "failure"]),
    ("ticket", &["access_log", "app", "body", "connection", "edge"]),
    ("stripe", &[]),
    ("sys", &[]),
];

/// Longest file, lines. Tests do not count: they are lists of cases.
const LONGEST: usize = 500;

/// Files that are longer all the same, and by how much they may be. Debts: a number here may only go down.
const DEBTS: &[(&str, usize)] = &[];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the sources are there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let relative = |path: PathBuf| path.strip_prefix(&root).expect("below the root").to_path_buf();
    found.into_iter().map(|path| (relative(path.clone()), std::fs::read_to_string(path).expect("text"))).collect()
}

/// The top module of a file: `gateway` for `gateway/head.rs`.
fn module(path: &Path) -> String {
    let first = path.components().next().expect("not empty").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a text names behind `crate::`, comments aside.
fn named(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let heads: Vec<String> = match rest.strip_prefix('{') {
            // The first word of each branch of `crate::{a::b, c}`.
            Some(group) => branches(group),
            None => vec![word(rest)],
        };
        names.extend(heads.into_iter().filter(|name| !name.is_empty()));
    }
    names
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn branches(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(word(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn modules_name_only_what_they_may() {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut drawn = BTreeMap::<String, BTreeSet<String>>::new();
    for (path, text) in sources() {
        let from = module(&path);
        for to in named(&text).into_iter().filter(|to| *to != from) {
            if !allowed.get(from.as_str()).is_some_and(|all| all.contains(&to.as_str())) {
                wrong.push(format!("{} names {to}", path.display()));
            }
            drawn.entry(from.clone()).or_default().insert(to);
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the table:\n{}", wrong.join("\n"));
    for (from, all) in ARROWS {
        let unused: Vec<_> = all.iter().filter(|to| !drawn.get(*from).is_some_and(|d| d.contains(**to))).collect();
        assert!(unused.is_empty(), "{from} no longer names {unused:?}: take that out of the table");
    }
}

#[test]
fn every_module_stands_in_the_table_and_in_the_map() {
    let map = sources().into_iter().find(|(path, _)| path == Path::new("lib.rs")).expect("the map").1;
    let modules: BTreeSet<String> =
        sources().iter().map(|(path, _)| module(path)).filter(|m| !["lib", "main"].contains(&m.as_str())).collect();
    let table: BTreeSet<String> = ARROWS.iter().map(|(from, _)| (*from).to_owned()).filter(|m| m != "main").collect();
    assert_eq!(modules, table);
    for module in &modules {
        assert!(map.contains(&format!("mod {module};")), "{module} is not in lib.rs");
    }
}

#[test]
fn the_scripts_side_stands_alone() {
    // Not a matter of the table's taste: others could embed the gateway, and the spawner must stay tiny.
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for (from, most) in [
        ("edge", &[][..]),
        ("stripe", &[]),
        ("sys", &[]),
        ("spawner", &["sys"]),
        ("explain", &["gateway", "spawner"]),
        ("gateway", &["body", "path", "spawner", "sys"]),
        ("files", &["body", "failure", "path", "stripe"]),
        ("path", &[]),
        ("body", &[]),
    ] {
        let extra: Vec<_> = allowed[from].iter().filter(|to| !most.contains(to)).collect();
        assert!(extra.is_empty(), "{from} may not name {extra:?}");
    }
}

#[test]
fn files_are_nouns_of_a_readable_size() {
    for (path, text) in sources() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let shown = path.display().to_string();
        for word in ["util", "utils", "helper", "helpers", "common", "manager", "misc"] {
            assert_ne!(name, word, "{shown}: the missing noun is the finding");
        }
        let tests = shown.contains("tests");
        let lines = text.lines().count();
        let most = DEBTS.iter().find(|(file, _)| *file == shown).map_or(LONGEST, |(_, most)| *most);
        assert!(tests || lines <= most, "{shown} has {lines} lines, {most} are allowed");
        let debt = DEBTS.iter().any(|(file, _)| *file == shown);
        assert!(!debt || lines > LONGEST, "{shown} is no longer a debt: take it out of the table");
    }
    for (file, _) in DEBTS {
        assert!(sources().iter().any(|(path, _)| path == Path::new(file)), "{file} is gone: take it out of the table");
    }
}

#[test]
fn unsafe_code_has_one_home() {
    for (path, text) in sources() {
        let home = path.starts_with("sys") || path == Path::new("sys.rs");
        assert!(home || !text.contains("allow(unsafe_code)"), "{} allows unsafe code", path.display());
    }
}
