//! RFC 3875 §4.1: what a script is told, and what it is never told.

use crate::h2;
use crate::server::{Server, command, launch, serve, serve_with};
use crate::tree::Tree;
use crate::vars::{ENVIRONMENT, Vars};

fn server() -> Server {
    serve(Tree::new().script("env", ENVIRONMENT))
}

/// A request for `/cgi-bin/env` with these lines in its head.
fn with(lines: &str) -> String {
    format!("GET /cgi-bin/env HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n")
}

#[test]
fn a_plain_get_has_exactly_these_variables() {
    let server = server();
    let vars = server.vars_of("/cgi-bin/env");
    let names: Vec<_> = vars.names().collect();
    let wanted = [
        "DOCUMENT_ROOT",
        "GATEWAY_INTERFACE",
        "HTTP_HOST",
        "PATH",
        "PATH_INFO",
        "QUERY_STRING",
        "REDIRECT_STATUS",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "REQUEST_METHOD",
        "REQUEST_SCHEME",
        "REQUEST_URI",
        "SCRIPT_FILENAME",
        "SCRIPT_NAME",
        "SERVER_ADDR",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
        "UNIQUE_ID",
        "X_STATE_DIRECTORY",
    ];
    assert_eq!(names, wanted);
    let port = server.address.port().to_string();
    let file = server.tree.path("cgi-bin/env");
    let root = server.tree.path("htdocs");
    vars.expect(&[
        ("GATEWAY_INTERFACE", Some("CGI/1.1")),
        ("REQUEST_METHOD", Some("GET")),
        ("QUERY_STRING", Some("")),
        ("SCRIPT_NAME", Some("/cgi-bin/env")),
        ("PATH_INFO", Some("")),
        ("REQUEST_URI", Some("/cgi-bin/env")),
        ("SCRIPT_FILENAME", file.to_str()),
        ("DOCUMENT_ROOT", root.to_str()),
        ("REDIRECT_STATUS", Some("200")),
        ("SERVER_PROTOCOL", Some("HTTP/1.1")),
        ("SERVER_NAME", Some("localhost")),
        ("SERVER_PORT", Some(&port)),
        ("SERVER_ADDR", Some("127.0.0.1")),
        ("REMOTE_ADDR", Some("127.0.0.1")),
        ("REMOTE_HOST", Some("127.0.0.1")),
        ("REQUEST_SCHEME", Some("http")),
        ("PATH", Some("/usr/local/bin:/usr/bin:/bin")),
    ]);
}

#[test]
fn remote_port_is_the_clients() {
    let server = server();
    let mut client = server.connect();
    let port = client.stream.local_addr().unwrap().port().to_string();
    let vars = Vars::of(client.get("/cgi-bin/env"));
    vars.expect(&[("REMOTE_PORT", Some(&port))]);
}

#[test]
fn server_software_is_the_server_field() {
    let server = server();
    let response = server.get("/cgi-bin/env");
    let field = response.field("server").unwrap();
    Vars::of(response).expect(&[("SERVER_SOFTWARE", Some(&field))]);
    assert!(field.starts_with("cgiserve/"));
}

#[test]
fn methods_pass_as_sent() {
    let server = server();
    for method in
        ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "M-SEARCH", "X!#$%&'*+-.^_`|~9"]
    {
        let request = format!("{method} /cgi-bin/env HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        server.vars(request).expect(&[("REQUEST_METHOD", Some(method))]);
    }
    for (method, status) in [("TRACE", 405), ("TRACK", 405)] {
        let response = server.ask(format!("{method} /cgi-bin/env HTTP/1.1\r\nHost: localhost\r\n\r\n")).expect(status);
        assert!(response.field("allow").is_some());
    }
    let response = server.ask("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n");
    assert!(matches!(response.status(), 405 | 501 | 400), "{:?}", response.head);
}

#[test]
fn queries_stay_raw() {
    let server = server();
    for (target, query) in [
        ("/cgi-bin/env", ""),
        ("/cgi-bin/env?", ""),
        ("/cgi-bin/env?a=1&b=%20+%zz", "a=1&b=%20+%zz"),
        ("/cgi-bin/env?a=b?c=d&e", "a=b?c=d&e"),
        ("/cgi-bin/env?k=aa%2F%2Fbb&//q//p//=//a//b//", "k=aa%2F%2Fbb&//q//p//=//a//b//"),
        ("/cgi-bin/env?/../x", "/../x"),
        ("/cgi-bin/env??", "?"),
        ("/cgi-bin/env?\"<>\\^`{|}", "\"<>\\^`{|}"),
    ] {
        let vars = server.vars_of(target);
        vars.expect(&[("QUERY_STRING", Some(query)), ("REQUEST_URI", Some(target)), ("PATH_INFO", Some(""))]);
    }
}

