//! What the author of a script is shown: a console in the browser, and what goes to standard error.

use super::{CAT, Talk, handshake};
use crate::server::serve;
use crate::tree::Tree;

#[test]
fn a_plain_get_is_explained() {
    let server = serve(Tree::new().script("ws-cat", CAT));
    let answer = server.get("/cgi-bin/ws-cat").expect_failure(426, "upgrade-required");
    assert_eq!(answer.field("upgrade").as_deref(), Some("websocket"));
    let request = "GET /cgi-bin/ws-cat HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";
    let console = server.ask(request).expect(426);
    assert!(console.text().contains("WebSocket console"), "a browser on this machine gets the console");
    let policy = console.field("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'nonce-") && policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(console.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(console.field("connection").as_deref(), Some("upgrade"));
    // A proxy on this machine speaks for somebody else.
    let through = request.replace("Accept", "X-Forwarded-For: 192.0.2.1\r\nAccept");
    server.ask(through).expect_failure(426, "upgrade-required");
}

#[test]
fn standard_error_is_shown_to_the_author_who_asks() {
    let script =
        "#!/bin/sh\necho oops >&2\nenv | grep -c X_WEBSOCKET\nread x\necho \"$x\"\nread x\necho late >&2\nexit 3\n";
    let room = "#!/bin/sh\nread open\necho hub >&2\necho '{\"data\":\"here\"}'\nread open\nexit 1\n";
    let server = serve(Tree::new().script("ws-loud", script).script("hub-loud", room));
    let offer = ("Sec-WebSocket-Protocol", "stderr.cgiserve");
    let mut talk = Talk::open_with(&server, &handshake("/cgi-bin/ws-loud", &[offer]));
    let head = String::from_utf8_lossy(&talk.head).to_ascii_lowercase();
    assert!(head.contains("sec-websocket-protocol: stderr.cgiserve"), "{head}");
    talk.say("a \"b\"");
    let mut first = [talk.hear(), talk.hear(), talk.hear()];
    first.sort();
    assert_eq!(
        first,
        [
            r#"{"stream":"stderr","data":"oops"}"#,
            r#"{"stream":"stdout","data":"0"}"#,
            r#"{"stream":"stdout","data":"a \"b\""}"#
        ]
    );
    talk.say("go");
    assert_eq!(talk.hear(), r#"{"stream":"stderr","data":"late"}"#);
    assert_eq!(talk.end(), (1011, "exit status 3".to_owned()));
    let mut talk = Talk::open_with(&server, &handshake("/cgi-bin/hub-loud", &[offer]));
    let mut both = [talk.hear(), talk.hear()];
    both.sort();
    assert_eq!(both, [r#"{"stream":"stderr","data":"hub"}"#, r#"{"stream":"stdout","data":"here"}"#]);
    // Nobody else is told, and what is not asked for is not given.
    for other in [("X-Forwarded-For", "192.0.2.1"), ("Sec-WebSocket-Protocol", "")] {
        let mut talk = Talk::open_with(&server, &handshake("/cgi-bin/ws-loud", &[offer, other]));
        assert!(!String::from_utf8_lossy(&talk.head).to_ascii_lowercase().contains("protocol:"), "{other:?}");
        assert_eq!(talk.hear(), "0");
    }
}
