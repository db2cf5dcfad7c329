//! How a conversation opens: the handshake, whom it admits, and what the script is then told.

use tokio_tungstenite::tungstenite::Message;

use super::{CAT, Talk, handshake};
use crate::raw::Head;
use crate::server::{Server, serve};
use crate::tree::Tree;

#[track_caller]
fn refused(server: &Server, change: &[(&str, &str)]) -> Head {
    server.ask(handshake("/cgi-bin/ws-cat", &[change, &[("X-End", "1")]].concat())).head
}

#[test]
fn statement_135_the_handshake_is_checked() {
    let server = serve(Tree::new().script("ws-cat", CAT).script("plain", "#!/bin/sh\nprintf 'A: b\\n\\n'\n"));
    let talk = Talk::open(&server, "/cgi-bin/ws-cat");
    let head = String::from_utf8(talk.head.clone()).unwrap().to_ascii_lowercase();
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    assert!(!head.contains("extensions") && !head.contains("content-length"), "{head}");
    for (change, status) in [
        (("Sec-WebSocket-Version", "8"), 426),
        (("Sec-WebSocket-Version", ""), 426),
        (("Sec-WebSocket-Key", ""), 400),
        (("Sec-WebSocket-Key", "c2hvcnQ="), 400),
        (("Upgrade", "h2c"), 426),
        (("Connection", "close"), 426),
    ] {
        let head = refused(&server, &[change]);
        assert_eq!(head.status, status, "{change:?}");
        let version = head.get("sec-websocket-version");
        assert_eq!(version.as_deref(), (status == 426).then_some("13"), "{change:?}");
    }
    let post = handshake("/cgi-bin/ws-cat", &[("Content-Length", "0")]).replacen("GET", "POST", 1);
    let answer = server.ask(post).expect(405);
    assert_eq!(answer.field("allow").as_deref(), Some("GET"));
    server.ask(handshake("/cgi-bin/ws-none", &[])).expect_failure(404, "no-such-script");
    server.ask(handshake("/cgi-bin/plain", &[])).expect(200);
}

#[test]
fn statements_136_and_145_the_environment_is_that_of_cgi() {
    let server = serve(Tree::new().script("ws-env", "#!/bin/sh\nenv\npwd\n"));
    let request = handshake(
        "/cgi-bin/ws-env/a%20b?q=1",
        &[
            ("Proxy", "http://evil"),
            ("X_Foo", "shadow"),
            ("X-Foo", "true"),
            ("Cookie", "c=1"),
            ("Authorization", "x y"),
        ],
    );
    let mut talk = Talk::open_with(&server, &request);
    let mut all = Vec::new();
    while let Message::Text(line) = talk.message() {
        all.push(line.to_string());
    }
    for wanted in [
        "REQUEST_METHOD=GET",
        "HTTP_UPGRADE=websocket",
        "HTTP_CONNECTION=Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION=13",
        "SCRIPT_NAME=/cgi-bin/ws-env",
        "PATH_INFO=/a b",
        "QUERY_STRING=q=1",
        "HTTP_COOKIE=c=1",
        "HTTP_X_FOO=true",
        "GATEWAY_INTERFACE=CGI/1.1",
        "REMOTE_ADDR=127.0.0.1",
    ] {
        assert!(all.iter().any(|line| line == wanted), "{wanted} is not in {all:#?}");
    }
    assert!(all.iter().any(|line| line.starts_with("UNIQUE_ID=")));
    assert!(all.iter().any(|line| *line == server.tree.path("cgi-bin").display().to_string()), "its own folder");
    for absent in ["HTTP_PROXY", "A_SECRET", "HTTP_AUTHORIZATION", "CONTENT_LENGTH"] {
        assert!(!all.iter().any(|line| line.starts_with(&format!("{absent}="))), "{absent}");
    }
}

#[test]
fn statement_143_sub_protocols() {
    let config = "[[route]]\npath = \"/p\"\nscript = \"cgi-bin/ws-env\"\nprotocols = [\"b\", \"a\"]";
    let server = serve(Tree::new().script("ws-env", "#!/bin/sh\nenv\nexec cat\n").config(config));
    for (path, offer, chosen) in
        [("/p", "a, b", Some("b")), ("/p", "a", Some("a")), ("/p", "c", None), ("/cgi-bin/ws-env", "a", None)]
    {
        let mut talk = Talk::open_with(&server, &handshake(path, &[("Sec-WebSocket-Protocol", offer)]));
        let head = String::from_utf8(talk.head.clone()).unwrap().to_ascii_lowercase();
        let line = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(line, chosen, "{path} {offer}");
        talk.say("that is all");
        let mut environment = Vec::new();
        loop {
            match talk.hear() {
                line if line == "that is all" => break,
                line => environment.push(line),
            }
        }
        assert!(environment.contains(&format!("HTTP_SEC_WEBSOCKET_PROTOCOL={offer}")));
        let told = environment.iter().find_map(|line| line.strip_prefix("X_WEBSOCKET_PROTOCOL="));
        assert_eq!(told, chosen, "{path} {offer}");
    }
}

#[test]
fn statement_144_other_pages_stay_out() {
    let config = "[[route]]\npath = \"/open\"\nscript = \"cgi-bin/ws-cat\"\norigins = [\"friend.example\"]";
    let server = serve(Tree::new().script("ws-cat", CAT).config(config));
    for (path, origin, status) in [
        ("/cgi-bin/ws-cat", "http://localhost", 101),
        ("/cgi-bin/ws-cat", "http://evil.example", 403),
        ("/cgi-bin/ws-cat", "null", 403),
        ("/open", "https://friend.example", 101),
        ("/open", "https://friend.example.evil", 403),
    ] {
        let mut client = server.connect();
        client.send(handshake(path, &[("Origin", origin)]));
        assert_eq!(client.head().status, status, "{path} from {origin}");
    }
}
