//! The habits of Python's server, for those who must have them (`--python-compat`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION};
use http::{HeaderValue, Method};

use crate::connection::{path_of, query_of};
use crate::failure::{Failure, Kind};
use crate::gateway::Head;

/// The user name that a client claims to have. Nobody has checked it: Python set REMOTE_USER from it all the same,
/// where the credentials hold exactly one colon.
pub fn claimed_user(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(credentials.trim()))?;
    let decoded = String::from_utf8(decoded.ok()?).ok()?;
    let mut parts = decoded.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(user), Some(_), None) if !user.contains('\0') => Some(user.to_owned()),
        _ => None,
    }
}

/// `200 Script output follows`, whatever the script says; its `Status` and `Location` are fields like any other.
pub fn always_200(head: &mut Head) {
    if let Some(status) = head.status.take() {
        head.fields.insert("status", status.into());
    }
    head.status = Some(200);
    head.reason = Some(b"Script output follows".to_vec());
}

/// The methods that Python's server knows.
///
/// # Errors
/// 501 with Python's words.
pub fn admit_method(method: &Method, script: bool) -> Result<(), Failure> {
    let known = matches!(method.as_str(), "GET" | "HEAD") || (script && method == Method::POST);
    let words = match method.as_str() {
        _ if known => return Ok(()),
        "POST" => "Can only POST to CGI scripts.".to_owned(),
        other => format!("Unsupported method ('{other}')."),
    };
    Err(Failure::new(Kind::NotImplemented, "a method that Python's server does not know").with_message(words))
}

/// The fields that count for a file: there are no entity tags, and whoever sends one gets the whole file.
pub fn conditions(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    if headers.remove(IF_NONE_MATCH).is_some() {
        headers.remove(IF_MODIFIED_SINCE);
    }
    headers
}

/// The redirect of a folder names the target as the client wrote it, in whatever form; slashes at its start become
/// one, as `//host` would be another host (CVE-2021-28861).
pub fn redirect_as_written(headers: &mut HeaderMap, target: &[u8]) {
    let (path, query) = (path_of(target), query_of(target));
    let slashes = path.iter().take_while(|&&b| b == b'/').count();
    let path = &path[slashes.saturating_sub(1)..];
    let query = query.map(|query| [b"?", query].concat()).unwrap_or_default();
    if let Ok(location) = HeaderValue::from_bytes(&[path, b"/", &query].concat()) {
        headers.insert(LOCATION, location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_needs_exactly_one_colon() {
        for (credentials, user) in [("u:p", Some("u")), ("u:p:q", None), ("u", None)] {
            let mut headers = HeaderMap::new();
            let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(claimed_user(&headers).as_deref(), user, "{credentials}");
        }
    }

    #[test]
    fn a_redirect_never_names_a_host() {
        let mut headers = HeaderMap::new();
        redirect_as_written(&mut headers, b"//evil/..?a");
        assert_eq!(headers[LOCATION], "/evil/../?a");
    }
}
