//! The page that a browser sees at a WebSocket script's address: a console to try it by hand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use maud::html;

use crate::body::Body;
use crate::failure::{Failure, Kind};

/// The demonstrations' own page and what it loads, so that there is one console.
const PAGE: &str = include_str!("../../htdocs/ws-console.html");
const STYLE: &str = include_str!("../../htdocs/style.css");
const SCRIPT: &str = include_str!("../../htdocs/ws-console.js");

/// What stands in `PAGE` for them, and what only the demonstrations have.
const STYLE_LINK: &str = "<link rel=\"stylesheet\" href=\"/style.css\">";
const SCRIPT_LINK: &str = "<script type=\"module\" src=\"/ws-console.js\"></script>";
const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self'; connect-src ws: wss:; base-uri 'none'; form-action 'self'\">";
const ICON: &str = "<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">";
const HOME: &str = "<header class=\"bar\"><a class=\"home\" href=\"/\">cgiserve</a><nav aria-label=\"Site\"><a href=\"/\">All demonstrations</a></nav></header>";

/// Where the address stands.
const ADDRESS: &str = "<input id=\"address\"";
const TITLE: &str = "<title>WebSocket console · cgiserve</title>";

/// Whether a request is a browser's, for a page.
pub(super) fn is_welcome(parts: &Parts) -> bool {
    let html = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
    parts.headers.get_all(ACCEPT).iter().any(html)
}

/// The console for the address `target`, in one piece: it shall work where there are no other files.
pub(super) fn page(status: StatusCode, target: &[u8]) -> Result<Response<Body>, Failure> {
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    let nonce = STANDARD.encode(random);
    let target = String::from_utf8_lossy(target);
    let address = html! { (target) }.into_string();
    let page = PAGE
        .replacen(POLICY, "", 1)
        .replacen(ICON, "<link rel=\"icon\" href=\"data:,\">", 1)
        .replacen(HOME, "", 1)
        .replacen(STYLE_LINK, &format!("<style>{STYLE}</style>"), 1)
        .replacen(SCRIPT_LINK, &format!("<script type=\"module\" nonce=\"{nonce}\">{SCRIPT}</script>"), 1)
        .replacen(TITLE, &format!("<title>{address} · WebSocket console</title>"), 1)
        .replacen(ADDRESS, &format!("{ADDRESS} value=\"{address}\""), 1);
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; img-src data:; \
         connect-src ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = Response::new(Body::whole(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // Upgrade does not go without it (RFC 9110 §7.8); in HTTP/2 neither goes.
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_what_is_replaced() {
        for part in [STYLE_LINK, SCRIPT_LINK, POLICY, ICON, HOME, ADDRESS, TITLE] {
            assert_eq!(PAGE.matches(part).count(), 1, "{part}");
        }
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("import "), "the script must stand by itself");
    }
}
