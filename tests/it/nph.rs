//! RFC 3875 §5: scripts that print their own status line.

use crate::h2;
use crate::server::serve;
use crate::tree::Tree;

fn prints(text: &str) -> String {
    format!("#!/bin/sh\nprintf '{text}'\n")
}

#[test]
fn a_status_line_of_its_own_is_parsed_and_framed_anew() {
    let whole = "HTTP/1.0 404 Not Here\\r\\nContent-Type: text/x\\r\\nConnection: keep-alive\\r\\n\\r\\nbody";
    let server = serve(Tree::new().script("nph-x", &prints(whole)).script("x", &prints(whole)));
    // Without the prefix it is taken as well, as lighttpd and busybox do.
    for target in ["/cgi-bin/nph-x", "/cgi-bin/x"] {
        let response = server.get(target).expect(404);
        assert_eq!((response.head.version.as_str(), response.head.reason.as_str()), ("HTTP/1.1", "Not Here"));
        assert_eq!(response.field("content-type").as_deref(), Some("text/x"));
        assert_eq!(response.text(), "body");
        let answer = h2::get(server.address, target, &[]);
        assert_eq!((answer.reset, answer.body.as_slice()), (None, &b"body"[..]));
    }
}

#[test]
fn its_own_chunks_are_taken_off() {
    let text = "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n4\\r\\nbody\\r\\n0\\r\\n\\r\\n";
    let server = serve(Tree::new().script("nph-x", &prints(text)));
    assert_eq!(server.get("/cgi-bin/nph-x").expect(200).text(), "body");
}

#[test]
fn a_bad_status_line_is_502() {
    for line in
        ["HTTP/1.1", "HTTP/1.1 30", "HTTP/1.1 abc", "HTTP/1.1 999 x", "HTTP/1.1 101 Switching", "HTTP/1.1 200\\rX: y"]
    {
        let text = format!("{line}\\r\\nContent-Type: text/plain\\r\\n\\r\\nSECRET");
        let response = serve(Tree::new().script("nph-x", &prints(&text))).get("/cgi-bin/nph-x").expect(502);
        assert!(!response.text().contains("SECRET"), "{line}");
    }
}

#[test]
fn interim_status_lines_come_first() {
    let text = "HTTP/1.1 103 Early Hints\\r\\nLink: </a>\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nbody";
    let server = serve(Tree::new().script("nph-x", &prints(text)));
    let mut client = server.connect();
    client.send("GET /cgi-bin/nph-x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 103);
    assert_eq!(client.response().expect(200).text(), "body");
}
