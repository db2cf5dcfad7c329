//! `[[route]]`: prefix, exact path, suffix; scripts, one script, files, a redirect.

use crate::server::serve;
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;

const HELLO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";

#[test]
fn a_prefix_an_exact_path_and_a_suffix() {
    let config = r#"
[[route]]
path = "/tools/"
scripts = "programs"
[[route]]
path = "/api/items"
script = "programs/env"
[[route]]
path = "*.zzz"
script = "programs/env"
[[route]]
path = "/docs/"
files = "manual"
[[route]]
path = "/old"
redirect = "https://example.com/new?x=y"
[[route]]
path = "/gone/"
redirect = "/docs/"
status = 308
"#;
    let tree = Tree::new()
        .script_at("programs/env", ENVIRONMENT)
        .script_at("programs/deep/hello", HELLO)
        .file("manual/page.txt", "page")
        .file("htdocs/index.html", "index")
        .config(config);
    let server = serve(tree);
    server.vars_of("/tools/env/info").expect(&[("SCRIPT_NAME", Some("/tools/env")), ("PATH_INFO", Some("/info"))]);
    assert_eq!(server.get("/tools/deep/hello").expect(200).text(), "hello\n");
    server.vars_of("/api/items?a").expect(&[("SCRIPT_NAME", Some("/api/items")), ("PATH_INFO", Some(""))]);
    server.get("/api/items/").expect(404);
    server.get("/api/items2").expect(404);
    server.vars_of("/no/such/file.zzz").expect(&[("SCRIPT_NAME", Some("")), ("PATH_INFO", Some("/no/such/file.zzz"))]);
    assert_eq!(server.get("/docs/page.txt").expect(200).text(), "page");
    assert_eq!(server.get("/docs").expect(301).field("location").as_deref(), Some("/docs/"));
    assert_eq!(server.get("/old").expect(302).field("location").as_deref(), Some("https://example.com/new?x=y"));
    assert_eq!(server.get("/gone/anything").expect(308).field("location").as_deref(), Some("/docs/"));
    assert_eq!(server.get("/").expect(200).text(), "index");
}

/// Where nothing answers `/`, no files route is there to send to the folder whose slash was forgotten.
#[test]
fn a_forgotten_slash_is_added_without_a_route_for_the_root() {
    let config = "default-routes = false\n[[route]]\npath = \"/tools/\"\nscripts = \"cgi-bin\"\n\
                  [[route]]\npath = \"/a b/\"\nfiles = \"htdocs\"";
    let server = serve(Tree::new().script("hello", HELLO).file("htdocs/index.html", "index").config(config));
    for (target, location) in [
        ("/tools", "/tools/"),
        ("//tools?a=%20/b?c", "/tools/?a=%20/b?c"),
        ("/a%20b", "/a%20b/"),
        ("/x/../tools?", "/tools/?"),
    ] {
        let response = server.get(target).expect(301);
        assert_eq!(response.field("location").as_deref(), Some(location), "{target}");
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
    }
    for target in ["/", "/tool", "/none"] {
        server.get(target).expect(404);
    }
}

/// A suffix is for the files of a site; whoever gave a place of its own to a program wants everything there.
#[test]
fn a_program_with_a_place_of_its_own_goes_before_a_suffix_for_everywhere() {
    let config = "[[route]]\npath = \"*.cgi\"\nscript = \"programs/action\"\n\
                  [[route]]\npath = \"/cgit/\"\nscript = \"programs/cgit\"\n\
                  [[route]]\npath = \"/docs/\"\nfiles = \"manual\"";
    let tree = Tree::new()
        .script_at("programs/action", ENVIRONMENT)
        .script_at("programs/cgit", HELLO)
        .script("own.cgi", HELLO)
        .file("manual/x.cgi", "text");
    let server = serve(tree.config(config));
    for target in ["/cgit/tree/x.cgi", "/cgi-bin/own.cgi"] {
        assert_eq!(server.get(target).expect(200).text(), "hello\n", "{target}");
    }
    for target in ["/x.cgi", "/docs/x.cgi"] {
        server.vars_of(target).expect(&[("SCRIPT_NAME", Some("")), ("PATH_INFO", Some(target))]);
    }
}

/// What closes a suffix for everybody, or for some, closes it below every prefix.
#[test]
fn a_suffix_that_protects_goes_before_every_prefix() {
    let config = "[[route]]\npath = \"*.inc\"\nfiles = \"/dev/null\"\n\
                  [[route]]\npath = \"*.cgi\"\nscripts = \"cgi-bin\"\nauth = { file = \"users\" }\n\
                  [[route]]\npath = \"/deep/down/\"\nscripts = \"cgi-bin\"";
    let tree = Tree::new().script("x.inc", HELLO).script("x.cgi", HELLO).script("x", HELLO);
    let server = serve(tree.file("users", "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").config(config));
    server.get("/deep/down/x").expect(200);
    for (target, status) in [("/deep/down/x.inc", 404), ("/deep/down/x.cgi", 401), ("/cgi-bin/x.cgi", 401)] {
        server.get(target).expect(status);
    }
}

