//! RFC 3875 §4.4: the command line.

use crate::server::{Server, serve};
use crate::tree::Tree;
use crate::vars::COMMAND_LINE;

/// What follows the script's name on the command line.
fn arguments(server: &Server, request: &str) -> Vec<String> {
    let response = server.ask(request).expect(200);
    let all: Vec<_> = response.text().split_terminator('\0').map(str::to_owned).collect();
    assert!(all[1].ends_with("/cgi-bin/x"), "{all:?}");
    all[2..].to_vec()
}

fn request(method: &str, query: &str) -> String {
    format!("{method} /cgi-bin/x?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn there_are_none_unless_switched_on() {
    let server = serve(Tree::new().script("x", COMMAND_LINE));
    for query in ["a+b", "-s", "%2ds", "-d+allow_url_include"] {
        assert_eq!(arguments(&server, &request("GET", query)), [""; 0], "{query}");
    }
}

#[test]
fn words_of_a_query_become_arguments_where_switched_on() {
    let server = serve(Tree::new().script("x", COMMAND_LINE).config("[scripts]\nisindex = true"));
    for (method, query, words) in [
        ("GET", "a+b", &["a", "b"][..]),
        ("GET", "a%20b+%2Bc", &["a b", "+c"]),
        ("GET", "a%3Db", &["a=b"]),
        ("GET", "$(id)+;+|", &["$(id)", ";", "|"]),
        ("GET", "a=b", &[]),
        ("GET", "", &[]),
        ("POST", "a+b", &[]),
        ("PUT", "a", &[]),
        // One word that cannot be decoded, and there are none.
        ("GET", "a+%zz", &[]),
        ("GET", "a+%00", &[]),
        // CVE-2012-1823: php-cgi would take these for its own options.
        ("GET", "-s", &[]),
        ("GET", "a+-d", &[]),
        ("GET", "%2ds", &[]),
    ] {
        assert_eq!(arguments(&server, &request(method, query)), words, "{method} {query}");
    }
}

#[test]
fn the_name_on_the_command_line_is_the_scripts() {
    // A program that looks at its own name, as multi-call programs do; the link has another name than the program.
    let tree = Tree::new()
        .link("cgi-bin/cat", "/bin/cat")
        .file("cgi-bin/head.txt", "Content-Type: text/plain\n\n")
        .config("[scripts]\nisindex = true");
    let server = serve(tree);
    let response = server.get("/cgi-bin/cat?head.txt+%2Fproc%2Fself%2Fcmdline").expect(200);
    let own = server.tree.path("cgi-bin/cat");
    assert_eq!(response.text().split('\0').next(), own.to_str());
}
