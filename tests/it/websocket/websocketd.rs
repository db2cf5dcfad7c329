//! Websocketd's command line, for those who come from there.

use super::{Talk, handshake};
use crate::server::launch;
use crate::tree::Tree;

#[test]
fn websocketds_command_line() {
    let tree =
        Tree::new().script_at("count.sh", "#!/bin/sh\necho \"$SCRIPT_NAME $PATH_INFO $1\"; read x; echo $x; exit 4\n");
    tree.settle();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cgiserve"));
        command.arg("ws").args(["--port=0", "--address=127.0.0.1"]).args(arguments).current_dir(tree.root());
        command
    };
    let server = launch(run(&["--header-ws=X-W: 1", "./count.sh", "one"]), Tree::new());
    let mut talk = Talk::open_with(&server, &handshake("/any/path", &[("Origin", "http://other.example")]));
    assert!(String::from_utf8_lossy(&talk.head).to_ascii_lowercase().contains("x-w: 1"));
    assert_eq!(talk.hear(), "/ /any/path one");
    talk.say("two");
    assert_eq!(talk.hear(), "two");
    assert_eq!(talk.end(), (1011, "exit status 4".to_owned()));
    server.get("/").expect(404);
    let server = launch(run(&["--sameorigin", "--dir", "."]), Tree::new());
    server.ask(handshake("/count.sh", &[("Origin", "http://other.example")])).expect(403);
    server.ask(handshake("/nothing.sh", &[])).expect(404);
    let mut talk = Talk::open(&server, "/count.sh/more");
    assert_eq!(talk.hear(), "/count.sh /more ");
    let server = launch(run(&["--devconsole", "--header-ws=X-W: 1", "--header-http=X-H: 1", "cat"]), Tree::new());
    let console = server.get("/a?\"><script>alert(1)</script>").expect(200);
    for place in ["value=\"", "<title>"] {
        let wanted = format!("{place}/a?&quot;&gt;&lt;script&gt;alert(1)");
        assert!(console.text().contains(&wanted), "the address, and no markup");
    }
    assert!(console.field("x-h").is_some() && console.field("x-w").is_none());
    let talk = Talk::open(&server, "/");
    let head = String::from_utf8_lossy(&talk.head).to_ascii_lowercase();
    assert!(head.contains("x-w: 1") && !head.contains("x-h:"), "{head}");
    let wrong = run(&["--nope", "cat"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("flag provided but not defined: -nope"));
}
