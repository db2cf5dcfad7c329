//! The table of contents of the server: what happens to a request, in order.

mod above;
mod own_page;
mod sendfile;
mod trouble;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{EXPECT, HeaderName, SERVER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::app::{App, Lease};
use crate::body::Body;
use crate::builtin;
use crate::compat;
use crate::connection::{Arrival, Elsewhere, path_of, query_of};
use crate::failure::{Failure, Kind};
use crate::files;
use crate::path::UrlPath;
use crate::reply;
use crate::route::{self, Files, Match, Pattern, Route, Target};
use crate::scripts::{self, Asking, Outcome};
use crate::status;
use crate::ticket::Ticket;
use crate::websocket;

use above::Above;
use sendfile::sendfile;
use trouble::{as_the_edge_saw_it, told_why};

/// How often a script may send a request elsewhere on this server (Apache's number).
const HOPS: usize = 10;

/// Answers one request. What goes in is in boxes: the future is moved several times before it is polled.
pub async fn answer(app: Lease, mut arrival: Box<Arrival>, refused: Option<Box<Failure>>) -> Response<Body> {
    let app = &app;
    let method = arrival.parts.method.clone();
    let mut ticket = Box::new(ticket(app, &arrival, refused.is_some()));
    let beneath = app.config.access.and_then(|_| app.log.beneath(|| arrival.id.to_string()));
    let outcome = match refused {
        Some(failure) => Err(*failure),
        None => route(app, &mut arrival, &mut ticket).await,
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(failure) => {
            let failure = as_the_edge_saw_it(&arrival, failure);
            Box::pin(told_why(app, &arrival, &failure, &mut ticket)).await
        }
    };
    dress(app, &mut response);
    let (parts, body) = response.into_parts();
    ticket.answered(parts.status.as_u16(), body.length(), &method);
    ticket.hold(arrival.exchange);
    let body = if method == Method::HEAD { Body::empty() } else { body };
    let body = match beneath {
        None => body.watched(ticket),
        Some(beneath) => body.watched(Box::new(Above { ticket, _beneath: beneath })),
    };
    Response::from_parts(parts, body)
}

fn ticket(app: &Lease, arrival: &Arrival, refused: bool) -> Ticket {
    let Arrival { parts, target, id, .. } = arrival;
    Ticket::new(app.clone(), arrival.connection.peer, parts, target, refused, id)
}

/// Host, method, path, route, credentials, target: each may end the request.
async fn route(app: &Arc<App>, arrival: &mut Arrival, ticket: &mut Ticket) -> Result<Response<Body>, Failure> {
    admit_head(app, arrival)?;
    if let Some(elsewhere) = arrival.connection.elsewhere {
        return Ok(sent_elsewhere(arrival, elsewhere));
    }
    if &arrival.target[..] == b"*" && !app.config.python {
        return Ok(reply::options("GET, HEAD, POST, OPTIONS")); // of the server as a whole (RFC 9110 §9.3.7)
    }
    let mut method = arrival.parts.method.clone();
    let mut target = arrival.target.clone();
    let mut redirected_from: Option<Bytes> = None;
    for _ in 0..=HOPS {
        let path = UrlPath::parse(path_of(&target), app.config.escapes)?;
        let routes = &app.config.routes;
        let Some(found) = route::find(routes, &path, websocket::is_asked(&arrival.parts)) else {
            if route::lacks_slash(routes, &path) {
                return Ok(reply::with_slash(path.as_bytes(), query_of(&target)));
            }
            return Err(Failure::new(Kind::NotFound, "no route"));
        };
        let user = credentials(found.route, &arrival.parts.headers).await?;
        if let Some(user) = &user {
            ticket.set_user(user.clone());
        }
        let asking = Asking {
            method: &method,
            target: &target,
            with_body: redirected_from.is_none(),
            user: user.as_deref(),
            redirected_from: redirected_from.as_deref(),
        };
        let outcome = serve(app, arrival, &found, &path, &asking).await?;
        match outcome {
            Outcome::Response(mut response) => {
                for (name, value) in &found.route.headers {
                    response.headers_mut().insert(name.clone(), value.clone());
                }
                return Ok(response);
            }
            Outcome::Redirect(elsewhere) => {
                // Always GET, without the body (RFC 3875 §6.2.2).
                redirected_from = Some(target);
                method = Method::GET;
                target = elsewhere.into();
            }
            Outcome::Sendfile(file, fields) => return Box::pin(sendfile(app, arrival, &found, &file, fields)).await,
        }
    }
    Err(Failure::new(Kind::RedirectLoop, format!("more than {HOPS} local redirects, the last to {target:?}")))
}

/// The same address at another port. Whoever sends a body sends it again there, which 301 does not promise.
fn sent_elsewhere(arrival: &Arrival, elsewhere: Elsewhere) -> Response<Body> {
    let safe = matches!(arrival.parts.method, Method::GET | Method::HEAD);
    let status = if safe { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    let local = arrival.connection.local.map(|local| match local.ip().to_canonical() {
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    });
    let host = arrival.host().filter(|host| !host.is_empty()).map(str::to_owned).or(local).unwrap_or_default();
    reply::redirect(status, &elsewhere.location(&host, &arrival.target))
}

/// What does not depend on the path.
fn admit_head(app: &App, arrival: &Arrival) -> Result<(), Failure> {
    let headers = &arrival.parts.headers;
    let tunnel = arrival.parts.method == Method::CONNECT && !websocket::is_asked(&arrival.parts);
    if tunnel || matches!(arrival.parts.method.as_str(), "TRACE" | "TRACK") {
        return Err(Failure::method_not_allowed(&arrival.parts.method, "GET, HEAD, POST, OPTIONS"));
    }
    if headers.get(EXPECT).is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Failure::new(Kind::ExpectationFailed, "another Expect than 100-continue"));
    }
    if app.config.hosts.is_empty() {
        return Ok(());
    }
    match arrival.host() {
        Some(name) if !app.config.hosts.iter().any(|h| h.eq_ignore_ascii_case(name)) => {
            Err(Failure::new(Kind::Misdirected, format!("\"{name}\" is not among hosts")))
        }
        _ => Ok(()),
    }
}

