//! The endpoints that the server answers itself, to the letter of their contract.

use crate::raw::Response;
use crate::server::{Server, serve};
use crate::tree::Tree;

fn server() -> Server {
    serve(
        Tree::new()
            .file("htdocs/page.txt", "page")
            .script("echoes", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nexec cat\n"),
    )
}

fn json(response: &Response) -> serde_json::Value {
    assert_eq!(response.field("content-type").as_deref(), Some("application/json"), "{response:?}");
    assert_eq!(response.field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(response.field("content-length").unwrap(), response.body.len().to_string());
    serde_json::from_slice(&response.body).unwrap_or_else(|e| panic!("{e}: {response:?}"))
}

fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n{body}")
}

#[test]
fn the_time_in_three_ways() {
    let server = server();
    let before = jiff::Timestamp::now().as_millisecond();
    let time = json(&server.get("/ajax/time").expect(200));
    let after = jiff::Timestamp::now().as_millisecond();
    let epoch = time["epoch_ms"].as_i64().unwrap();
    assert!((before..=after).contains(&epoch), "{before} {epoch} {after}");
    let at = jiff::Timestamp::from_millisecond(epoch).unwrap();
    assert_eq!(time["iso"], at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    assert_eq!(time["time"], at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    assert_eq!(time.as_object().unwrap().len(), 3);
}

#[test]
fn the_number_of_processes() {
    let server = server();
    let count = json(&server.get("/ajax/processcount").expect(200));
    let own = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok());
    let (count, own) = (count["processcount"].as_u64().unwrap(), own.count() as u64);
    // Other tests start and end processes meanwhile.
    assert!(count > 0 && count.abs_diff(own) < own / 2 + 50, "{count} {own}");
}

#[test]
fn old_pages_send_a_cache_breaker_and_a_type() {
    let server = server();
    for target in ["/ajax/time?_=1700000000000", "/ajax/processcount?_=1", "/ajax/time?"] {
        json(&server.get(target).expect(200));
        json(&server.ask(request("GET", target, "Content-Type: application/json; charset=utf-8\r\n", "")).expect(200));
    }
}

#[test]
fn head_options_and_wrong_methods() {
    let server = server();
    for (target, methods, status) in [
        ("/ajax/time", "GET, HEAD, OPTIONS", 200),
        ("/ajax/processcount", "GET, HEAD, OPTIONS", 200),
        ("/ajax/", "GET, HEAD, OPTIONS", 200),
        ("/ajax/processinput", "POST, OPTIONS", 405),
    ] {
        let mut client = server.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.response_to_head().expect(status);
        if status == 200 {
            assert_ne!(head.field("content-length").as_deref(), Some("0"), "{target}");
            assert_eq!(head.field("content-type").as_deref(), Some("application/json"));
        }
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let options = client.response();
        assert!(matches!(options.status(), 200 | 204), "{options:?}");
        assert_eq!(options.field("allow").as_deref(), Some(methods), "{target}");
        for method in ["PUT", "DELETE", "PATCH", if status == 200 { "POST" } else { "GET" }] {
            let refused = server.ask(request(method, target, "Content-Length: 0\r\n", "")).expect(405);
            assert_eq!(refused.field("allow").as_deref(), Some(methods), "{method} {target}");
            assert!(json(&refused)["error"].is_string());
        }
    }
}

#[test]
fn the_server_as_a_whole_says_what_it_takes() {
    let server = server();
    let mut client = server.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.response().expect(204);
    assert_eq!(answer.field("allow").as_deref(), Some("GET, HEAD, POST, OPTIONS"));
}

#[test]
fn the_index_lists_every_endpoint() {
    let server = server();
    let index = json(&server.get("/ajax/").expect(200));
    let text = index.to_string();
    for path in ["/ajax/time", "/ajax/processcount", "/ajax/processinput"] {
        assert!(text.contains(path), "{text}");
    }
    let unknown = server.get("/ajax/none").expect(404);
    assert!(json(&unknown)["error"].is_string());
}

#[test]
fn posted_input_is_counted_in_characters_and_octets() {
    let server = server();
    for target in ["/ajax/processinput", "/anything/else", "/", "/page.txt", "/ajax/nothing"] {
        for (body, processed) in [
            (r#"{"input":"hello"}"#, 5),
            (r#"{"input":"hällo €"}"#, 7),
            (r#"{"input":""}"#, 0),
            (r#"{"input":"a\nb"}"#, 3),
            (r#"{"other":"x"}"#, 13),
            (r#"["a"]"#, 5),
            (r#""ä""#, 3),
            ("12345", 5),
        ] {
            for kind in
                ["application/json", "application/json; charset=UTF-8", "Application/JSON", "application/x+json"]
            {
                let answer = json(&server.post(target, kind, body.as_bytes()).expect(200));
                assert_eq!(
                    answer,
                    serde_json::json!({ "processed": processed, "length": body.len() }),
                    "{target} {body}"
                );
            }
        }
    }
}

#[test]
fn chunked_input_is_counted_after_decoding() {
    let server = server();
    let chunks =
        "7\r\n{\"input\r\nb\r\n\":\"hello!\"}\r\n0\r\n\r\n".replace("b\r\n\":\"hello!\"}", "a\r\n\":\"hello\"}");
    let answer = server.ask(request(
        "POST",
        "/ajax/processinput",
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
        &chunks,
    ));
    assert_eq!(json(&answer.expect(200)), serde_json::json!({ "processed": 5, "length": 17 }));
}

#[test]
fn another_type_is_415_and_malformed_json_400() {
    let server = server();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let refused = server.post("/ajax/processinput", kind, b"{}").expect(415);
        assert!(json(&refused)["error"].is_string());
    }
    let refused = server.ask(request("POST", "/ajax/processinput", "Content-Length: 2\r\n", "{}")).expect(415);
    assert!(json(&refused)["error"].is_string());
    for body in ["", "{", "{'a':1}", "{\"a\":1} x", "\"\\ud800\"", "\u{feff}{}"] {
        for target in ["/ajax/processinput", "/elsewhere"] {
            let refused = server.post(target, "application/json", body.as_bytes()).expect(400);
            assert!(json(&refused)["error"].is_string(), "{body}");
        }
    }
    server.post("/ajax/processinput", "application/json", b"\"\xff\"").expect(400);
    server.post("/ajax/processinput", "application/json", "[".repeat(100_000).as_bytes()).expect(400);
}

#[test]
fn a_json_post_to_a_script_is_the_scripts() {
    let server = server();
    assert_eq!(server.post("/cgi-bin/echoes", "application/json", b"{\"a\":1}").expect(200).text(), "{\"a\":1}");
    server.post("/cgi-bin/none", "application/json", b"{}").expect(404);
}

#[test]
fn too_much_input_is_413() {
    let server = server();
    let mut client = server.connect();
    client.send("POST /ajax/processinput HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n");
    let piece = [b' '; 65536];
    while client.try_send(piece).is_ok() && !client.readable() {}
    assert_eq!(client.head().status, 413);
}
