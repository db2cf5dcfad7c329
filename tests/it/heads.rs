//! RFC 3875 §6: what a script may say before its body, and what becomes of it.

use crate::h2;
use crate::raw::End;
use crate::server::{Server, serve};
use crate::tree::Tree;

/// A server whose script `x` prints this text; backslash escapes are those of printf.
fn printing(text: &str) -> Server {
    serve(Tree::new().script("x", &prints(text)))
}

fn prints(text: &str) -> String {
    assert!(!text.contains('\''));
    format!("#!/bin/sh\nprintf '%b' '{}'\n", text.replace('\n', "\\n").replace('\r', "\\r"))
}

/// Many scripts, one server: `(text, check)` for each.
fn each(cases: &[&str], check: impl Fn(usize, &str, &Server, &str)) {
    let tree =
        cases.iter().enumerate().fold(Tree::new(), |tree, (n, text)| tree.script(&format!("x{n}"), &prints(text)));
    let server = serve(tree);
    for (n, text) in cases.iter().enumerate() {
        check(n, text, &server, &format!("/cgi-bin/x{n}"));
    }
}

#[test]
fn lines_end_with_lf_or_crlf_or_both() {
    let cases = [
        "Content-Type: text/x\nX-A: 1\n\nbody",
        "Content-Type: text/x\r\nX-A: 1\r\n\r\nbody",
        "Content-Type: text/x\r\nX-A: 1\n\r\nbody",
        "Content-Type:text/x\nX-A:1\r\n\nbody",
        "Content-Type: \t text/x \t\nX-A:  1  \n\nbody",
    ];
    each(&cases, |_, text, server, target| {
        let response = server.get(target).expect(200);
        assert_eq!(response.field("content-type").as_deref(), Some("text/x"), "{text:?}");
        assert_eq!(response.field("x-a").as_deref(), Some("1"), "{text:?}");
        assert_eq!(response.text(), "body", "{text:?}");
    });
}

#[test]
fn a_head_without_a_type_is_answered_without_one() {
    let response = printing("X-A: 1\n\nbody").get("/cgi-bin/x").expect(200);
    assert_eq!((response.field("content-type"), response.text().as_str()), (None, "body"));
}

#[test]
fn status_is_taken_in_every_spelling() {
    for (line, status, reason) in [
        ("Status: 404 Not Here", 404, "Not Here"),
        ("status: 404", 404, "Not Found"),
        ("STATUS:201 Made it", 201, "Made it"),
        ("Status:   503   Later ", 503, "Later"),
        ("X-No: status", 200, "OK"),
        ("Status: 299 Odd", 299, "Odd"),
        ("Status: 599", 599, ""),
        ("Status:", 200, "OK"),
        ("Status: 201\nStatus: 202 Last", 202, "Last"),
        ("Status: 404 P\\0303\\0244th", 404, "Päth"),
    ] {
        let response = printing(&format!("Content-Type: text/plain\n{line}\n\nbody")).get("/cgi-bin/x").expect(status);
        if !reason.is_empty() {
            assert_eq!(response.head.reason, reason, "{line}");
        }
        assert_eq!(response.field("status"), None);
        assert_eq!(response.text(), "body");
    }
}

#[test]
fn two_statuses_are_remarked_upon() {
    let server = printing("Status: 201\nStatus: 202\nContent-Type: text/plain\n\n");
    server.get("/cgi-bin/x").expect(202);
    server.wait_for_log(|line| line.contains("\"Status\" stands twice"));
}

#[test]
fn bad_status_is_502() {
    let statuses =
        ["abc", "99", "600", "1000", "20", "2000", "20x", "-200", "100 Continue", "101", "+200", "200OK", "0x200", "0"];
    let texts = statuses.map(|status| format!("Status: {status}\nContent-Type: text/plain\n\nSECRET"));
    each(&texts.each_ref().map(String::as_str), |_, _, server, target| {
        let response = server.get(target).expect_failure(502, "bad-script-head");
        assert!(!response.text().contains("SECRET"));
        server.wait_for_log(|line| {
            line.contains(target.trim_start_matches("/cgi-bin/")) && line.contains("is not a status")
        });
    });
}