#[test]
fn octets_beyond_ascii_arrive_as_sent() {
    let server = server();
    let request =
        b"GET /cgi-bin/env/\xe9?\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: \xe9\xff\r\n\r\n";
    let vars = server.vars(request);
    assert_eq!(vars.octets("PATH_INFO"), Some(&b"/\xe9"[..]));
    assert_eq!(vars.octets("QUERY_STRING"), Some(&b"\xff\xfe"[..]));
    assert_eq!(vars.octets("REQUEST_URI"), Some(&b"/cgi-bin/env/\xe9?\xff\xfe"[..]));
    assert_eq!(vars.octets("HTTP_X_A"), Some(&b"\xe9\xff"[..]));
}

#[test]
fn a_fragment_is_refused() {
    server().get("/cgi-bin/env?a=1#b").expect(400);
}

#[test]
fn the_path_is_split_between_script_name_and_path_info() {
    let tree = Tree::new().script("env", ENVIRONMENT).script("deep/er/env", ENVIRONMENT);
    let server = serve(tree);
    let root = server.tree.path("htdocs").display().to_string();
    for (target, name, info) in [
        ("/cgi-bin/env", "/cgi-bin/env", ""),
        ("/cgi-bin/env/", "/cgi-bin/env", "/"),
        ("/cgi-bin/env/a/B", "/cgi-bin/env", "/a/B"),
        ("/cgi-bin/env/a/", "/cgi-bin/env", "/a/"),
        ("/cgi-bin/env/a+b%20c", "/cgi-bin/env", "/a+b c"),
        ("/cgi-bin/env/a%252Fb", "/cgi-bin/env", "/a%2Fb"),
        ("/cgi-bin/env/a%2Fb", "/cgi-bin/env", "/a/b"),
        ("/cgi-bin/env/%2e%3b", "/cgi-bin/env", "/.;"),
        ("/cgi-bin/env/this%2eis%2epath%3binfo", "/cgi-bin/env", "/this.is.path;info"),
        ("/cgi-bin/env/a/../b", "/cgi-bin/env", "/b"),
        ("/cgi-bin/env//a//b", "/cgi-bin/env", "/a/b"),
        ("/cgi-bin/deep/er/env/x", "/cgi-bin/deep/er/env", "/x"),
        ("//cgi-bin///env", "/cgi-bin/env", ""),
        ("/cgi%2dbin/%65nv/x", "/cgi-bin/env", "/x"),
    ] {
        let vars = server.vars_of(target);
        let translated = (!info.is_empty()).then(|| format!("{root}{info}"));
        vars.expect(&[
            ("SCRIPT_NAME", Some(name)),
            ("PATH_INFO", Some(info)),
            ("PATH_TRANSLATED", translated.as_deref()),
            ("REQUEST_URI", Some(target)),
        ]);
    }
}

#[test]
fn an_empty_path_info_can_be_left_out() {
    let server = serve(Tree::new().script("env", ENVIRONMENT).config("[scripts]\nempty-path-info = \"unset\""));
    server.vars_of("/cgi-bin/env").expect(&[("PATH_INFO", None)]);
    server.vars_of("/cgi-bin/env/").expect(&[("PATH_INFO", Some("/"))]);
}

#[test]
fn path_info_is_decoded_once_and_keeps_its_octets() {
    let server = server();
    let vars = server.vars_of("/cgi-bin/env/%e9%FF%2B");
    assert_eq!(vars.octets("PATH_INFO"), Some(&b"/\xe9\xff+"[..]));
}

#[test]
fn an_encoded_slash_can_be_refused() {
    let server = serve(Tree::new().script("env", ENVIRONMENT).config("[scripts]\nencoded-slash = \"reject\""));
    server.get("/cgi-bin/env/a%2Fb").expect(404);
    server.vars_of("/cgi-bin/env/a/b").expect(&[("PATH_INFO", Some("/a/b"))]);
}

#[test]
fn bad_escapes_are_refused_before_a_script_starts() {
    let server = serve(Tree::new().script("env", "#!/bin/sh\ntouch @NOTES@/ran\n"));
    for target in [
        "/cgi-bin/env/%00",
        "/cgi-bin/env%00",
        "/cgi-bin/env/a%00b",
        "/cgi-bin/env/%0d",
        "/cgi-bin/env/%0a",
        "/cgi-bin/env/%zz",
        "/cgi-bin/env/%2",
        "/cgi-bin/env/%",
        "/cgi-bin/env/..%2f..%2fx",
        "/cgi-bin/env/%2e%2e%2f",
    ] {
        server.get(target).expect(400);
    }
    assert!(!server.tree.has_note("ran"));
}

