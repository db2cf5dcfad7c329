//! The redirect of a folder whose name came without its slash.

use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::tree::Tree;
use super::{Request, response};
use crate::body::Body;
use crate::failure::{Failure, Kind};

/// 301 to the same path with a slash. Made from the decoded path, which has no empty segments: it cannot begin with
/// `//` and name a host (CVE-2021-28861), and a backslash, which browsers take for a slash, is escaped.
///
/// # Errors
/// 400 where no header field can hold the path.
pub fn redirect(tree: &Tree, request: Request<'_>) -> Result<Response<Body>, Failure> {
    let mut location = String::new();
    location.extend(percent_encode(request.path.as_bytes(), IN_PATH));
    location.push('/');
    if let Some(query) = request.query {
        location.push('?');
        location.extend(percent_encode(query, IN_QUERY));
    }
    let location = HeaderValue::try_from(location)
        .map_err(|error| Failure::new(Kind::BadRequest, format!("no address can be made of it: {error}")))?;
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(LOCATION, location);
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    tree.finish(&mut fields);
    Ok(response(StatusCode::MOVED_PERMANENTLY, fields, Body::empty()))
}

/// All that RFC 3986 §3.3 does not allow in a path.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// A query keeps its escapes.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\');
