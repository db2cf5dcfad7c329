//! From a head that the edge found correct to a request.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Version};

/// Fields that are read here. Few requests have more, and for those there is hyper.
const FIELDS: usize = 32;

/// The request of this head; `None` where hyper shall read it: it asks for something that is done to the connection.
pub(super) fn read(head: &Bytes) -> Option<Parts> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(head).ok()?.is_complete() {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in &*request.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            header::CONNECTION if !field.value.eq_ignore_ascii_case(b"keep-alive") => return None,
            header::UPGRADE | header::EXPECT | header::TE | header::TRAILER => return None,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).ok()?;
        headers.append(name, value);
    }
    let mut parts = Request::new(()).into_parts().0;
    // The URI stays empty: the target is known as it was sent.
    (parts.method, parts.version, parts.headers) = (Method::GET, Version::HTTP_11, headers);
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &str) -> Option<Parts> {
        read(&Bytes::from(format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n")))
    }

    #[test]
    fn fields_are_read_in_order() {
        let parts = of("Cookie: a\r\nX-Odd:\t\u{e9} b \r\ncookie: c\r\nEmpty:\r\nConnection: Keep-Alive\r\n").unwrap();
        assert_eq!((&parts.method, parts.version), (&Method::GET, Version::HTTP_11));
        assert_eq!(parts.headers["host"], "a");
        assert_eq!(parts.headers["x-odd"].as_bytes(), "\u{e9} b".as_bytes());
        assert_eq!(parts.headers["empty"], "");
        assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn what_concerns_the_connection_is_hypers() {
        for fields in
            ["Connection: close\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n", "Expect: 100-continue\r\n"]
        {
            assert!(of(fields).is_none(), "{fields}");
        }
        assert!(of(&"a: b\r\n".repeat(FIELDS)).is_none(), "too many");
        assert!(of(&"a: b\r\n".repeat(FIELDS - 1)).is_some());
    }
}
