//! A short answer as octets.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use crate::body::{Body, Watcher};

/// Largest body that is copied behind its head, octets: one piece is less work to send than two.
const COPIED: usize = 4 << 10;

/// An answer ready to be sent.
pub(super) struct Short {
    pub(super) head: Vec<u8>,
    /// What of the body is not behind the head already.
    pub(super) body: Bytes,
    /// Whoever has to hear that the answer is over.
    _watcher: Option<Box<dyn Watcher>>,
}

/// The octets of an answer to GET; the answer itself where writing it takes more than this.
pub(super) fn write(response: Response<Body>) -> Result<Short, Box<Response<Body>>> {
    let status = response.status();
    let known = response.body().is_whole()
        && response.version() == Version::HTTP_11
        && !status.is_informational()
        && response.extensions().get::<ReasonPhrase>().is_none()
        && ![CONNECTION, TRANSFER_ENCODING].iter().any(|name| response.headers().contains_key(name));
    if !known {
        return Err(Box::new(response));
    }
    let (parts, body) = response.into_parts();
    let (mut body, mut watcher) = body.into_whole();
    // An answer without a body, whatever its fields say (RFC 9112 §6.3).
    let bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bare {
        body = Bytes::new();
    } else if let Some(watcher) = &mut watcher {
        watcher.sent(body.len());
        watcher.complete();
    }
    let mut head = Vec::with_capacity(512 + if body.len() <= COPIED { body.len() } else { 0 });
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        field(&mut head, name.as_str(), value.as_bytes());
    }
    if !bare && !parts.headers.contains_key(CONTENT_LENGTH) {
        field(&mut head, "content-length", body.len().to_string().as_bytes());
    }
    if !parts.headers.contains_key(DATE) {
        head.extend_from_slice(b"Date: ");
        date(&mut head);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    if body.len() <= COPIED {
        head.extend_from_slice(&body);
        body = Bytes::new();
    }
    Ok(Short { head, body, _watcher: watcher })
}

/// With capitals, as hyper is told to write them: there are clients that look for names letter by letter.
fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    let from = head.len();
    head.extend_from_slice(name.as_bytes());
    let mut first = true;
    for octet in &mut head[from..] {
        if first {
            octet.make_ascii_uppercase();
        }
        first = *octet == b'-';
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// The date of an answer (RFC 9110 §6.6.1), written once a second.
fn date(to: &mut Vec<u8>) {
    thread_local! {
        static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    WRITTEN.with_borrow_mut(|(second, text)| {
        if *second != now || text.is_empty() {
            (*second, *text) = (now, httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now)));
        }
        to.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn text(response: Response<Body>) -> String {
        let short = write(response).ok().unwrap();
        let text = String::from_utf8([&short.head[..], &short.body].concat()).unwrap();
        let (front, rest) = text.split_once("Date: ").unwrap();
        let (date, rest) = rest.split_once("\r\n").unwrap();
        assert!(httpdate::parse_http_date(date).unwrap().elapsed().unwrap() < Duration::from_secs(5));
        front.to_owned() + rest
    }

    #[test]
    fn an_answer_is_written_as_hyper_writes_it() {
        let mut response = Response::new(Body::whole("hello"));
        response.headers_mut().insert("x-a-b", HeaderValue::from_static("1"));
        response.headers_mut().append("x-a-b", HeaderValue::from_static("2"));
        assert_eq!(text(response), "HTTP/1.1 200 OK\r\nX-A-B: 1\r\nX-A-B: 2\r\nContent-Length: 5\r\n\r\nhello");
        let mut response = Response::new(Body::whole("x".repeat(COPIED + 1)));
        response.headers_mut().insert(CONTENT_LENGTH, (COPIED + 1).into());
        let text_of_large = text(response);
        assert!(text_of_large.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\nxxx"));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        assert_eq!(text(response), "HTTP/1.1 304 Not Modified\r\n\r\n");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        assert_eq!(text(response), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn what_is_more_than_a_short_answer_is_hypers() {
        let mut closing = Response::new(Body::empty());
        closing.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let mut reasoned = Response::new(Body::empty());
        reasoned.extensions_mut().insert(ReasonPhrase::from_static(b"Fine"));
        let mut interim = Response::new(Body::empty());
        *interim.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for response in [closing, reasoned, interim] {
            assert!(write(response).is_err());
        }
    }
}