#[test]
fn a_script_that_says_nothing_is_502_and_the_log_says_how_it_ended() {
    let tree =
        Tree::new().script("says_nothing", "#!/bin/sh\nexit 7\n").script("dies_at_once", "#!/bin/sh\nkill -SEGV $$\n");
    let server = serve(tree);
    server.get("/cgi-bin/says_nothing").expect_failure(502, "empty-answer");
    server.wait_for_log(|line| line.contains("says_nothing") && line.contains("exited with status 7"));
    server.get("/cgi-bin/dies_at_once").expect_failure(502, "empty-answer");
    server.wait_for_log(|line| line.contains("dies_at_once") && line.contains("signal 11"));
}

#[test]
fn rubbish_is_502_and_no_octet_of_it_reaches_the_client() {
    let cases = [
        ("just text, SECRET\n", "bad-script-head"),
        ("just text without a line end, SECRET", "no-script-head"),
        ("Content-Type: text/plain\nX-A: SECRET\n", "no-script-head"),
        ("Content-Type: text/plain\nSECRET without a colon\nX: y\n\nSECRET", "bad-script-head"),
        ("Content-Type : text/plain\n\nSECRET", "bad-script-head"),
        ("Content-Type: text/plain\nSet-Cookie\\t: SECRET\n\nx", "bad-script-head"),
        (": no name\n\nSECRET", "bad-script-head"),
        ("\nSECRET", "bad-script-head"),
        ("\r\nSECRET", "bad-script-head"),
        ("\n\n\nContent-Type: text/plain\n\nSECRET", "bad-script-head"),
        (" Content-Type: text/plain\n\nSECRET", "bad-script-head"),
    ];
    each(&cases.map(|case| case.0), |n, text, server, target| {
        let response = server.get(target).expect_failure(502, cases[n].1);
        assert!(!format!("{response:?}").contains("SECRET"), "{text:?}: {response:?}");
    });
}

#[test]
fn folded_lines_are_502() {
    for blank in [" ", "\\t"] {
        let server = printing(&format!("Content-Type: text/plain\nX-A: 1\n{blank}X-B: 2\n\nbody"));
        server.get("/cgi-bin/x").expect_failure(502, "bad-script-head");
        server.wait_for_log(|line| line.contains("folded"));
    }
}

#[test]
fn control_octets_in_a_value_are_502() {
    let values = ["a\\rSet-Cookie: evil=1", "a\\0000b", "a\\0033[31m", "\\0177", "a\\r\\rb", "a\\0010b"];
    let texts = values.map(|value| format!("Content-Type: text/plain\nX-A: {value}\n\nbody"));
    each(&texts.each_ref().map(String::as_str), |_, text, server, target| {
        let response = server.get(target).expect_failure(502, "bad-script-head");
        assert!(response.head.all("set-cookie").is_empty(), "{text}");
    });
    // The same in the fields that the server reads itself.
    for line in
        ["Status: 200 a\\rX: y", "Location: http://h/\\rX: y", "Content-Type: a\\0001", "Content-Length: 4\\0000"]
    {
        printing(&format!("X-A: 1\n{line}\n\nbody")).get("/cgi-bin/x").expect_failure(502, "bad-script-head");
    }
}

#[test]
fn octets_beyond_ascii_pass_through() {
    let response = printing("Content-Type: text/plain\nX-A: \\0351\\0377\n\nbody").get("/cgi-bin/x").expect(200);
    assert_eq!(response.head.octets("x-a"), [b"\xe9\xff"]);
}

