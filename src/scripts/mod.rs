//! A request for a script: from the URL to a call of the gateway, and from the script's answer to ours.

mod answer;
mod fault;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode, Version};

use crate::app::{App, Witness};
use crate::body::Body;
use crate::compat;
use crate::connection::Arrival;
use crate::explain::{Evidence, Run, Trouble};
use crate::failure::{Failure, Kind};
use crate::gateway::{self, Error, NoScript, Script, Upload, script};
use crate::limits;
use crate::path::UrlPath;
use crate::route::Scripts;
use crate::websocket;

pub use fault::failure;
pub use told::{call, server_name};

use answer::{reply, understood};
use fault::{blame, no_script, trouble};
use told::{Told, told};

/// What a script's answer means for the request.
pub enum Outcome {
    /// It is the answer.
    Response(Response<Body>),
    /// Another path of this server answers, by GET (RFC 3875 §6.2.2).
    Redirect(Vec<u8>),
    /// A file answers (`X-Sendfile`), with these fields.
    Sendfile(Vec<u8>, HeaderMap),
}

/// Who asks, where it differs from the arrival.
pub struct Asking<'a> {
    /// The method; GET after a local redirect.
    pub method: &'a Method,
    /// The target in origin form; another after a local redirect.
    pub target: &'a [u8],
    /// Whether a body goes with it; not after a local redirect.
    pub with_body: bool,
    /// The checked user.
    pub user: Option<&'a str>,
    /// The target that the client asked for, after a local redirect.
    pub redirected_from: Option<&'a [u8]>,
}

/// Whether a call is for a WebSocket: the fields that say so are part of the script's environment then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// An answer in the usual way.
    No,
    /// A WebSocket.
    Yes,
}

/// Finds the program for `path` and says why there is none.
///
/// # Errors
/// 404, 403 or 500 with the reason for the log.
pub fn find(
    scripts: &Scripts,
    path: &UrlPath,
    from: usize,
    suffix: Option<&[u8]>,
    fixed: bool,
) -> Result<Script, Failure> {
    let found = if fixed {
        script::fixed(&scripts.path, 0, &scripts.settings)
    } else {
        let suffixes: Vec<Vec<u8>> = suffix.map(<[u8]>::to_vec).into_iter().collect();
        script::find(&scripts.path, path, from, &suffixes, &scripts.settings)
    };
    let shown = String::from_utf8_lossy(path.as_bytes()).into_owned();
    found.map_err(|why| {
        let file = match &why {
            NoScript::Missing => wanted(scripts, path, from, fixed),
            NoScript::NotAFile(file) | NoScript::NotExecutable(file) | NoScript::Writable(file) => file.clone(),
            NoScript::Escapes(file) | NoScript::Unreadable(file, _) => file.clone(),
        };
        let evidence = Evidence {
            script: shown.clone(),
            interpreted: false,
            settings: scripts.settings.clone(),
            missing: why == NoScript::Missing,
            run: None,
            file,
        };
        let failure = Failure { evidence: Some(Arc::new(evidence)), ..no_script(why, &shown) };
        blame(failure, &scripts.settings)
    })
}

/// The file that a path would name, were it there.
fn wanted(scripts: &Scripts, path: &UrlPath, from: usize, fixed: bool) -> PathBuf {
    let below = if fixed { None } else { path.relative(from) };
    below.map_or_else(|| scripts.path.clone(), |below| scripts.path.join(below))
}

/// Runs `script` for a request.
///
/// # Errors
/// Whatever keeps the script from answering.
pub async fn run(
    app: &Arc<App>,
    scripts: &Scripts,
    script: &Script,
    path: &UrlPath,
    arrival: &mut Arrival,
    asking: &Asking<'_>,
) -> Result<Outcome, Failure> {
    let settings = &scripts.settings;
    if let Some(manner) = websocket::Manner::of(&script.file, scripts.speaks) {
        return websocket::answer(app, scripts, script, path, arrival, asking, manner).await;
    }
    if !settings.decode_slash && path.relative(script.name_length).is_none() {
        return Err(Failure::new(Kind::NotFound, "an encoded slash in the path (encoded-slash = \"reject\")"));
    }
    let upload = upload(app, scripts, arrival, asking).await?;
    let name = String::from_utf8_lossy(&path.as_bytes()[..script.name_length]);
    let seat = app.live.enter(&app.metrics, &arrival.id, &name, arrival.connection.client());
    let place = limits::admit(&[&app.config.admission, &scripts.admission]).await?;
    let length = upload.length();
    let mut call = call(app, scripts, script, path, arrival, asking, upload, Upgrade::No, Box::new(()))?;
    let context = call.context.clone();
    seat.runs(&context);
    call.permit = Box::new((place, seat));
    let started = Instant::now();
    // What the script was told is put together once more where it matters, rather than kept for every request.
    let evidence = |trouble, head: Vec<String>| -> Option<Arc<Evidence>> {
        let Told { command, folder, environment } =
            told(app, scripts, script, path, arrival, asking, length, Upgrade::No).ok()?;
        let took = started.elapsed();
        let run = Run { trouble, context: context.clone(), argv: command.1, folder, environment, head, took };
        let evidence = Arc::new(Evidence {
            script: context.script.clone(),
            file: script.file.clone(),
            settings: settings.clone(),
            interpreted: script.interpreter.is_some(),
            missing: false,
            run: Some(run),
        });
        if let Some(witness) = &app.witness {
            witness.saw(evidence.clone());
        }
        Some(evidence)
    };
    if app.witness.as_ref().is_some_and(Witness::only_looks) {
        evidence(Trouble::None, Vec::new());
        return Ok(Outcome::Response(Response::new(Body::empty())));
    }
    let exchange = arrival.exchange.as_ref();
    let early = arrival.parts.version >= Version::HTTP_11;
    let answer = gateway::run(&app.spawner, settings, call, |head| {
        if let Some(exchange) = exchange.filter(|_| early) {
            let mut head = head;
            if settings.python {
                compat::always_200(&mut head);
            }
            let status = StatusCode::from_u16(head.final_status()).unwrap_or(StatusCode::EARLY_HINTS);
            exchange.interim(status, &head.fields);
        }
    })
    .await;
    match answer {
        Ok(answer) => {
            if app.witness.is_some() {
                evidence(Trouble::None, understood(&answer.head));
            }
            reply(answer, settings, asking.method, arrival).await
        }
        Err(error) => {
            let evidence = trouble(&error).and_then(|trouble| evidence(trouble, Vec::new()));
            Err(blame(Failure { evidence, ..failure(error, &script.file) }, settings))
        }
    }
}

async fn upload(app: &App, scripts: &Scripts, arrival: &mut Arrival, asking: &Asking<'_>) -> Result<Upload, Failure> {
    let headers = &arrival.parts.headers;
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    // HTTP/2 needs neither field: the body is simply there or not.
    let h2 = arrival.parts.version == Version::HTTP_2;
    let open = h2 && arrival.body.as_ref().is_some_and(|body| !http_body::Body::is_end_stream(body));
    if !asking.with_body || (length.is_none() && !chunked && !open) {
        return Ok(Upload::Empty);
    }
    let max = scripts.settings.max_body;
    if length.is_some_and(|length| length > max) {
        return Err(failure(Error::BodyTooLarge, Path::new("")));
    }
    let Some(body) = arrival.body.take() else { return Ok(Upload::Empty) };
    Upload::prepare(body, length, max, &app.config.spool).await.map_err(|error| failure(error, Path::new("")))
}
