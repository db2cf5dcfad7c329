//! What the README tells people to type does what it says.

use std::path::Path;
use std::process::Command;

use crate::server::{command, launch, run};
use crate::tree::{Tree, fork_lock};

const README: &str = include_str!("../../README.md");

/// The blocks of the README in one language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let start = format!("```{language}\n");
    let mut rest = README;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(start.as_str())?;
        let (block, behind) = from.split_once("\n```")?;
        rest = behind;
        Some(block)
    })
}

/// Who does what a command says: a test here, or another one.
enum Done {
    /// It is this run, or a test of its own: by its nature, in a browser.
    Elsewhere,
    /// It ends by itself with success, and says this.
    Says(&'static str),
    /// It serves, and this request is answered with that.
    Serves(&'static str, &'static str),
    /// It serves WebSockets.
    Talks,
}

const COMMANDS: &[(&str, Done)] = &[
    ("cargo run --release", Done::Elsewhere),
    ("cargo test", Done::Elsewhere),
    ("cargo install --path .", Done::Elsewhere),
    (
        "cargo run --release -- -d site",
        Done::Serves("/cgi-bin/hello", "Hello, 127.0.0.1. You asked for /cgi-bin/hello."),
    ),
    ("cgiserve new hello.py", Done::Says("hello.py")),
    ("cgiserve check site", Done::Says("1 script, nothing to complain about")),
    ("cgiserve run site/cgi-bin/hello -v", Done::Says("Hello, 127.0.0.1. You asked for /cgi-bin/hello.")),
    ("cgiserve env site/cgi-bin/hello '/cgi-bin/hello/extra?a=1'", Done::Says("PATH_INFO=/extra\n")),
    (
        "cgiserve --cgi --bind 127.0.0.1 --directory site 8000",
        Done::Serves("/cgi-bin/hello?again", "Hello, 127.0.0.1. You asked for /cgi-bin/hello?again."),
    ),
    ("cgiserve ws --port=8080 ./count.sh", Done::Talks),
    ("cgiserve convert /etc/apache2/conf-available/serve-cgi-bin.conf", Done::Says("path = \"/gitweb/*.cgi\"")),
    ("cgiserve convert /etc/lighttpd/conf-available/10-cgi.conf", Done::Says("scripts = \"/usr/lib/cgi-bin\"")),
    ("cgiserve convert --htpasswd users /etc/httpd.conf", Done::Says("index = [\"index.html\"]")),
];

/// The words of a command line that quotes nothing but whole words.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| word.trim_matches('\'')).collect()
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let lighttpd = "server.modules += ( \"mod_cgi\" )\n$HTTP[\"url\"] =~ \"^/cgi-bin/\" {\n    cgi.assign = ( \"\" => \"\" )\n\
                    }\nalias.url += ( \"/cgi-bin/\" => \"/usr/lib/cgi-bin/\" )\n";
    let tree = Tree::python()
        .script_at("count.sh", "#!/bin/sh\nread line\n")
        .file("etc/apache2/conf-available/serve-cgi-bin.conf", blocks("apache").next().expect("it is there"))
        .file("etc/lighttpd/conf-available/10-cgi.conf", lighttpd)
        .file("etc/httpd.conf", "H:/srv/www\nI:index.html\n/cgi-bin:admin:hunter2\n");
    let script = blocks("sh").find(|block| block.contains("<<'END'")).expect("it is there");
    let (script, _) = script.split_once("cargo ").expect("the server comes last");
    let made = {
        let _alone = fork_lock();
        Command::new("sh").args(["-euc", script]).current_dir(tree.root()).status().expect("a shell")
    };
    assert!(made.success());
    // Within a script that is written there is nothing to do.
    let lines =
        blocks("sh").flat_map(str::lines).filter(|line| line.starts_with("cgiserve ") || line.starts_with("cargo "));
    let lines: Vec<_> = lines.collect();
    let mut left = Vec::new();
    for line in &lines {
        let Some((_, done)) = COMMANDS.iter().find(|(known, _)| known == line) else { panic!("nobody does {line:?}") };
        let line = line.strip_prefix("cargo run --release -- ").or(line.strip_prefix("cgiserve ")).unwrap_or_default();
        let mut program = Command::new(env!("CARGO_BIN_EXE_cgiserve"));
        program.current_dir(tree.root()).env_clear().env("HOME", tree.root()).env("PATH", "/usr/bin:/bin");
        program.env("XDG_STATE_HOME", tree.path("notes"));
        let root = tree.root().display();
        let words = words(line).into_iter().map(|word| match word {
            "8000" => "0".to_owned(),
            "--port=8080" => "--port=0".to_owned(),
            etc if etc.starts_with("/etc/") => format!("{root}{etc}"),
            word => word.to_owned(),
        });
        program.args(words);
        match done {
            Done::Elsewhere => {}
            Done::Says(wanted) => {
                let ended = run(&mut program);
                assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
                assert!(ended.out.contains(wanted), "{line}: no {wanted:?} in {ended:?}");
                let state = ended.out.lines().find_map(|line| line.strip_prefix("X_STATE_DIRECTORY="));
                left.extend(state.filter(|state| state.starts_with("/var/lib/cgiserve/site-")).map(str::to_owned));
            }
            Done::Serves(path, wanted) => {
                if line.starts_with("-d") {
                    program.arg("0");
                }
                let answer = launch(program, Tree::python()).get(path).text();
                assert!(answer.contains(wanted), "{line}: no {wanted:?} in {answer}");
            }
            Done::Talks => {
                let mut server = launch(program, Tree::python());
                // It listens at every address of this machine, as websocketd does.
                server.address = (std::net::Ipv4Addr::LOCALHOST, server.address.port()).into();
                let mut client = server.connect();
                client.send(
                    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                );
                client.wait_for("101 ");
            }
        }
    }
    // A server that was started as root made a place for its scripts' data.
    for folder in left {
        let _ = std::fs::remove_dir_all(folder);
    }
    for (known, _) in COMMANDS {
        assert!(lines.contains(known), "the README no longer says {known:?}");
    }
}

/// What is said of `cargo run` holds where Cargo knows which program is meant.
#[test]
fn cargo_knows_which_program_is_meant() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("default-run = \"cgiserve\""));
}

#[test]
fn the_configuration_of_the_readme_is_understood() {
    let (_, section) = README.split_once("## Configuration").expect("it is there");
    let toml = section.split("```toml\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("a block");
    let hello = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";
    let tree = Tree::new()
        .script("zzz.py", hello)
        .script_at("private/hello", hello)
        .file("htdocs/sorry.html", "Sorry.")
        .file("htpasswd", "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .config(toml);
    tree.settle();
    let mut command = command(&tree);
    command.arg("0");
    let server = launch(command, tree);
    assert_eq!(server.get("/any/where.zzz").expect(200).text(), "hello\n");
    server.get("/private/hello").expect(401);
    assert_eq!(server.get("/old/x").expect(301).field("location").as_deref(), Some("/new/"));
    assert_eq!(server.get("/none").expect(404).text(), "Sorry.");
    // What it shows besides is a file of the repository.
    for (_, rest) in README.match_indices("](").map(|(at, _)| README.split_at(at + 2)) {
        let link = rest.split(')').next().unwrap_or_default();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(link.contains("://") || here.exists(), "{link} is not here");
    }
}