#[test]
fn path_translated_needs_no_file_and_makes_none() {
    let server = server();
    let there = server.tree.path("htdocs/not/there.txt");
    server.vars_of("/cgi-bin/env/not/there.txt").expect(&[("PATH_TRANSLATED", there.to_str())]);
    assert!(!server.tree.path("htdocs/not").exists());
}

#[test]
fn a_script_for_a_suffix_has_an_empty_name() {
    let config = "[[route]]\npath = \"*.zzz\"\nscript = \"cgi-bin/env\"";
    let server = serve(Tree::new().script("env", ENVIRONMENT).config(config));
    let translated = server.tree.path("htdocs/a/page.zzz");
    server.vars_of("/a/page.zzz?q").expect(&[
        ("SCRIPT_NAME", Some("")),
        ("PATH_INFO", Some("/a/page.zzz")),
        ("PATH_TRANSLATED", translated.to_str()),
        ("QUERY_STRING", Some("q")),
    ]);
}

#[test]
fn a_script_at_the_root_has_an_empty_name() {
    let config = "[[route]]\npath = \"/\"\nscript = \"cgi-bin/env\"";
    let server = serve(Tree::new().script("env", ENVIRONMENT).config(config));
    server.vars_of("/x/y").expect(&[("SCRIPT_NAME", Some("")), ("PATH_INFO", Some("/x/y"))]);
    server.vars_of("/").expect(&[("SCRIPT_NAME", Some("")), ("PATH_INFO", Some("/"))]);
}

#[test]
fn an_absolute_target_is_reduced_and_replaces_host() {
    let server = server();
    let vars = server.vars(
        "GET http://other.example:81/cgi-bin/env/x?q HTTP/1.1\r\nHost: other.example:81\r\nConnection: close\r\n\r\n",
    );
    vars.expect(&[
        ("REQUEST_URI", Some("/cgi-bin/env/x?q")),
        ("SERVER_NAME", Some("other.example")),
        ("PATH_INFO", Some("/x")),
    ]);
}

