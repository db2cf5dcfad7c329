//! "Why 500?": every row of the catalogue, made to happen, is named by the page, the log, `check` and `run`.

mod convert;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A script that fails, and who can say why.
struct Row {
    slug: &'static str,
    /// Below `cgi-bin`.
    name: &'static str,
    text: &'static [u8],
    mode: u32,
    /// What else is there.
    beside: &'static [(&'static str, &'static str, u32)],
    /// Words that the sentence must hold.
    says: &'static str,
    said_by: SaidBy,
}

/// Where a row can be named. The log and `run` name them all.
#[derive(PartialEq)]
enum SaidBy {
    /// Without running it.
    Looking,
    /// `check --run` and the page.
    Running,
    /// Its header has been sent already: no page.
    Body,
    /// It is not there: `check` has nothing to look at.
    Asking,
}

use SaidBy::{Asking, Body, Looking, Running};

const fn row(slug: &'static str, name: &'static str, text: &'static [u8], says: &'static str, said_by: SaidBy) -> Row {
    Row { slug, name, text, mode: 0o755, beside: &[], says, said_by }
}

const OK: &[u8] = b"#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfine\\n'\n";
const S390X: &[u8] = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01";

fn rows() -> Vec<Row> {
    vec![
        Row { beside: &[("near/hello.py", "", 0o644)], ..row("no-such-script", "near/helo.py", b"", "hello.py", Asking) },
        Row { mode: 0o644, ..row("not-executable", "no-x-bit", OK, "0644", Looking) },
        row("folder-not-searchable", "locked/x", OK, "/locked", Looking),
        row("interpreter-missing", "missing", b"#!/usr/local/bin/python2.2\n", "/usr/bin/python3", Looking),
        row("interpreter-missing", "env-missing", b"#!/usr/bin/env pyton3\n", "Here is /usr/bin/python3", Looking),
        row("crlf-shebang", "crlf", b"#!/bin/sh\r\necho\r\n", "/bin/sh\\r", Looking),
        row("crlf-shebang", "env-crlf.py", b"#!/usr/bin/env python3\r\nprint()\r\n", "python3\\r", Looking),
        row("bom-before-shebang", "bom", b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark", Looking),
        row("bom-before-shebang", "blank", b"\n#!/bin/sh\n", "empty lines", Looking),
        row("no-shebang", "plain", b"echo hello\n", "plain", Looking),
        row("wrong-architecture", "foreign", S390X, "s390x", Looking),
        Row { mode: 0o777, ..row("writable-by-others", "open", OK, "0777", Looking) },
        row("exit-before-header", "exits", b"#!/bin/sh\necho last words >&2\nexit 3\n", "status 3", Running),
        row("killed-by-signal", "crashes", b"#!/bin/sh\nkill -SEGV $$\n", "SIGSEGV", Running),
        row("killed-by-limit", "slow/sleeps", b"#!/bin/sh\nexec sleep 30\n", "first-byte-timeout", Running),
        row("killed-by-limit", "big/writes", b"#!/bin/sh\ntrap - XFSZ\nexec head -c 200000 /dev/zero >$X_STATE_DIRECTORY/big\n", "file-size", Running),
        row("no-blank-line", "no-end", b"#!/bin/sh\necho Content-Type: text/plain\n", "Content-Type: text/plain", Running),
        row("no-blank-line", "no-gap", b"#!/bin/sh\nprintf 'Content-Type: text/html\\n<html>\\n'\n", "&lt;html>", Running),
        row("header-line-without-colon", "chatty", b"#!/bin/sh\nprintf 'Hello \\033[1mworld\\n'\n", "u{1b}[1mworld", Running),
        row("bad-header", "bad-status", b"#!/bin/sh\nprintf 'Status: 999\\n\\n'\n", "Status: 999", Running),
        row("body-longer", "long", b"#!/bin/sh\nprintf 'Content-Length: 3\\n\\nabcdef'\n", "3 octets", Body),
        row("body-shorter", "short", b"#!/bin/sh\nprintf 'Content-Length: 9\\n\\nabc'\n", "6 octets", Body),
        row("python-cgi-module-gone", "cgi.py", b"#!/usr/bin/python3\nimport sys\nsys.path[:] = []\nsys.modules.pop('cgi', None)\nimport cgi\n", "legacy-cgi", Running),
        row("module-missing", "module.py", b"#!/usr/bin/python3\nimport no_such_module_at_all\n", "no_such_module_at_all", Running),
        Row {
            beside: &[("shadow/random.py", "def nothing(): pass\n", 0o644)],
            ..row("shadowed-module", "shadow/dice.py", b"#!/usr/bin/python3\nimport random\nprint(random.randint(1, 6))\n", "random.py", Looking)
        },
        Row {
            beside: &[
                ("second/random.py", "def nothing(): pass\n", 0o644),
                ("second/helper.py", "import random\n", 0o644),
            ],
            ..row("shadowed-module", "second/dice.py", b"#!/usr/bin/python3\nimport helper\nprint(helper.random.randint(1, 6))\n", "random.py", Looking)
        },
        row("python2-syntax", "old.py", b"#!/usr/bin/python3\nprint \"Content-Type: text/plain\"\n", "Python 2", Looking),
        Row {
            beside: &[("perl/Helper.pm", "package Helper; 1;\n", 0o644)],
            ..row("perl-dot-inc", "perl/x.pl", b"#!/usr/bin/perl\nuse Helper;\n", "Helper", Looking)
        },
        row(
            "php-force-redirect",
            "php",
            b"#!/bin/sh\necho '<b>Security Alert!</b> The PHP CGI cannot be accessed directly.'\necho 'This PHP CGI binary was compiled with force-cgi-redirect enabled.'\n",
            "REDIRECT_STATUS",
            Running,
        ),
        Row {
            beside: &[("database/notes.db", "", 0o444)],
            ..row(
                "read-only-database",
                "database/x.py",
                b"#!/usr/bin/python3\nimport sqlite3\nsqlite3.connect('notes.db').execute('create table t (a)')\n",
                "notes.db",
                Running,
            )
        },
        Row {
            beside: &[("permission/x.log", "", 0o444)],
            ..row("permission", "permission/x", b"#!/bin/sh\nset -e\ncd \"$(dirname \"$0\")\"\necho x >./x.log\n", "x.log", Running)
        },
    ]
}

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().canonicalize().unwrap().join(format!("cgiserve-why-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for folder in ["", "htdocs", "cgi-bin", "state"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            chmod(&root.join(folder), 0o755);
        }
        chmod(&root.join("state"), 0o777);
        Self(root)
    }

    fn put(&self, path: &str, text: &[u8], mode: u32) -> PathBuf {
        let file = self.0.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        chmod(file.parent().unwrap(), 0o755);
        fs::write(&file, text).unwrap();
        chmod(&file, mode);
        file
    }

    fn config(&self, head: &str) {
        let state = self.0.join("state");
        let text = format!(
            "{head}\nstate-directory = {state:?}\n[log]\nfile = \"log\"\n[[route]]\npath = \"/cgi-bin/slow/\"\n\
             scripts = \"cgi-bin/slow\"\nfirst-byte-timeout = \"300ms\"\n\
             [[route]]\npath = \"/cgi-bin/big/\"\nscripts = \"cgi-bin/big\"\nfile-size = 4096\n"
        );
        for folder in ["slow", "big"] {
            fs::create_dir_all(self.0.join("cgi-bin").join(folder)).unwrap();
        }
        fs::write(self.0.join("cgiserve.toml"), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Output {
        cgiserve(&self.0).args(words).output().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn cgiserve(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgiserve"));
    command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", folder);
    command.env("API_TOKEN", "sesame").stdin(Stdio::null());
    command
}

struct Server {
    child: Child,
    port: u16,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(tree: &Tree, words: &[&str]) -> Self {
        let mut command = cgiserve(&tree.0);
        let mut child = command.args(words).arg("0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut banner).unwrap();
        let port = banner.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().unwrap();
        let theirs = log.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut piece) {
                theirs.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..n]));
            }
        });
        Self { port: port.unwrap_or_else(|| panic!("{banner:?} {}", log.lock().unwrap())), child, log }
    }

    fn get(&self, path: &str, fields: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{fields}\r\n").unwrap();
        let mut answer = Vec::new();
        // An answer that is broken off ends in a reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The head of the answer to a request that asks for another protocol.
    fn upgrade(&self, path: &str, fields: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n{fields}\r\n").unwrap();
        let mut head = Vec::new();
        let mut octet = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|n| n == 1) {
            head.push(octet[0]);
        }
        text(&head)
    }

    fn wait_for_log(&self, file: &Path, wanted: &str) -> String {
        self.wait_for_line(file, &[wanted])
    }

    /// A line that holds all of `wanted`.
    fn wait_for_line(&self, file: &Path, wanted: &[&str]) -> String {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(file).unwrap_or_default() + &self.log.lock().unwrap();
            if let Some(line) = text.lines().find(|line| wanted.iter().all(|words| line.contains(words))) {
                return line.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "{wanted:?} never stood in the log:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_row_is_named_by_page_log_check_and_run() {
    let tree = Tree::new("rows");
    let rows = rows();
    tree.config("explain = \"loopback\"");
    for row in &rows {
        if row.said_by != Asking {
            tree.put(&format!("cgi-bin/{}", row.name), row.text, row.mode);
        }
        for (name, text, mode) in row.beside {
            tree.put(&format!("cgi-bin/{name}"), text.as_bytes(), *mode);
        }
    }
    chmod(&tree.0.join("cgi-bin/locked"), 0o600);
    let mut rows = rows;
    let mounted = Mount::noexec(&tree.put("cgi-bin/mounted/x", OK, 0o755));
    if mounted.is_some() {
        rows.push(row("noexec-mount", "mounted/x", OK, "cgi-bin/mounted", Looking));
    }
    let server = Server::start(&tree, &[]);
    let looked = text(&tree.command(&["check", "--json"]).stdout);
    let ran = text(&tree.command(&["check", "--run", "--json"]).stdout);
    let looked: serde_json::Value = serde_json::from_str(&looked).unwrap();
    let ran: serde_json::Value = serde_json::from_str(&ran).unwrap_or_else(|error| panic!("{error}: {ran}"));
    let names = |found: &serde_json::Value, row: &Row| {
        found["problems"].as_array().unwrap().iter().any(|problem| {
            let holds = |key: &str, text: &str| problem[key].as_str().unwrap_or_default().contains(text);
            let folder = row.name.split('/').next().unwrap();
            holds("cause", row.slug) && holds("file", folder) && holds("what", "") && !holds("command", "{")
        })
    };
    for cause in cgiserve::explain::Cause::ALL {
        let made = rows.iter().any(|row| row.slug == cause.slug());
        assert!(made || (cause.slug() == "noexec-mount" && mounted.is_none()), "nothing makes {} happen", cause.slug());
    }
    for row in &rows {
        let (slug, name) = (row.slug, row.name);
        let words = row.says.replace("&lt;", "<");
        let folder = name.split('/').next().unwrap();
        let answer = server.get(&format!("/cgi-bin/{name}"), "Cookie: sid=77\r\n");
        if row.said_by == Body {
            // One that is broken off may end before anything of it was sent.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200 "), "{slug} {name}: {answer}");
        } else {
            assert!(answer.contains(&format!(">{slug}</code>")), "the page does not name {slug} of {name}: {answer}");
            let says = row.says.replace('>', "&gt;");
            assert!(answer.contains(&says), "{slug}: the page does not say {says:?}: {answer}");
            assert!(!answer.contains("sid=77") && !answer.contains("sesame"), "{slug}: a secret is shown: {answer}");
        }
        let file = tree.0.join("log");
        let cause = format!("cause=\"{slug}\"");
        server.wait_for_line(&file, &[&cause, folder, &words]);
        if row.said_by == Looking {
            assert!(names(&looked, row), "check does not name {slug} of {name}: {looked:#}");
        }
        if row.said_by != Asking {
            assert!(names(&ran, row), "check --run does not name {slug} of {name}: {ran:#}");
        }
        let run = tree.command(&["run", &format!("cgi-bin/{name}")]);
        let said = text(&run.stderr);
        assert!(
            said.contains(&format!("{slug}: ")),
            "run does not name {slug} of {name}: {said} {}",
            text(&run.stdout)
        );
        assert!(said.contains(&words), "run does not say {words:?}: {said}");
        assert_eq!(run.status.code(), Some(1), "{slug}");
    }
    drop(mounted);
}

/// A file system that allows no programs, where the tests may make one.
struct Mount(PathBuf);

impl Mount {
    fn noexec(script: &Path) -> Option<Self> {
        let folder = script.parent().unwrap();
        let bytes = fs::read(script).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "noexec,mode=0755", "none"]).arg(folder).output();
        if !mount.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mounted = Self(folder.to_path_buf());
        fs::write(script, bytes).unwrap();
        chmod(script, 0o755);
        Some(mounted)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn strangers_learn_status_slug_and_id_only() {
    let tree = Tree::new("strangers");
    tree.put("cgi-bin/x", b"#!/bin/sh\necho secret words >&2\nexit 3\n", 0o755);
    let zero = Server::start(&tree, &[]);
    assert!(zero.get("/cgi-bin/x", "").contains("secret words"), "without a configuration the author is told");
    for fields in ["X-Forwarded-For: 1.2.3.4\r\n", "Forwarded: for=1.2.3.4\r\n", "Via: 1.1 proxy\r\n"] {
        let answer = zero.get("/cgi-bin/x", fields);
        assert!(answer.contains("empty-answer") && !answer.contains("secret words"), "{fields}: {answer}");
    }
    drop(zero);
    let compat = Server::start(&tree, &["--python-compat"]);
    assert!(!compat.get("/cgi-bin/x", "").contains("secret words"));
    drop(compat);
    for (head, told) in [("", false), ("explain = \"off\"", false), ("explain = \"loopback\"", true)] {
        tree.config(head);
        let server = Server::start(&tree, &[]);
        let answer = server.get("/cgi-bin/x", "");
        assert_eq!(answer.contains("secret words"), told, "{head}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("empty-answer"), "{head}: {answer}");
        let id = answer.split("empty-answer · ").nth(1).unwrap().split('<').next().unwrap().to_owned();
        server.wait_for_log(&tree.0.join("log"), &id);
        server.wait_for_log(&tree.0.join("log"), "exit-before-header");
        let why = tree.command(&["why", &id]);
        assert!(text(&why.stdout).contains("exited with status 3"), "{why:?}");
        assert_eq!(tree.command(&["why", "no-such-id"]).status.code(), Some(1));
        fs::remove_file(tree.0.join("log")).unwrap();
    }
}

#[test]
fn the_log_says_a_cause_once() {
    let tree = Tree::new("once");
    tree.put("cgi-bin/exits", b"#!/bin/sh\nexit 3\n", 0o755);
    tree.put("cgi-bin/module.py", b"#!/usr/bin/python3\nimport no_such_module_at_all\n", 0o755);
    tree.put("cgi-bin/shut", OK, 0o644);
    tree.config("");
    let server = Server::start(&tree, &[]);
    let log = tree.0.join("log");
    for (name, slug, cause, once) in [
        ("exits", "empty-answer", "exit-before-header", "exited with status 3"),
        ("module.py", "empty-answer", "module-missing", "exited with status 1"),
        ("module.py", "empty-answer", "module-missing", "no_such_module_at_all\""),
        ("shut", "not-executable", "not-executable", "chmod +x"),
    ] {
        let answer = server.get(&format!("/cgi-bin/{name}?{}", once.len()), "");
        let id = answer.split(&format!("{slug} · ")).nth(1).and_then(|rest| rest.split('<').next()).unwrap();
        let line = server.wait_for_line(&log, &[&format!("id=\"{id}\""), "ERROR"]);
        assert_eq!(line.matches(once).count(), 1, "{once:?}: {line}");
        for field in [format!("slug=\"{slug}\""), format!("cause=\"{cause}\""), "client=\"127.0.0.1\"".into()] {
            assert!(line.contains(&field), "{field}: {line}");
        }
    }
}

#[test]
fn programs_are_told_in_json() {
    let tree = Tree::new("json");
    tree.put("cgi-bin/x", b"#!/bin/sh\nexit 3\n", 0o755);
    let server = Server::start(&tree, &[]);
    let answer = server.get("/cgi-bin/x", "Accept: application/json, text/html;q=0.5\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (told["slug"].as_str(), told["causes"][0]["cause"].as_str()),
        (Some("empty-answer"), Some("exit-before-header"))
    );
    assert!(server.get("/cgi-bin/x", "Accept: text/html,*/*;q=0.8\r\n").contains("text/html"));
}

#[test]
fn check_finds_what_does_not_belong_there_and_fixes_what_it_can() {
    let tree = Tree::new("fix");
    tree.put("cgi-bin/fine", OK, 0o755);
    assert_eq!(tree.command(&["check", "--run"]).status.code(), Some(0));
    for name in ["index.php~", "site.bak", ".git/HEAD", ".env", "server.key", "page.html"] {
        tree.put(&format!("htdocs/{name}"), b"x", 0o644);
    }
    let shut = tree.put("cgi-bin/shut", OK, 0o644);
    let crlf = tree.put("cgi-bin/crlf", b"#!/bin/sh\r\necho\r\n", 0o755);
    let said = text(&tree.command(&["check"]).stdout);
    for (slug, name) in [
        ("backup-file", "index.php~"),
        ("backup-file", "site.bak"),
        ("repository", ".git"),
        ("secret-file", ".env"),
        ("secret-file", "server.key"),
    ] {
        assert!(said.lines().any(|line| line.starts_with(slug) && line.contains(name)), "{slug} {name}: {said}");
    }
    assert!(!said.contains("page.html"));
    let shown = text(&tree.command(&["check", "--fix"]).stdout);
    assert!(shown.contains("+ mode 0755") && shown.contains("not changed"), "{shown}");
    assert_eq!(fs::metadata(&shut).unwrap().permissions().mode() & 0o777, 0o644, "nobody was asked");
    let fixed = tree.command(&["check", "--fix", "--yes"]);
    assert_eq!(fixed.status.code(), Some(1), "the files in htdocs are still there");
    assert_eq!(fs::metadata(&shut).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read(&crlf).unwrap(), b"#!/bin/sh\necho\n");
}

#[test]
fn run_and_env_say_what_the_server_would() {
    let tree = Tree::new("run");
    let script = b"#!/bin/sh\nprintf 'Content-Type: text/plain\\nX-Pid: 1\\n\\n'\necho \"$REQUEST_METHOD $PATH_INFO $QUERY_STRING $CONTENT_TYPE $HTTP_X_A\"\ncat\necho done >&2\n";
    tree.put("cgi-bin/echo", script, 0o755);
    tree.put("upload.txt", b"of a file", 0o644);
    let words = [
        "run",
        "-v",
        "cgi-bin/echo",
        "-d",
        "a=1",
        "-d",
        "b=2",
        "-H",
        "X-A: here",
        "--path-info",
        "/p q",
        "--query",
        "q=1",
    ];
    let run = tree.command(&words);
    let (out, err) = (text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{out}{err}");
    assert!(out.starts_with("HTTP/1.1 200 OK\n"), "{out}");
    assert!(out.ends_with("POST /p q q=1 application/x-www-form-urlencoded here\na=1&b=2"), "{out}");
    for said in ["PATH_INFO=/p q", "exited with status 0", "content-type: text/plain", "done", "CONTENT_LENGTH=7"] {
        assert!(err.contains(said), "{said}: {err}");
    }
    let form = text(&tree.command(&["run", "cgi-bin/echo", "-F", "f=@upload.txt"]).stdout);
    assert!(form.contains("filename=\"upload.txt\"") && form.contains("of a file"), "{form}");
    let head = text(&tree.command(&["run", "/cgi-bin/echo", "-X", "HEAD"]).stdout);
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\n\n"), "{head}");
    tree.put("cgi-bin/leaves-a-mark", b"#!/bin/sh\ntouch /tmp/never\necho >&2\n", 0o755);
    let env = tree.command(&["env", "cgi-bin/leaves-a-mark", "http://example.org:81/cgi-bin/leaves-a-mark/x?y=z"]);
    let variables = text(&env.stdout);
    for variable in ["SERVER_NAME=example.org", "PATH_INFO=/x", "QUERY_STRING=y=z", "HTTP_HOST=example.org:81"] {
        assert!(variables.lines().any(|line| line == variable), "{variable}: {variables}");
    }
    // A script that no configuration knows.
    let alone = tree.put("elsewhere/alone.sh", OK, 0o755);
    let run = tree.command(&["run", alone.to_str().unwrap()]);
    assert!(text(&run.stdout).ends_with("fine\n"), "{run:?}");
}

#[test]
fn new_writes_scripts_that_work() {
    let tree = Tree::new("new");
    for (name, program) in [("a.py", "python3"), ("a.pl", "perl"), ("a.sh", "sh"), ("a.php", "php-cgi")] {
        let here = ["/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).is_file());
        let made = tree.command(&["new", name]);
        assert_eq!(made.status.code(), Some(0), "{made:?}");
        assert_eq!(tree.command(&["new", name]).status.code(), Some(1), "never over a file that is there");
        if !here {
            // Then at least it is said what is missing.
            let missing = tree.command(&["check"]);
            assert!(text(&missing.stdout).contains("interpreter-missing"), "{name}: {missing:?}");
            fs::remove_file(tree.0.join("cgi-bin").join(name)).unwrap();
            continue;
        }
        let script = format!("cgi-bin/{name}");
        let get = tree.command(&["run", &script, "--query", "name=Ann"]);
        assert!(text(&get.stdout).contains("<h1>Hello, "), "{name}: {get:?}");
        assert_eq!(get.status.code(), Some(0), "{name}: {get:?}");
        let post = text(&tree.command(&["run", &script, "-d", "name=<b>x</b>"]).stdout);
        assert!(post.contains("&lt;b&gt;x") && !post.contains("<b>x"), "{name} does not escape: {post}");
    }
    assert_eq!(tree.command(&["check", "--run"]).status.code(), Some(0));
    assert_eq!(tree.command(&["new", "a.exe"]).status.code(), Some(2));
}
