//! What the server writes itself: error pages, redirects, and the fields that every answer carries.

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    LOCATION, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use maud::{DOCTYPE, html};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};

use crate::body::Body;
use crate::explain::{self, Story};
use crate::failure::{Failure, Kind};

/// How an error is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// A page in the shape of Python's.
    Html,
    /// `{"error":"…"}`.
    Json,
}

/// The answer that tells a client of a failure: status, slug and request id, never the cause.
pub fn failure(failure: &Failure, voice: Voice, id: &str) -> Response<Body> {
    let status = failure.status();
    let text = failure.message.as_deref().unwrap_or(failure.kind.row().3);
    let (kind, body) = match voice {
        Voice::Json => (HeaderValue::from_static("application/json"), json(failure, text, id, None)),
        Voice::Html => (HeaderValue::from_static("text/html;charset=utf-8"), page(status, text, failure.slug(), id)),
    };
    whole(failure, voice, kind, body)
}

/// The same for the author of the script that failed: what it was, and what to do.
pub fn explained(failure: &Failure, story: &Story, voice: Voice, id: &str) -> Response<Body> {
    let status = failure.status();
    let text = failure.message.as_deref().unwrap_or(failure.kind.row().3);
    let (kind, body) = match voice {
        Voice::Json => (HeaderValue::from_static("application/json"), json(failure, text, id, Some(story))),
        Voice::Html => {
            let page = explain::page::render(story, status, text, failure.slug(), id);
            (HeaderValue::from_static("text/html;charset=utf-8"), page)
        }
    };
    let mut response = whole(failure, voice, kind, body);
    let headers = response.headers_mut();
    // Nobody else's cache or page may get hold of it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn json(failure: &Failure, text: &str, id: &str, story: Option<&Story>) -> String {
    let mut told = serde_json::json!({ "error": text, "slug": failure.slug(), "id": id });
    if let Some(story) = story {
        told["causes"] = story.causes.iter().map(explain::Diagnosis::json).collect();
    }
    told.to_string()
}

fn whole(failure: &Failure, voice: Voice, kind: HeaderValue, body: String) -> Response<Body> {
    let status = failure.status();
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    if voice == Voice::Json {
        // No answer of an endpoint may be kept, and browsers keep a 404.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    advise(failure, headers);
    response
}

/// The fields that tell a client what to do about it.
pub fn advise(failure: &Failure, headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    if let Some(allow) = failure.allow {
        set(ALLOW, allow.to_owned());
    }
    if let Some(challenge) = &failure.realm {
        set(WWW_AUTHENTICATE, challenge.clone());
    }
    if let Some(length) = failure.complete_length {
        set(CONTENT_RANGE, format!("bytes */{length}"));
    }
    if let Some(after) = failure.retry_after {
        set(RETRY_AFTER, after.as_secs().max(1).to_string());
    }
    if failure.kind == Kind::UpgradeRequired {
        set(UPGRADE, "websocket".to_owned());
        set(CONNECTION, "upgrade".to_owned()); // RFC 9110 §7.8
        set(HeaderName::from_static("sec-websocket-version"), "13".to_owned());
    }
}

/// In the shape of Python's error page, as tools read it.
fn page(status: StatusCode, text: &str, slug: &str, id: &str) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Error response" }
                style { "body{font:1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem}code{opacity:.7}" }
            }
            body {
                h1 { "Error response" }
                p { "Error code: " (status.as_u16()) }
                p { "Message: " (reason) "." }
                p { "Error code explanation: " (status.as_u16()) " - " (text) }
                p { code { (slug) " · " (id) } }
            }
        }
    }
    .into_string()
}

/// A redirect with no body. `location` must be safe to send: a path of this server, or what a script or the operator
/// wrote.
pub fn redirect(status: StatusCode, location: &[u8]) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::from_bytes(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A redirect to the same path with a slash. Made from the decoded path, which has no empty segments: it cannot begin
/// with `//` and name a host (CVE-2021-28861). A query keeps its escapes.
pub fn with_slash(path: &[u8], query: Option<&[u8]>) -> Response<Body> {
    const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\');
    const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let mut location = percent_encode(path, IN_PATH).to_string();
    location.push('/');
    if let Some(query) = query {
        location.push('?');
        location.extend(percent_encode(query, IN_QUERY));
    }
    redirect(StatusCode::MOVED_PERMANENTLY, location.as_bytes())
}

/// What can be asked for.
pub fn options(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_message_stays_text() {
        let text = page(StatusCode::NOT_FOUND, "<script>alert(1)</script>", "slug", "id");
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script>"));
        assert!(text.contains("Error code: 404"));
    }
}