#[test]
fn one_route_may_have_several_paths() {
    let config = "[[route]]\npath = [\"/a/\", \"/b\", \"*.c\"]\nscript = \"cgi-bin/hello\"";
    let server = serve(Tree::new().script("hello", HELLO).config(config));
    for target in ["/a/", "/a/x", "/b", "/x.c"] {
        assert_eq!(server.get(target).expect(200).text(), "hello\n", "{target}");
    }
}

#[test]
fn scripts_of_a_suffix_live_among_files() {
    let config = "[[route]]\npath = \"*.cgi\"\nscripts = \"htdocs\"";
    let tree = Tree::new()
        .script_at("htdocs/app/run.cgi", ENVIRONMENT)
        .file("htdocs/app/plain.cgi", "#!/bin/sh\n# secret\n")
        .file("htdocs/app/style.css", "css")
        .config(config);
    let server = serve(tree);
    server.vars_of("/app/run.cgi/more?q").expect(&[
        ("SCRIPT_NAME", Some("/app/run.cgi")),
        ("PATH_INFO", Some("/more")),
        ("QUERY_STRING", Some("q")),
    ]);
    assert_eq!(server.get("/app/style.css").expect(200).text(), "css");
    let response = server.get("/app/plain.cgi").expect(403);
    assert!(!response.text().contains("secret"));
    server.get("/app/none.cgi").expect(404);
}

#[test]
fn an_interpreter_runs_what_has_no_x_bit() {
    let script = "printf 'Content-Type: text/plain\\n\\n'\necho \"$SCRIPT_NAME $0\"\n";
    let config = "[scripts]\ninterpreter = { \".shx\" = \"sh\" }";
    let server = serve(Tree::new().file("cgi-bin/x.shx", script).file("cgi-bin/y.sh", script).config(config));
    let file = server.tree.path("cgi-bin/x.shx");
    assert_eq!(server.get("/cgi-bin/x.shx").expect(200).text(), format!("/cgi-bin/x.shx {}\n", file.display()));
    server.get("/cgi-bin/y.sh").expect_failure(403, "not-executable");
}

#[test]
fn fields_and_variables_of_one_route() {
    let config =
        "[[route]]\npath = \"/r/\"\nscripts = \"cgi-bin\"\nheaders = { X-Route = \"r\" }\nenv = { OWN = \"yes\" }";
    let server = serve(Tree::new().script("env", ENVIRONMENT).config(config));
    assert_eq!(server.get("/r/env").expect(200).field("x-route").as_deref(), Some("r"));
    assert_eq!(server.get("/cgi-bin/env").expect(200).field("x-route"), None);
    server.vars_of("/r/env").expect(&[("OWN", Some("yes"))]);
    server.vars_of("/cgi-bin/env").expect(&[("OWN", None)]);
}

#[test]
fn a_limit_of_the_body_per_route() {
    let config = "[[route]]\npath = \"/small/\"\nscripts = \"cgi-bin\"\nmax-body = 3";
    let server = serve(Tree::new().script("hello", HELLO).config(config));
    server.post("/small/hello", "text/plain", b"four").expect(413);
    server.post("/small/hello", "text/plain", b"3 3").expect(200);
    server.post("/cgi-bin/hello", "text/plain", b"four").expect(200);
}

#[test]
fn a_file_of_a_script_folder_is_no_file_of_another_route() {
    let config = "[[route]]\npath = \"/all/\"\nfiles = \".\"\n[[route]]\npath = \"/p/\"\nscripts = \"programs\"";
    let server = serve(Tree::new().script_at("programs/x", HELLO).file("programs/notes.txt", "secret").config(config));
    for target in ["/all/programs/x", "/all/programs/notes.txt", "/p/notes.txt", "/all/cgi-bin/x"] {
        assert!(!server.get(target).text().contains("secret") && server.get(target).status() >= 400, "{target}");
    }
}

#[test]
fn credentials_come_before_any_process() {
    // bob:secret, as `openssl passwd -apr1` writes it.
    let tree = Tree::new()
        .script("env", ENVIRONMENT)
        .script("ran", "#!/bin/sh\ntouch @NOTES@/ran\n")
        .file("users", "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .config(
            "[[route]]\npath = \"/private/\"\nscripts = \"cgi-bin\"\nauth = { realm = \"here\", file = \"users\" }",
        );
    let server = serve(tree);
    for fields in [
        "",
        "Authorization: Basic Ym9iOndyb25n\r\n",
        "Authorization: Basic x\r\n",
        "Authorization: Bearer Ym9iOnNlY3JldA==\r\n",
    ] {
        let request = format!("GET /private/ran HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        let response = server.ask(request).expect(401);
        assert!(response.field("www-authenticate").unwrap().contains("Basic realm=\"here\""));
    }
    assert!(!server.tree.has_note("ran"));
    let vars = server.vars("GET /private/env HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic Ym9iOnNlY3JldA==\r\n\r\n");
    vars.expect(&[("AUTH_TYPE", Some("Basic")), ("REMOTE_USER", Some("bob")), ("HTTP_AUTHORIZATION", None)]);
}
