//! From a URL to a program: which file, whether it may run, and that its text is never shown.

use crate::server::{Server, serve, serve_with};
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;

const HELLO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";
/// Whatever happens, nobody may read this.
const SECRET: &str = "#!/bin/sh\n# TOP SECRET\necho\n";

#[test]
fn a_missing_script_is_404() {
    let server = serve(Tree::new().script("deep/hello", HELLO));
    for target in ["/cgi-bin/none", "/cgi-bin/none/x", "/cgi-bin/deep/none", "/cgi-bin/deep/none/", "/cgi-bin/hello"] {
        server.get(target).expect_failure(404, "no-such-script");
    }
    server.get(&format!("/cgi-bin/{}", "x".repeat(300))).expect(404);
}

#[test]
fn a_folder_is_403() {
    let server = serve(Tree::new().script("deep/hello", HELLO));
    for target in ["/cgi-bin/", "/cgi-bin/deep", "/cgi-bin/deep/", "/cgi-bin/.", "/cgi-bin/deep/.."] {
        server.get(target).expect_failure(403, "script-not-a-file");
    }
    let response = server.get("/cgi-bin").expect(301);
    assert_eq!(response.field("location").as_deref(), Some("/cgi-bin/"));
}

#[test]
fn a_program_without_the_x_bit_is_403_and_the_log_says_what_to_do() {
    let server = serve(Tree::new().file("cgi-bin/plain", HELLO));
    server.get("/cgi-bin/plain").expect_failure(403, "not-executable");
    server.wait_for_log(|line| line.contains("chmod +x") && line.contains("/cgi-bin/plain"));
}