#[test]
fn names_that_are_no_tokens_are_dropped_and_logged() {
    // Python's cgitb begins like this, on purpose.
    let server = printing("<!--: spam\nContent-Type: text/html\nX(Y): z\n\nbody");
    let response = server.get("/cgi-bin/x").expect(200);
    assert_eq!(response.text(), "body");
    server.wait_for_log(|line| line.contains("field dropped") && line.contains("<!--"));
}

#[test]
fn empty_values_are_no_error() {
    let response =
        printing("Content-Type:\nLocation:\nStatus:\nContent-Length:\nX-A:\n\nbody").get("/cgi-bin/x").expect(200);
    assert_eq!(response.field("content-type"), None);
    assert_eq!(response.field("location"), None);
    assert_eq!(response.field("x-a").as_deref(), Some(""));
    assert_eq!(response.text(), "body");
}

#[test]
fn a_colon_needs_no_space() {
    let response = printing("Content-Type:text/x\nStatus:201\n\n").get("/cgi-bin/x").expect(201);
    assert_eq!(response.field("content-type").as_deref(), Some("text/x"));
}

#[test]
fn a_head_over_the_limit_is_502() {
    let tree = Tree::new()
        .script("one_long_line", "#!/bin/sh\nprintf 'Content-Type: text/plain\\nX: '\nhead -c 70000 /dev/zero | tr '\\0' x\nprintf '\\n\\nbody'\n")
        .script("never_ends", "#!/bin/sh\nexec cat /dev/zero\n")
        .script("endless_line", "#!/bin/sh\nexec tr '\\0' x < /dev/zero\n")
        .script("two_thousand_fields", "#!/bin/sh\ni=0\nwhile [ $i -lt 2000 ]; do echo \"X-$i: y\"; i=$((i+1)); done\necho\necho body\n")
        .script("long_enough", "#!/bin/sh\nprintf 'Content-Type: text/plain\\nX: '\nhead -c 60000 /dev/zero | tr '\\0' x\nprintf '\\n\\nbody'\n");
    let server = serve(tree);
    for script in ["one_long_line", "never_ends", "endless_line", "two_thousand_fields"] {
        server.get(&format!("/cgi-bin/{script}")).expect_failure(502, "script-head-too-large");
    }
    let response = server.get("/cgi-bin/long_enough").expect(200);
    assert_eq!(response.field("x").map(|x| x.len()), Some(60000));
}

#[test]
fn the_limits_of_a_head_are_the_operators() {
    let tree = Tree::new()
        .script("x", &prints("Content-Type: text/plain\nX-A: 0123456789\nX-B: 1\n\nbody"))
        .script("y", &prints("Content-Type: text/plain\nX: 1\n\nbody"))
        .config("[scripts]\nhead-size = 48\nhead-fields = 2");
    let server = serve(tree);
    server.get("/cgi-bin/x").expect_failure(502, "script-head-too-large");
    server.get("/cgi-bin/y").expect(200);
}