#[test]
fn server_name_and_port() {
    let server = server();
    let port = server.address.port().to_string();
    for (host, name) in [
        ("localhost", "localhost"),
        ("Example.COM:9", "Example.COM"),
        ("[::1]:80", "[::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("127.0.0.1:1", "127.0.0.1"),
    ] {
        let request = format!("GET /cgi-bin/env HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let vars = server.vars(request);
        vars.expect(&[("SERVER_NAME", Some(name)), ("SERVER_PORT", Some(&port)), ("HTTP_HOST", Some(host))]);
    }
    let vars = server.vars("GET /cgi-bin/env HTTP/1.0\r\n\r\n");
    vars.expect(&[("SERVER_NAME", Some("127.0.0.1")), ("SERVER_PROTOCOL", Some("HTTP/1.0")), ("HTTP_HOST", None)]);
}

#[test]
fn a_configured_server_name_wins() {
    let server = serve(Tree::new().script("env", ENVIRONMENT).config("server-name = \"www.example\""));
    server.vars_of("/cgi-bin/env").expect(&[("SERVER_NAME", Some("www.example")), ("HTTP_HOST", Some("localhost"))]);
}

#[test]
fn ipv6_addresses_have_no_brackets() {
    let server = serve_with(Tree::new().script("env", ENVIRONMENT), &["-b", "::1"]);
    server.vars("GET /cgi-bin/env HTTP/1.0\r\n\r\n").expect(&[
        ("REMOTE_ADDR", Some("::1")),
        ("SERVER_ADDR", Some("::1")),
        ("SERVER_NAME", Some("[::1]")),
    ]);
}

#[test]
fn length_and_type_are_set_only_for_a_body() {
    let server = server();
    server.vars(with("")).expect(&[("CONTENT_LENGTH", None), ("CONTENT_TYPE", None)]);
    server.vars(with("Content-Length: 0\r\n")).expect(&[("CONTENT_LENGTH", Some("0"))]);
    let post = "POST /cgi-bin/env HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    server.vars(format!("{post}Content-Length: 5\r\n\r\nhello")).expect(&[
        ("CONTENT_LENGTH", Some("5")),
        ("CONTENT_TYPE", None),
        ("HTTP_CONTENT_LENGTH", None),
    ]);
    server.vars(format!("{post}Content-Length: 5\r\nContent-Type: text/x\r\n\r\nhello")).expect(&[
        ("CONTENT_LENGTH", Some("5")),
        ("CONTENT_TYPE", Some("text/x")),
        ("HTTP_CONTENT_TYPE", None),
    ]);
    server
        .vars(format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
        .expect(&[("CONTENT_LENGTH", Some("5")), ("HTTP_TRANSFER_ENCODING", None)]);
}

#[test]
fn header_fields_become_variables() {
    let server = server();
    let vars = server.vars(with(
        "X-Foo: bar\r\nACCEPT: a\r\nAccept: b;q=1\r\nCookie: a=1\r\nCookie: b=2\r\nX-Empty:\r\nX-H2: two\r\n\
         Git-Protocol: version=2\r\nContent-Encoding: gzip\r\nX-Blank:  in  the  middle \r\n",
    ));
    vars.expect(&[
        ("HTTP_X_FOO", Some("bar")),
        ("HTTP_ACCEPT", Some("a, b;q=1")),
        ("HTTP_COOKIE", Some("a=1; b=2")),
        ("HTTP_X_EMPTY", Some("")),
        ("HTTP_X_H2", Some("two")),
        ("HTTP_GIT_PROTOCOL", Some("version=2")),
        ("HTTP_CONTENT_ENCODING", Some("gzip")),
        ("HTTP_X_BLANK", Some("in  the  middle")),
        ("HTTP_CONNECTION", None),
    ]);
}

#[test]
fn the_proxy_field_never_arrives() {
    let server = server();
    for name in ["Proxy", "PROXY", "proxy"] {
        server.vars(with(&format!("{name}: http://evil\r\n"))).expect(&[("HTTP_PROXY", None), ("http_proxy", None)]);
    }
    let answer = h2::get(server.address, "/cgi-bin/env", &[("proxy", "http://evil")]);
    assert!(!String::from_utf8_lossy(&answer.body).contains("evil"));
}

#[test]
fn a_twin_with_underscore_never_overwrites() {
    let server = server();
    let twins = "X-Foo: right\r\nX_Foo: wrong\r\nContent_Length: 99\r\nContent-Length: 0\r\nA.B: dot\r\nC'D: tick\r\n";
    let vars = server.vars(with(twins));
    vars.expect(&[
        ("HTTP_X_FOO", Some("right")),
        ("CONTENT_LENGTH", Some("0")),
        ("HTTP_CONTENT_LENGTH", None),
        ("HTTP_A.B", None),
        ("HTTP_A_B", None),
    ]);
    let wrong = |v: &str| v == "wrong" || v == "dot" || v == "tick" || v == "99";
    assert!(!vars.names().any(|name| vars.get(name).is_some_and(|v| wrong(&v))), "{vars:?}");
    server.vars(with("X_Foo: wrong\r\nX-Foo: right\r\n")).expect(&[("HTTP_X_FOO", Some("right"))]);
}

#[test]
fn credentials_are_withheld_unless_the_route_says_otherwise() {
    let fields = "Authorization: Basic eDp5\r\nProxy-Authorization: Basic eDp5\r\n";
    let withheld = server().vars(with(fields));
    withheld.expect(&[
        ("HTTP_AUTHORIZATION", None),
        ("HTTP_PROXY_AUTHORIZATION", None),
        ("REMOTE_USER", None),
        ("AUTH_TYPE", None),
    ]);
    let server = serve(Tree::new().script("env", ENVIRONMENT).config("[scripts]\npass-authorization = true"));
    server.vars(with(fields)).expect(&[
        ("HTTP_AUTHORIZATION", Some("Basic eDp5")),
        ("HTTP_PROXY_AUTHORIZATION", None),
        ("REMOTE_USER", None),
    ]);
}

#[test]
fn fields_cannot_pose_as_the_servers_own_variables() {
    let vars =
        server().vars(with("Remote-User: root\r\nAuth-Type: Basic\r\nHttps: on\r\nPath: /evil\r\nLd-Preload: x\r\n"));
    vars.expect(&[
        ("REMOTE_USER", None),
        ("AUTH_TYPE", None),
        ("HTTPS", None),
        ("LD_PRELOAD", None),
        ("PATH", Some("/usr/local/bin:/usr/bin:/bin")),
        ("HTTP_REMOTE_USER", Some("root")),
        ("HTTP_HTTPS", Some("on")),
    ]);
}

#[test]
fn the_environment_is_only_ours() {
    let tree = Tree::new()
        .script("env", ENVIRONMENT)
        .config("[scripts]\npass-env = [\"PASSED\"]\nenv = { SET = \"by the operator\", LANG = \"xx\" }");
    tree.settle();
    let mut command = command(&tree);
    command.args(["-b", "127.0.0.1", "0"]);
    command.env("PASSED", "on").env("TZ", "UTC").env("LC_TIME", "C").env("LANG", "yy").env("HTTP_X", "forged");
    let server = launch(command, tree);
    server.vars_of("/cgi-bin/env").expect(&[
        ("A_SECRET", None),
        ("HOME", None),
        ("HTTP_X", None),
        ("PASSED", Some("on")),
        ("SET", Some("by the operator")),
        ("LANG", Some("xx")),
        ("TZ", Some("UTC")),
        ("LC_TIME", Some("C")),
    ]);
}

#[test]
fn path_is_never_empty() {
    let tree = Tree::new().script("env", ENVIRONMENT);
    tree.settle();
    let mut command = command(&tree);
    command.args(["-b", "127.0.0.1", "0"]).env("PATH", "");
    let server = launch(command, tree);
    server.vars_of("/cgi-bin/env").expect(&[("PATH", Some("/usr/local/bin:/usr/bin:/bin"))]);
}

#[test]
fn simultaneous_requests_do_not_mix() {
    let server = server();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..4 {
                    let (own, shared) = (format!("X-N{n}"), format!("{n}.{round}"));
                    let vars = server.vars(with(&format!("{own}: here\r\nX-Shared: {shared}\r\n")));
                    let mine = format!("HTTP_X_N{n}");
                    let others: Vec<_> = vars.names().filter(|v| v.starts_with("HTTP_X_N") && *v != mine).collect();
                    assert_eq!(others, [""; 0]);
                    vars.expect(&[(&mine, Some("here")), ("HTTP_X_SHARED", Some(&shared))]);
                }
            });
        }
    });
}

