//! The endpoints that the server answers itself, from memory: one file each, and this table.

mod process_count;
mod process_input;
mod time;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::body::Body;
use crate::failure::Failure;
use crate::route::{Pattern, Route, Target};

pub use process_count::ProcessCount;
pub use process_input::{MAX_INPUT, Posted, count, is_json};

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/ajax/`: the list of them all.
    Index,
    /// `/ajax/time`.
    Time,
    /// `/ajax/processcount`.
    ProcessCount,
    /// `/ajax/processinput`.
    ProcessInput,
}

/// Every endpoint: its path, its methods, one sentence.
const TABLE: &[(Endpoint, &str, &str, &str)] = &[
    (Endpoint::Index, "/ajax/", "GET, HEAD, OPTIONS", "This list."),
    (Endpoint::Time, "/ajax/time", "GET, HEAD, OPTIONS", "The server's time, three ways."),
    (Endpoint::ProcessCount, "/ajax/processcount", "GET, HEAD, OPTIONS", "How many processes run on this host."),
    (
        Endpoint::ProcessInput,
        "/ajax/processinput",
        "POST, OPTIONS",
        "How many characters the posted JSON's member \"input\" has, and how many octets were posted.",
    ),
];

/// The routes of all endpoints.
pub fn routes() -> impl Iterator<Item = Route> {
    TABLE.iter().map(|(endpoint, path, ..)| Route {
        pattern: Pattern::Exact(path.as_bytes().to_vec()),
        target: Target::Builtin(*endpoint),
        auth: None,
        headers: Vec::new(),
        for_upgrades: false,
    })
}

impl Endpoint {
    /// The methods it takes, for `Allow`.
    pub fn methods(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("GET, HEAD, OPTIONS", |row| row.2)
    }
}

/// The answer of an endpoint that reads no body; `None` for the one that does, which [`count`] serves.
///
/// # Errors
/// 405 for a method it does not take.
pub async fn answer(
    endpoint: Endpoint,
    method: &Method,
    processes: &ProcessCount,
) -> Result<Option<Response<Body>>, Failure> {
    if *method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(endpoint.methods()));
        return Ok(Some(response));
    }
    let reads = *method == Method::GET || *method == Method::HEAD;
    if endpoint == Endpoint::ProcessInput {
        return if *method == Method::POST {
            Ok(None)
        } else {
            Err(Failure::method_not_allowed(method, endpoint.methods()))
        };
    }
    if !reads {
        return Err(Failure::method_not_allowed(method, endpoint.methods()));
    }
    let bytes = match endpoint {
        Endpoint::Time => time::now(),
        Endpoint::ProcessCount => json!({ "processcount": Box::pin(processes.get()).await }).to_string().into(),
        Endpoint::Index | Endpoint::ProcessInput => {
            let all: Vec<_> = TABLE
                .iter()
                .map(|(_, path, methods, sentence)| json!({ "path": path, "methods": methods, "about": sentence }))
                .collect();
            json!({ "endpoints": all }).to_string().into()
        }
    };
    Ok(Some(json(StatusCode::OK, bytes)))
}

/// A JSON answer that no cache keeps.
pub fn json(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