#[test]
fn repeated_fields_stay_separate_and_in_order() {
    let server = printing(
        "Content-Type: text/plain\nSet-Cookie: a=1; Path=/\nX-A: 1\nSet-Cookie: b=2\nX-A: 2\nLink: <x>\nLink: <y>\n\n",
    );
    let response = server.get("/cgi-bin/x").expect(200);
    assert_eq!(response.head.all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(response.head.all("x-a"), ["1", "2"]);
    assert_eq!(response.head.all("link"), ["<x>", "<y>"]);
}

#[test]
fn fields_that_may_stand_once_conflict() {
    for (line, status) in [
        ("Content-Type: text/a\nContent-Type: text/b", 502),
        ("Content-Type: text/a\nContent-Type: text/a", 200),
        ("Content-Length: 4\nContent-Length: 5", 502),
        ("Content-Length: 4\nContent-Length: 4", 200),
        ("Location: http://a/\nLocation: http://b/", 502),
        ("Content-Length: 4, 4", 502),
        ("Content-Length: +4", 502),
        ("Content-Length: -1", 502),
        ("Content-Length: 0x4", 502),
        ("Content-Length: 99999999999999999999", 502),
    ] {
        let response = printing(&format!("X-A: 1\n{line}\n\nbody")).get("/cgi-bin/x");
        assert_eq!(response.status(), status, "{line}");
    }
}

#[test]
fn hop_by_hop_fields_end_here() {
    let server = printing(
        "Content-Type: text/plain\nConnection: X-Secret, close\nX-Secret: 1\nKeep-Alive: timeout=5\nProxy-Authenticate: x\n\
         Proxy-Connection: x\nTE: x\nTrailer: x\nUpgrade: h2c\nX-CGI-Note: x\n\nbody",
    );
    let mut client = server.connect();
    let response = client.get("/cgi-bin/x").expect(200);
    for name in ["x-secret", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "upgrade"] {
        assert!(response.head.all(name).is_empty(), "{name}: {:?}", response.head);
    }
    // The RFC lets a server delete these; Go's tests of a host expect them (§6.3.5).
    assert_eq!(response.field("x-cgi-note").as_deref(), Some("x"));
    // Whether the connection lives on is not the script's to say.
    assert_eq!(response.field("connection"), None);
    client.get("/cgi-bin/x").expect(200);
    let answer = h2::get(server.address, "/cgi-bin/x", &[]);
    assert_eq!((answer.reset, answer.body.as_slice()), (None, &b"body"[..]));
}

#[test]
fn a_chunked_body_is_unframed_and_framed_once() {
    let server =
        printing("Content-Type: text/plain\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n");
    let mut client = server.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/cgi-bin/x").expect(200).text(), "abcdefg");
    }
}

#[test]
fn other_codings_of_a_script_are_502() {
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "x"] {
        let server = printing(&format!("Content-Type: text/plain\nTransfer-Encoding: {coding}\n\nbody"));
        server.get("/cgi-bin/x").expect_failure(502, "bad-script-head");
    }
}

#[test]
fn broken_chunks_of_a_script_break_the_answer_off() {
    for body in ["3\r\nabc\r\n", "zz\r\n", "3\r\nabcdef\r\n0\r\n\r\n"] {
        let server = printing(&format!("Content-Type: text/plain\nTransfer-Encoding: chunked\n\n{body}"));
        let response = server.get("/cgi-bin/x");
        assert!(response.end == End::Aborted || response.status() == 502, "{body:?}: {response:?}");
    }
}

#[test]
fn there_is_one_date_and_one_server() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let server = printing(&format!("Content-Type: text/plain\nDate: {date}\nServer: mine/1\nDate: x\nServer: y\n\n"));
    let response = server.get("/cgi-bin/x").expect(200);
    assert_eq!(response.field("date").as_deref(), Some(date));
    assert_eq!(response.field("server").as_deref(), Some("mine/1"));
}

#[test]
fn a_body_beyond_its_length_is_cut_and_the_connection_stays_in_step() {
    let server = printing("Content-Type: text/plain\nContent-Length: 4\n\nbodyHTTP/1.1 200 OK\r\nX: smuggled\r\n\r\n");
    let mut client = server.connect();
    for _ in 0..3 {
        let response = client.get("/cgi-bin/x").expect(200);
        assert_eq!((response.text().as_str(), response.end), ("body", End::Length));
    }
    server.wait_for_log(|line| line.contains("longer than its Content-Length"));
}

#[test]
fn a_body_short_of_its_length_breaks_the_answer_off() {
    let server = printing("Content-Type: text/plain\nContent-Length: 10\n\nbody");
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response();
    assert_eq!((response.end, response.text().as_str()), (End::Aborted, "body"));
    server.wait_for_log(|line| line.contains("shorter than its Content-Length"));
    assert!(h2::get(server.address, "/cgi-bin/x", &[]).reset.is_some());
}

