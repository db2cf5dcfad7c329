//! Drop-in behaviour: the cases of CPython's own `test_httpservers.py`, class `CGIHTTPServerTestCase`, by octets.

use crate::server::{Server, serve_with};
use crate::tools::need;
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;

const HELLO: &str = "#!/usr/bin/env python3\nprint(\"Content-type: text/html\")\nprint()\nprint(\"Hello World\")\n";
const FORM: &str = "#!/usr/bin/env python3
import os, sys
from urllib.parse import parse_qs
form = parse_qs(sys.stdin.read(int(os.environ['CONTENT_LENGTH'])))
print('Content-type: text/html')
print()
print('{}, {}, {}'.format(form['spam'][0], form['eggs'][0], form['bacon'][0]))
";

fn server() -> Server {
    need("python3", "python3");
    let tree = Tree::python()
        .script("file1.py", HELLO)
        .script("file2.py", FORM)
        .script("child-dir/file3.py", HELLO)
        .script("file4.py", ENVIRONMENT)
        .script("file5.py", &HELLO.replace("text/html", "text/html; charset=utf-8"));
    serve_with(tree, &["--cgi", "-b", "127.0.0.1"])
}

#[test]
fn headers_and_content() {
    let response = server().get("/cgi-bin/file1.py").expect(200);
    assert_eq!(
        (response.text().as_str(), response.field("content-type").as_deref()),
        ("Hello World\n", Some("text/html"))
    );
}

#[test]
fn issue_19435_a_long_path_to_nothing() {
    server().get("///////////nocgi.py/../cgi-bin/nothere.sh").expect(404);
}

#[test]
fn post_of_a_form() {
    let body = b"spam=1&eggs=python&bacon=123456";
    let response = server().post("/cgi-bin/file2.py", "application/x-www-form-urlencoded", body).expect(200);
    assert_eq!(response.text(), "1, python, 123456\n");
}

#[test]
fn an_invalid_uri_is_not_found() {
    server().get("/cgi-bin/invalid").expect(404);
}

#[test]
fn authorization_does_no_harm() {
    let request = "GET /cgi-bin/file1.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic dXNlcm5hbWU6cGFzcw==\r\n\r\n";
    assert_eq!(server().ask(request).expect(200).text(), "Hello World\n");
}

#[test]
fn a_target_without_its_slash_is_taken_as_python_took_it() {
    let request = "GET cgi-bin/file1.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server().ask(request).expect(200).text(), "Hello World\n");
    crate::server::serve(Tree::new()).ask(request).expect(400);
}

#[test]
fn the_environment_of_the_server_is_not_altered() {
    let server = server();
    let before = std::fs::read(format!("/proc/{}/environ", server.pid())).ok();
    server.get("/cgi-bin/file1.py").expect(200);
    assert_eq!(std::fs::read(format!("/proc/{}/environ", server.pid())).ok(), before);
}

#[test]
fn escapes_in_the_folders_name() {
    assert_eq!(server().get("/cgi%2dbin/file1.py").expect(200).text(), "Hello World\n");
}

#[test]
fn issue_21323_a_script_in_a_sub_folder() {
    assert_eq!(server().get("/cgi-bin/child-dir/file3.py").expect(200).text(), "Hello World\n");
}

#[test]
fn queries_with_question_marks_and_slashes() {
    let server = server();
    for query in ["a=b?c=d", "k=aa%2F%2Fbb&//q//p//=//a//b//"] {
        server.vars_of(&format!("/cgi-bin/file4.py?{query}")).expect(&[("QUERY_STRING", Some(query))]);
    }
}

#[test]
fn accept_fields_are_joined() {
    let request = "GET /cgi-bin/file4.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/html\r\nACCEPT: text/plain\r\n\r\n";
    server().vars(request).expect(&[("HTTP_ACCEPT", Some("text/html, text/plain"))]);
    let server =
        serve_with(Tree::python().script("file4.py", ENVIRONMENT), &["--cgi", "--python-compat", "-b", "127.0.0.1"]);
    server.vars(request).expect(&[("HTTP_ACCEPT", Some("text/html,text/plain"))]);
    server.vars_of("/cgi-bin/file4.py").expect(&[("HTTP_ACCEPT", Some(""))]);
}

#[test]
fn paths_collapse_as_python_published() {
    let server =
        serve_with(Tree::python().script("x", ENVIRONMENT).script("a/x", ENVIRONMENT), &["--cgi", "-b", "127.0.0.1"]);
    for (target, name, info) in [
        ("/cgi-bin/a/../x", "/cgi-bin/x", ""),
        ("/cgi-bin/x/b/c/../d", "/cgi-bin/x", "/b/d"),
        ("/cgi-bin/x/b/..", "/cgi-bin/x", "/"),
        ("//cgi-bin//x", "/cgi-bin/x", ""),
        ("/cgi-bin/./x", "/cgi-bin/x", ""),
        ("/cgi-bin/x/.", "/cgi-bin/x", "/"),
        ("/cgi-bin/a/b/../x", "/cgi-bin/a/x", ""),
    ] {
        server.vars_of(target).expect(&[("SCRIPT_NAME", Some(name)), ("PATH_INFO", Some(info))]);
    }
    for target in ["/..", "/cgi-bin/../..", "/cgi-bin/x/../../.."] {
        server.get(target).expect(400);
    }
    // A path of a single segment is never a script's.
    server.get("/cgi-bin").expect(301);
}