/// Credentials are checked before anything is started (RFC 3875 §3.1).
async fn credentials(route: &Route, headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(auth) = &route.auth else { return Ok(None) };
    match Box::pin(auth.check(headers.get(http::header::AUTHORIZATION))).await {
        Some(user) => Ok(Some(user)),
        None => Err(Failure {
            realm: Some(auth.challenge()),
            ..Failure::new(Kind::Unauthorized, "no credentials, or wrong ones")
        }),
    }
}

/// What takes long, or is seldom, is in a box of its own: hyper moves the future of every request about, and that of a
/// file is to be small.
async fn serve(
    app: &Arc<App>,
    arrival: &mut Arrival,
    found: &Match<'_>,
    path: &UrlPath,
    asking: &Asking<'_>,
) -> Result<Outcome, Failure> {
    if app.config.python && !matches!(found.route.target, Target::Builtin(_)) {
        let script = matches!(found.route.target, Target::Scripts(_) | Target::Script(_));
        compat::admit_method(asking.method, script)?;
    }
    match &found.route.target {
        Target::Builtin(endpoint) => match builtin::answer(*endpoint, asking.method, &app.processes).await? {
            Some(response) => Ok(Outcome::Response(response)),
            None => Box::pin(process_input(arrival)).await,
        },
        Target::Status(page) => Ok(Outcome::Response(status::answer(app, arrival, asking.target, *page)?)),
        Target::Redirect(status, to) => Ok(Outcome::Response(reply::redirect(*status, to))),
        Target::Scripts(programs) => {
            let suffix = match &found.route.pattern {
                Pattern::Suffix(_, suffix) => Some(suffix.as_slice()),
                _ => None,
            };
            match scripts::find(programs, path, found.from, suffix, false) {
                Ok(script) => Box::pin(scripts::run(app, programs, &script, path, arrival, asking)).await,
                Err(failure) => match (failure.kind, route::files_beside(&app.config.routes, found.route)) {
                    (Kind::NoSuchScript | Kind::ScriptNotAFile, Some((route, files))) => {
                        let beside = Match { route, from: found.from };
                        serve_files(app, arrival, &beside, files, path, asking).await
                    }
                    _ => Err(failure),
                },
            }
        }
        Target::Script(programs) => {
            let mut script = scripts::find(programs, path, found.from, None, true)?;
            // The whole path is PATH_INFO for a suffix; an exact path is the script's name, a prefix too.
            script.name_length = if matches!(found.route.pattern, Pattern::Suffix(..)) { 0 } else { found.from };
            Box::pin(scripts::run(app, programs, &script, path, arrival, asking)).await
        }
        Target::Files(files) => serve_files(app, arrival, found, files, path, asking).await,
    }
}

async fn process_input(arrival: &mut Arrival) -> Result<Outcome, Failure> {
    let Some(body) = arrival.body.take() else { return Err(Failure::new(Kind::BadRequest, "no body")) };
    Ok(Outcome::Response(builtin::count(&arrival.parts.headers, body).await?))
}

async fn serve_files(
    app: &Arc<App>,
    arrival: &mut Arrival,
    found: &Match<'_>,
    files: &Files,
    path: &UrlPath,
    asking: &Asking<'_>,
) -> Result<Outcome, Failure> {
    if *asking.method == Method::POST && builtin::is_json(&arrival.parts.headers) {
        return Box::pin(process_input(arrival)).await;
    }
    let python = app.config.python.then(|| compat::conditions(&arrival.parts.headers));
    let request = files::Request {
        method: asking.method,
        path,
        from: found.from,
        query: query_of(asking.target),
        headers: python.as_ref().unwrap_or(&arrival.parts.headers),
    };
    if route::lacks_slash(&app.config.routes, path) {
        return Ok(Outcome::Response(files::redirect(&files.tree, request)?));
    }
    match files::serve(&files.tree, request).await? {
        files::Found::Response(mut response) => {
            if app.config.python && response.status() == StatusCode::MOVED_PERMANENTLY {
                let written = arrival.other_form.as_deref().unwrap_or(asking.target);
                compat::redirect_as_written(response.headers_mut(), written);
            }
            Ok(Outcome::Response(response))
        }
        files::Found::Index { file_name } => {
            let index =
                UrlPath::parse(&percent_encode(&[path.as_bytes(), file_name.as_bytes()].concat()), app.config.escapes)?;
            let found = route::find(&app.config.routes, &index, false);
            // A program in the place of an index file; another folder's index it cannot be.
            let found = found.filter(|found| matches!(found.route.target, Target::Scripts(_)));
            let found =
                found.ok_or_else(|| Failure::new(Kind::NotFound, "the index is a script that no route runs"))?;
            Box::pin(serve(app, arrival, &found, &index, asking)).await
        }
    }
}

fn percent_encode(bytes: &[u8]) -> Vec<u8> {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'/');
    percent_encoding::percent_encode(bytes, KEPT).to_string().into_bytes()
}

/// The fields that every answer carries.
fn dress(app: &App, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.entry(SERVER).or_insert(HeaderValue::from_static(app.config.software));
    for (name, value) in &app.config.headers {
        let name: &HeaderName = name;
        headers.append(name.clone(), value.clone());
    }
}