#[test]
fn answers_without_a_body_have_none() {
    let cases = [
        "Status: 204\nContent-Type: text/plain\n\nleaked",
        "Status: 304\nETag: \"x\"\n\nleaked",
        "Status: 204\nContent-Length: 6\n\nleaked",
        "Status: 304\nContent-Length: 6\n\nleaked",
    ];
    each(&cases, |_, text, server, target| {
        let mut client = server.connect();
        for _ in 0..2 {
            let response = client.get(target);
            assert!(matches!(response.status(), 204 | 304));
            if response.status() == 204 {
                assert_eq!(response.field("content-length"), None, "{text}");
            }
            assert_eq!(response.field("transfer-encoding"), None);
        }
        // In step: what follows is the next answer and not the body.
        client.get("/cgi-bin/none").expect(404);
    });
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let tree = Tree::new().script("x", &prints("Content-Type: text/x\nContent-Length: 4\nX-A: 1\n\nbody")).script(
        "long",
        "#!/bin/sh\nprintf 'Content-Type: text/x\\n\\n'\nhead -c 1000000 /dev/zero\necho done > @NOTES@/long\n",
    );
    let server = serve(tree);
    let mut client = server.connect();
    client.send("HEAD /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response_to_head().expect(200);
    assert_eq!(response.field("content-length").as_deref(), Some("4"));
    assert_eq!(response.field("content-type").as_deref(), Some("text/x"));
    // The output of a longer one is read to its end, so that the program ends as it would after a GET.
    client.send("HEAD /cgi-bin/long HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.response_to_head().expect(200);
    assert_eq!(server.tree.note("long"), "done");
    client.get("/cgi-bin/x").expect(200);
}

#[test]
fn interim_answers_are_forwarded() {
    let server = printing(
        "Status: 103\nLink: </a.css>; rel=preload\n\nStatus: 103\nLink: </b.js>\n\nContent-Type: text/plain\n\nbody",
    );
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for link in ["</a.css>; rel=preload", "</b.js>"] {
        let head = client.head();
        assert_eq!((head.status, head.get("link").as_deref()), (103, Some(link)));
    }
    let response = client.response().expect(200);
    assert_eq!((response.text().as_str(), response.field("link")), ("body", None));
    client.get("/cgi-bin/none");

    // A client of HTTP/1.0 would take it for the answer.
    let response = server.ask("GET /cgi-bin/x HTTP/1.0\r\n\r\n").expect(200);
    assert_eq!(response.text(), "body");
}

#[test]
fn an_interim_answer_arrives_before_the_final_one_is_ready() {
    let script = "#!/bin/sh\nprintf 'Status: 103\\nLink: </a>\\n\\n'\nread go < @NOTES@/go\nprintf 'Content-Type: text/plain\\n\\nbody'\n";
    let server = serve(Tree::new().script("x", script));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 103);
    gate.open();
    client.response().expect(200);
}

#[test]
fn interim_answers_alone_are_no_answer() {
    printing("Status: 103\nLink: </a>\n\n").ask("GET /cgi-bin/x HTTP/1.0\r\n\r\n").expect(502);
}

#[test]
fn http_1_0_gets_no_chunks_and_a_close() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfirst\\n'\nread go < @NOTES@/go\necho last\n";
    let server = serve(Tree::new().script("x", script));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/x HTTP/1.0\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.get("transfer-encoding")), (200, None));
    client.wait_for("first\n");
    gate.open();
    assert_eq!(client.rest(), b"first\nlast\n");
}

#[test]
fn ranges_are_the_scripts_business() {
    let server = printing("Content-Type: text/plain\nContent-Length: 10\n\n0123456789");
    let response = server
        .ask("GET /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\nRange: bytes=2-3\r\nConnection: close\r\n\r\n")
        .expect(200);
    assert_eq!((response.text().as_str(), response.field("content-range")), ("0123456789", None));
}
