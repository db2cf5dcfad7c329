//! What the server is doing: a page that people read, numbers that machines read, and a word for health checks.

mod live;
mod metrics;
mod page;
mod pulse;
mod stream;
mod tally;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION, ORIGIN};
use http::{HeaderValue, Method, Response, StatusCode};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::body::Body;
use crate::connection::{Arrival, query_of};
use crate::failure::{Failure, Kind};
use crate::route::{Pattern, Route, Target};

pub use live::{Live, Registry, Seat};
pub use metrics::Metrics;

/// Who may look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nobody: the paths below are files or scripts like any other.
    #[default]
    Off,
    /// Whoever sits at this machine.
    Loopback,
    /// Whoever knows this word, as `Authorization: Bearer WORD` or `?token=WORD`.
    Token(String),
}

/// Fewest octets of a token: anybody may guess as often as he likes.
const TOKEN: usize = 16;

impl Access {
    /// From what is written: `true`, `false` or a token; `default` where nothing is.
    ///
    /// # Errors
    /// What is wrong with the token.
    pub fn decide(written: Option<&str>, default: bool) -> Result<Self, &'static str> {
        match written {
            Some("false") => Ok(Self::Off),
            Some("true") => Ok(Self::Loopback),
            Some(token) if token.len() < TOKEN => Err("is a token of fewer than 16 letters"),
            Some(token) => Ok(Self::Token(token.to_owned())),
            None if default => Ok(Self::Loopback),
            None => Ok(Self::Off),
        }
    }
}

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/status`: for people.
    Live,
    /// `/status/events`: the same, again and again.
    Events,
    /// `/status/end?id=…`: ends a script.
    End,
    /// `/metrics`: for Prometheus.
    Metrics,
    /// `/healthz`: 200 while scripts can be started.
    Health,
}

/// Every page and its path.
const TABLE: [(Page, &str); 5] = [
    (Page::Live, "/status"),
    (Page::Events, "/status/events"),
    (Page::End, "/status/end"),
    (Page::Metrics, "/metrics"),
    (Page::Health, "/healthz"),
];

/// The routes of all pages; none where nobody may look.
pub fn routes(access: &Access) -> Vec<Route> {
    if *access == Access::Off {
        return Vec::new();
    }
    let route = |(page, path): &(Page, &str)| Route {
        pattern: Pattern::Exact(path.as_bytes().to_vec()),
        target: Target::Status(*page),
        auth: None,
        headers: Vec::new(),
        for_upgrades: false,
    };
    TABLE.iter().map(route).collect()
}

/// Answers for a page.
///
/// # Errors
/// 404 for those who may not look; 403 where another site asks for an end; 405.
pub fn answer(app: &Arc<App>, arrival: &Arrival, target: &[u8], page: Page) -> Result<Response<Body>, Failure> {
    let method = &arrival.parts.method;
    let query = query_of(target).unwrap_or_default();
    if page == Page::Health {
        reads(method)?;
        return Ok(health(app));
    }
    if !may_look(&app.config.status, arrival, query) {
        return Err(Failure::new(Kind::NotFound, "not for this client (status)"));
    }
    let token = parameter(query, "token");
    match page {
        Page::Live => {
            reads(method)?;
            let nonce = nonce()?;
            let policy = format!(
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; \
                 form-action 'self'; frame-ancestors 'none'"
            );
            let mut response = text("text/html; charset=utf-8", page::whole(app, token.as_deref(), &nonce));
            if let Ok(policy) = HeaderValue::from_str(&policy) {
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            Ok(response)
        }
        Page::Events => {
            reads(method)?;
            let mut response = Response::new(Body::stream(stream::Events::new(app.clone(), token), None));
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Page::Metrics => {
            reads(method)?;
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(text(kind, app.metrics.encode(app)))
        }
        Page::End => end(app, arrival, query, token.as_deref()),
        Page::Health => Ok(health(app)),
    }
}

/// What the page's own script is known by. Nobody can guess it, and so nobody can smuggle in another.
fn nonce() -> Result<String, Failure> {
    let mut octets = [0; 16];
    let none = |_| Failure::new(Kind::Internal, "the system has no random numbers");
    SystemRandom::new().fill(&mut octets).map_err(none)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(octets)))
}

fn reads(method: &Method) -> Result<(), Failure> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(());
    }
    Err(Failure::method_not_allowed(method, "GET, HEAD"))
}

fn health(app: &App) -> Response<Body> {
    let well = app.spawner.is_alive();
    let mut response = text("text/plain", if well { "ok\n" } else { "no script can be started\n" }.to_owned());
    if !well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn text(kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn may_look(access: &Access, arrival: &Arrival, query: &[u8]) -> bool {
    match access {
        Access::Off => false,
        Access::Loopback => arrival.is_author(),
        Access::Token(token) => {
            let header = arrival.parts.headers.get(http::header::AUTHORIZATION).map(HeaderValue::as_bytes);
            let bearer = header.and_then(|value| value.strip_prefix(b"Bearer ")).map(<[u8]>::to_vec);
            let given = bearer.or_else(|| parameter(query, "token").map(String::into_bytes));
            given.is_some_and(|given| given.ct_eq(token.as_bytes()).into())
        }
    }
}

/// Ends a script, where the page of this very server asks for it.
fn end(app: &App, arrival: &Arrival, query: &[u8], token: Option<&str>) -> Result<Response<Body>, Failure> {
    if arrival.parts.method != Method::POST {
        return Err(Failure::method_not_allowed(&arrival.parts.method, "POST"));
    }
    if !same_origin(arrival) {
        return Err(Failure::new(Kind::Forbidden, "another site asked for a script's end"));
    }
    let found = parameter(query, "id").is_some_and(|id| app.live.end(&id));
    if !found {
        return Err(Failure::new(Kind::NotFound, "no such request is running"));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let back = HeaderValue::from_str(&format!("/status{}", page::with_token(token, '?')));
    response.headers_mut().insert(LOCATION, back.unwrap_or(HeaderValue::from_static("/status")));
    Ok(response)
}

/// Browsers say where a form comes from; a program that says nothing is not a page of another site.
fn same_origin(arrival: &Arrival) -> bool {
    let headers = &arrival.parts.headers;
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return true };
    let authority = arrival.parts.uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let scheme = if arrival.connection.tls { "https" } else { "http" };
    host.is_some_and(|host| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
}

/// The value of a parameter of a query.
fn parameter(query: &[u8], name: &str) -> Option<String> {
    query.split(|&b| b == b'&').find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(percent_encoding::percent_decode(value).collect()).ok()
    })
}
