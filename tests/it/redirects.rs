//! RFC 3875 §6.2.2–6.2.4: `Location`, and who follows it.

use crate::server::{Server, serve};
use crate::tree::Tree;
use crate::vars::{ENVIRONMENT, Vars};

fn printing(text: &str) -> Server {
    let script = format!("#!/bin/sh\nprintf '{}'\n", text.replace('\n', "\\n"));
    serve(Tree::new().script("x", &script).script("env", ENVIRONMENT).file("htdocs/page.txt", "the page"))
}

#[test]
fn an_absolute_location_is_302() {
    for location in ["http://example.com/a?b#c", "https://example.com/", "mailto:x@example.com"] {
        let response = printing(&format!("Location: {location}\n\n")).get("/cgi-bin/x").expect(302);
        assert_eq!(response.field("location").as_deref(), Some(location));
        // Clients wait for a body that never comes otherwise.
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
    }
}

#[test]
fn status_and_body_are_passed_as_given() {
    let server = printing("Location: http://example.com/\nStatus: 307 Go\nContent-Type: text/plain\n\nthere");
    let response = server.get("/cgi-bin/x").expect(307);
    assert_eq!((response.head.reason.as_str(), response.text().as_str()), ("Go", "there"));
    let response = printing("Status: 201\nLocation: /new/1\n\n").get("/cgi-bin/x").expect(201);
    assert_eq!(response.field("location").as_deref(), Some("/new/1"));
}

#[test]
fn a_local_path_is_answered_by_this_server() {
    let response = printing("Location: /page.txt\n\n").get("/cgi-bin/x").expect(200);
    assert_eq!((response.text().as_str(), response.field("location")), ("the page", None));
    printing("Location: /none\n\n").get("/cgi-bin/x").expect(404);
    printing("Location: /../up\n\n").get("/cgi-bin/x").expect(400);
}

#[test]
fn a_local_redirect_is_a_get_without_the_body_and_knows_where_it_came_from() {
    let server = printing("Location: /cgi-bin/env/info?to=there\n\n");
    let response = server.ask(
        "POST /cgi-bin/x/y?from=here HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
    );
    Vars::of(response).expect(&[
        ("REQUEST_METHOD", Some("GET")),
        ("CONTENT_LENGTH", None),
        ("PATH_INFO", Some("/info")),
        ("QUERY_STRING", Some("to=there")),
        ("SCRIPT_NAME", Some("/cgi-bin/env")),
        ("REDIRECT_URL", Some("/cgi-bin/x/y")),
        ("REDIRECT_QUERY_STRING", Some("from=here")),
        ("REMOTE_ADDR", Some("127.0.0.1")),
    ]);
}

#[test]
fn a_local_redirect_keeps_head_a_head() {
    let server = printing("Location: /page.txt\n\n");
    let mut client = server.connect();
    client.send("HEAD /cgi-bin/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response_to_head().expect(200);
    assert_eq!(response.field("content-length").as_deref(), Some("8"));
    client.get("/page.txt").expect(200);
}

#[test]
fn a_local_path_with_company_goes_to_the_client() {
    for (text, status) in [
        ("Location: /page.txt\nX-A: 1\n\n", 302),
        ("Location: /page.txt\nSet-Cookie: a=1\n\n", 302),
        ("Location: /page.txt\nStatus: 303\n\n", 303),
        ("Location: /page.txt\nContent-Type: text/plain\n\nmoved", 302),
    ] {
        let response = printing(text).get("/cgi-bin/x").expect(status);
        assert_eq!(response.field("location").as_deref(), Some("/page.txt"), "{text:?}");
    }
}

#[test]
fn another_host_or_a_relative_place_is_the_clients_to_find() {
    for location in ["//evil.example/x", "other", "?a=b", "../up"] {
        let response = printing(&format!("Location: {location}\n\n")).get("/cgi-bin/x").expect(302);
        assert_eq!(response.field("location").as_deref(), Some(location));
    }
}

#[test]
fn a_loop_ends_after_ten_hops() {
    let script = "#!/bin/sh\necho run >> @NOTES@/runs\nprintf 'Location: /cgi-bin/round\\n\\n'\n";
    let server = serve(Tree::new().script("round", script));
    server.get("/cgi-bin/round").expect_failure(502, "redirect-loop");
    assert_eq!(server.tree.note("runs").lines().count(), 11);
}

#[test]
fn local_redirects_can_be_switched_off() {
    let script = "#!/bin/sh\nprintf 'Location: /page.txt\\n\\n'\n";
    let tree = Tree::new().script("x", script).config("[scripts]\nlocal-redirect = false");
    let response = serve(tree).get("/cgi-bin/x").expect(302);
    assert_eq!(response.field("location").as_deref(), Some("/page.txt"));
}

#[test]
fn a_folder_without_its_slash_is_redirected_by_path_alone() {
    let server = serve(Tree::new().file("htdocs/folder/index.html", "index"));
    for (target, location) in [
        ("/folder?a=b", "/folder/?a=b"),
        ("/folder", "/folder/"),
        ("//folder", "/folder/"),
        ("/x/..//folder?q", "/folder/?q"),
    ] {
        let response = server.get(target).expect(301);
        let given = response.field("location").unwrap();
        // CVE-2021-28861: `//evil` would be another host.
        assert!(!given.starts_with("//") && !given.contains("://"), "{target}: {given}");
        assert_eq!(given, location, "{target}");
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
    }
    let response = server.get("/cgi-bin?q").expect(301);
    assert_eq!(response.field("location").as_deref(), Some("/cgi-bin/?q"));
    let given = server.get("//cgi-bin").expect(301).field("location").unwrap();
    assert_eq!(given, "/cgi-bin/");
}