#[test]
fn too_large_an_environment_is_the_clients_fault() {
    let server = serve(Tree::new().script("env", ENVIRONMENT));
    server.get(&format!("/cgi-bin/env?{}", "q".repeat(9000))).expect_failure(414, "target-too-long");
    server.ask(with(&format!("X-Long: {}\r\n", "v".repeat(9000)))).expect_failure(431, "header-too-large");
    let many: String = (0..200).map(|n| format!("X-{n}: v\r\n")).collect();
    server.ask(with(&many)).expect_failure(431, "too-many-headers");
    // Within every limit of the head, joined beyond what the kernel takes in one variable (128 KiB): unreachable, as
    // the head as a whole is limited to half of that.
    let joined = format!("X: {}\r\n", "v".repeat(8000)).repeat(7);
    let vars = server.vars(with(&joined));
    assert_eq!(vars.get("HTTP_X").map(|v| v.len()), Some(7 * 8000 + 6 * 2));
}

#[test]
fn http2_requests_have_the_same_variables() {
    let server = server();
    let answer = h2::get(server.address, "/cgi-bin/env/x?q", &[("cookie", "a=1"), ("cookie", "b=2"), ("x-foo", "bar")]);
    assert_eq!(answer.reset, None);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let all: Vec<_> = text.split('\0').collect();
    for wanted in [
        "SERVER_PROTOCOL=HTTP/2.0",
        "HTTP_COOKIE=a=1; b=2",
        "HTTP_HOST=localhost",
        "SERVER_NAME=localhost",
        "PATH_INFO=/x",
        "QUERY_STRING=q",
        "HTTP_X_FOO=bar",
        "REQUEST_URI=/cgi-bin/env/x?q",
    ] {
        assert!(all.contains(&wanted), "no {wanted} in {all:?}");
    }
}

#[test]
fn the_url_leads_back_to_the_same_script() {
    let server = server();
    let first = server.vars_of("/cgi-bin/env/a%20b?c=d");
    let get = |name: &str| first.get(name).unwrap();
    let path = format!("{}{}", get("SCRIPT_NAME"), get("PATH_INFO")).replace(' ', "%20");
    assert_eq!(get("SERVER_PORT"), server.address.port().to_string());
    let again = server.vars(format!(
        "GET {}://{}:{}{path}?{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        get("REQUEST_SCHEME"),
        get("SERVER_NAME"),
        get("SERVER_PORT"),
        get("QUERY_STRING")
    ));
    for name in ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PORT", "SCRIPT_FILENAME"] {
        assert_eq!(again.get(name), first.get(name), "{name}");
    }
}