#[test]
fn no_spelling_shows_the_text_of_a_script() {
    let spellings = [
        "/cgi-bin/plain",
        "/cgi-bin//plain",
        "//cgi-bin/plain",
        "/cgi-bin/./plain",
        "/./cgi-bin/plain",
        "/cgi-bin/x/../plain",
        "/x/../cgi-bin/plain",
        "/cgi-bin%2fplain",
        "/cgi-bin%2Fplain",
        "/cgi%2dbin/plain",
        "/%63gi-bin/plain",
        "/%2fcgi-bin/plain",
        "/cgi-bin/plain/",
        "/cgi-bin/plain/extra",
        "/cgi-bin/plain%00.txt",
        "/cgi-bin/plain%20",
        "/cgi-bin/plain.",
        "/cgi-bin\\plain",
        "/cgi-bin%5cplain",
        "/cgi-bin;x/plain",
        "/cgi-bin/.;/plain",
        "/CGI-BIN/plain",
        "/cgi-bin/plain?",
        "/cgi-bin/plain?x",
        "/cgi-bin/plain%3f",
        "/cgi-bin/plain::$DATA",
        "/link/plain",
        "/link.txt",
        "/files/cgi-bin/plain",
        "/files/link.txt",
        "/cgi-bin/runs%2f",
        "/cgi-bin%2fruns/",
        "/runs.txt",
        "/link/runs",
        "/files/cgi-bin/runs",
        "/cgi-bin/plain~",
        "/cgi-bin/.plain.swp",
        "/cgi-bin/.git/config",
        "/files/cgi-bin/",
        "/link/",
        "/files/cgi-bin%2fplain",
        "/cgiserve.toml",
        "/../cgiserve.toml",
        "/%2e%2e/cgiserve.toml",
        "/htdocs/../cgi-bin/plain",
    ];
    let tree = |tree: Tree, site: &str| {
        tree.file("cgi-bin/plain", SECRET)
            .script("runs", SECRET)
            .file("cgi-bin/plain~", SECRET)
            .file("cgi-bin/.plain.swp", SECRET)
            .file("cgi-bin/.git/config", SECRET)
            .link(&format!("{site}link"), if site.is_empty() { "cgi-bin" } else { "../cgi-bin" })
            .link(&format!("{site}link.txt"), if site.is_empty() { "cgi-bin/plain" } else { "../cgi-bin/plain" })
            .link(&format!("{site}runs.txt"), if site.is_empty() { "cgi-bin/runs" } else { "../cgi-bin/runs" })
    };
    let ours = serve(tree(Tree::new(), "htdocs/").config("# TOP SECRET\n[[route]]\npath = \"/files/\"\nfiles = \".\""));
    let pythons = serve(tree(Tree::python(), ""));
    let listing = serve_with(tree(Tree::python(), ""), &["--cgi", "-b", "127.0.0.1"]);
    for (layout, server) in [("ours", &ours), ("python's", &pythons), ("python's with --cgi", &listing)] {
        for spelling in spellings {
            for fields in ["", "Range: bytes=0-20\r\n", "Accept-Encoding: gzip\r\n"] {
                let request =
                    format!("GET {spelling} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
                let response = server.ask(request);
                let shown = response.text().contains("SECRET") || response.text().contains("#!/bin/sh");
                assert!(!shown, "{layout}: {spelling}: {response:?}");
            }
        }
    }
}

#[test]
fn dot_files_are_no_programs() {
    let server = serve(Tree::new().script(".hidden", HELLO).script(".git/hook", HELLO));
    server.get("/cgi-bin/.hidden").expect_failure(404, "no-such-script");
    server.get("/cgi-bin/.git/hook").expect_failure(404, "no-such-script");
}

#[test]
fn every_spelling_of_the_folder_reaches_the_same_script() {
    let server = serve(Tree::new().script("hello", HELLO).file("htdocs/cgi-bin/hello", "never"));
    for target in [
        "/cgi-bin/hello",
        "/cgi-bin%2fhello",
        "/cgi%2dbin/hello",
        "/%63gi-bin/hello",
        "//cgi-bin//hello",
        "/cgi-bin/./hello",
        "/x/../cgi-bin/hello",
        "/cgi-bin/hel%6co",
        "/cgi-bin%2F/hello",
    ] {
        assert_eq!(server.get(target).expect(200).text(), "hello\n", "{target}");
    }
}

#[test]
fn an_encoded_slash_chooses_no_file() {
    let server = serve(Tree::new().script("deep/hello", HELLO).file("htdocs/a/b", "b"));
    server.get("/cgi-bin/deep%2fhello").expect(404);
    server.get("/a%2fb").expect(404);
    server.get("/a/b").expect(200);
    server.get("/cgi-bin/deep/hello").expect(200);
}

#[test]
fn nothing_climbs_above_the_root() {
    let tree = Tree::new()
        .script("hello", HELLO)
        .file("outside.txt", "TOP SECRET")
        .file("htdocs/inside.txt", "inside")
        .file("htdocs/folder/page.txt", "page");
    let server = serve(tree);
    for target in [
        "/..",
        "/../",
        "/../outside.txt",
        "/folder/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/.%2e/outside.txt",
        "/cgi-bin/../../outside.txt",
        "/cgi-bin/hello/../../../outside.txt",
        "/..%2foutside.txt",
        "/%2e%2e%2foutside.txt",
        "/folder/..%2f..%2foutside.txt",
        "/cgi-bin/..%2f..%2foutside.txt",
        "/..%2f",
        "/a/..%2f..%2f..%2f..%2fetc/passwd",
    ] {
        let response = server.get(target).expect(400);
        assert!(!response.text().contains("SECRET"), "{target}");
    }
    for target in [
        "/..\\outside.txt",
        "/%2e%2e%5coutside.txt",
        "/..;/outside.txt",
        "/...//outside.txt",
        "/%252e%252e/outside.txt",
        "/..%c0%afoutside.txt",
        "/..%252foutside.txt",
        "/%c0%ae%c0%ae/outside.txt",
        "/.../outside.txt",
        "/..%20/outside.txt",
    ] {
        server.get(target).expect(404);
    }
    assert_eq!(server.get("/folder/../inside.txt").expect(200).text(), "inside");
    assert_eq!(server.get("/cgi-bin/../inside.txt").expect(200).text(), "inside");
}

#[test]
fn links_are_followed_and_change_no_right() {
    let tree = Tree::new()
        .script_at("elsewhere/program", HELLO)
        .file("elsewhere/text", SECRET)
        .link("cgi-bin/program", "../elsewhere/program")
        .link("cgi-bin/text", "../elsewhere/text")
        .link("cgi-bin/dangling", "../elsewhere/none")
        .link("cgi-bin/passwd", "/etc/passwd")
        .link("cgi-bin/round", "round");
    let server = serve(tree);
    server.get("/cgi-bin/program").expect(200);
    server.get("/cgi-bin/text").expect_failure(403, "not-executable");
    server.get("/cgi-bin/passwd").expect_failure(403, "not-executable");
    server.get("/cgi-bin/dangling").expect(404);
    assert!(matches!(server.get("/cgi-bin/round").status(), 404 | 500));
}

#[test]
fn links_that_leave_can_be_refused() {
    let tree = Tree::new()
        .script_at("elsewhere/program", HELLO)
        .script("hello", HELLO)
        .link("cgi-bin/out", "../elsewhere/program")
        .link("cgi-bin/in", "hello")
        .config("symlinks = \"beneath\"");
    let server = serve(tree);
    server.get("/cgi-bin/out").expect_failure(403, "symlink-escapes");
    server.get("/cgi-bin/in").expect(200);
}

#[test]
fn a_script_that_everybody_may_write_is_refused_but_not_in_pythons_layout() {
    let tree = Tree::new().script("open", HELLO).mode("cgi-bin/open", 0o777);
    let server = serve(tree);
    server.get("/cgi-bin/open").expect_failure(403, "writable-by-others");
    server.wait_for_log(|line| line.contains("chmod o-w"));
    let tree = Tree::python().script("open", HELLO).mode("cgi-bin/open", 0o777);
    serve(tree).get("/cgi-bin/open").expect(200);
    let tree =
        Tree::new().script("open", HELLO).mode("cgi-bin/open", 0o777).config("[scripts]\nrefuse-writable = false");
    serve(tree).get("/cgi-bin/open").expect(200);
}

#[test]
fn python_has_two_script_folders_and_no_more() {
    let tree = Tree::python()
        .script("hello", HELLO)
        .script_at("htbin/hello", HELLO)
        .script_at("sub/cgi-bin/hello", HELLO)
        .file("cgi-binary", "text");
    let server = serve(tree);
    for target in ["/cgi-bin/hello", "/htbin/hello"] {
        assert_eq!(server.get(target).expect(200).text(), "hello\n");
    }
    assert!(server.get("/sub/cgi-bin/hello").expect(200).text().starts_with("#!"), "only listed folders hold scripts");
    assert_eq!(server.get("/cgi-binary").expect(200).text(), "text");
}

#[test]
fn a_script_folder_below_another_works_where_listed() {
    let config = "[[route]]\npath = \"/sub/dir/cgi-bin/\"\nscripts = \"sub/dir/cgi-bin\"";
    let server = serve(Tree::python().script_at("sub/dir/cgi-bin/env", ENVIRONMENT).config(config));
    server
        .vars_of("/sub/dir/cgi-bin/env/info?q")
        .expect(&[("SCRIPT_NAME", Some("/sub/dir/cgi-bin/env")), ("PATH_INFO", Some("/info"))]);
}

#[test]
fn scripts_may_appear_and_vanish_while_the_server_runs() {
    let server = serve(Tree::new());
    server.get("/cgi-bin/late").expect(404);
    server.tree.put("cgi-bin/late", HELLO);
    server.get("/cgi-bin/late").expect(403);
    crate::tree::chmod(&server.tree.path("cgi-bin/late"), 0o755);
    assert_eq!(server.get("/cgi-bin/late").expect(200).text(), "hello\n");
    std::fs::remove_file(server.tree.path("cgi-bin/late")).unwrap();
    server.get("/cgi-bin/late").expect(404);
}

/// A script that cannot be started is a 500, and the log says why in words.
fn cannot_start(tree: Tree, hint: &str) {
    let server: Server = serve(tree);
    let response = server.get("/cgi-bin/x").expect_failure(500, "cannot-start");
    assert!(!response.text().contains("os error"), "the cause is the operator's");
    server.wait_for_log(|line| line.contains("/cgi-bin/x") && line.contains(hint));
    server.get("/").status();
}

#[test]
fn a_missing_interpreter_is_500_and_named() {
    cannot_start(
        Tree::new().script("x", "#!/no/such/interpreter\n"),
        "asks for /no/such/interpreter, which is not here",
    );
}

#[test]
fn a_shebang_that_ends_in_cr_is_500_and_named() {
    cannot_start(Tree::new().script("x", "#!/bin/sh\r\necho\r\n"), "CR LF");
}

#[test]
fn a_text_without_shebang_is_500_and_named() {
    cannot_start(Tree::new().script("x", "echo hello\n"), "does not begin with #!");
    cannot_start(Tree::new().script("x", ""), "does not begin with #!");
}

#[test]
fn a_program_of_another_machine_is_500() {
    // The head of an ELF file for a machine that there never was.
    let mut elf = vec![0u8; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16..20].copy_from_slice(&[2, 0, 0xee, 0xee]);
    let tree = Tree::new().file("cgi-bin/x", elf).mode("cgi-bin/x", 0o755);
    cannot_start(tree, "is a program for");
}

#[test]
fn the_wrong_x_bit_is_500_and_named() {
    // Executable, but not for the user that it would run as.
    let mode = if rustix::process::geteuid().is_root() { 0o744 } else { 0o655 };
    cannot_start(Tree::new().script("x", HELLO).mode("cgi-bin/x", mode), "may not be run by");
}

#[test]
fn a_pipe_or_a_socket_is_no_program() {
    let tree = Tree::new();
    let pipe = tree.path("cgi-bin/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o777);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("cgi-bin/socket")).unwrap();
    let server = serve(tree.link("cgi-bin/null", "/dev/null"));
    for target in ["/cgi-bin/pipe", "/cgi-bin/socket", "/cgi-bin/null"] {
        server.get(target).expect_failure(403, "script-not-a-file");
    }
}
