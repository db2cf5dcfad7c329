//! What the README tells people to type is understood.

use std::process::Command;

use crate::server::serve;
use crate::tree::Tree;

#[test]
fn every_command_of_the_readme_is_one() {
    let readme = include_str!("../../README.md");
    let mut inside = false;
    let mut seen = 0;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        }
        let Some(arguments) = line.strip_prefix("cgiserve ").filter(|_| inside) else { continue };
        seen += 1;
        // The first word that is not understood ends the reading, before the help is asked for.
        let words = arguments.split_whitespace().map(|word| word.trim_matches('\''));
        // What follows these would be somebody else's command line.
        let words = words.take_while(|word| *word != "./count.sh" && !word.starts_with("/etc/"));
        let output = Command::new(env!("CARGO_BIN_EXE_cgiserve")).args(words).arg("--help").output().expect("it runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(seen >= 6, "the README has lost its commands");
}

#[test]
fn the_script_of_the_readme_runs() {
    let readme = include_str!("../../README.md");
    let script = readme.split("<<'END'\n").nth(1).and_then(|rest| rest.split("END\n").next()).expect("it is there");
    let server = serve(Tree::new().script("hello", script));
    let answer = server.get("/cgi-bin/hello").expect(200);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.starts_with("Hello, 127.0.0.1."), "{text}");
}
