//! A request for a script: from the URL to a call of the gateway, and from the script's answer to ours.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use crate::app::{App, Witness};
use crate::body::Body;
use crate::compat;
use crate::connection::{Arrival, path_of, query_of};
use crate::explain::{Evidence, Run, Trouble};
use crate::failure::{Blame, Failure, Kind};
use crate::gateway::{self, Answer, Call, Error, MetaVars, NoScript, Output, Script, Settled, Upload, script};
use crate::limits;
use crate::path::UrlPath;
use crate::route::Scripts;
use crate::spawner::Step;
use crate::websocket;

/// How long an answer whose end is not in sight yet is held back so that it may go out whole; then it streams.
const PATIENCE: Duration = Duration::from_millis(1);
/// The same for a redirect: its body is seldom more than nothing, and there are clients that wait for the end of one
/// without a length.
const PATIENCE_WITH_REDIRECT: Duration = Duration::from_secs(1);
/// Largest answer that goes out whole, octets.
const WHOLE: usize = 256 << 10;

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

/// The failure with the status that the operator wants for a script's own faults.
fn blame(failure: Failure, settings: &gateway::Settings) -> Failure {
    let its_own = failure.kind.row().1 == Blame::Script || failure.kind == Kind::NotExecutable;
    let status = settings.error_status.filter(|_| its_own).and_then(|s| StatusCode::from_u16(s).ok());
    match status {
        Some(status) => Failure { refused: Some((status, failure.kind.slug())), ..failure },
        None => failure,
    }
}

fn no_script(why: NoScript, shown: &str) -> Failure {
    match why {
        NoScript::Missing => Failure::new(Kind::NoSuchScript, format!("no script for {shown}"))
            .with_message(format!("No such CGI script ('{shown}').")),
        NoScript::NotAFile(file) => {
            Failure::new(Kind::ScriptNotAFile, format!("{} is not a plain file", file.display()))
                .with_message(format!("CGI script is not a plain file ('{shown}')."))
        }
        NoScript::NotExecutable(file) => {
            Failure::new(Kind::NotExecutable, format!("{f} lacks the x bit: chmod +x {f}", f = file.display()))
                .with_message(format!("CGI script is not executable ('{shown}')."))
        }
        NoScript::Writable(file) => Failure::new(
            Kind::WritableByOthers,
            format!("{f} may be written by everybody: chmod o-w {f}", f = file.display()),
        ),
        NoScript::Escapes(file) => {
            Failure::new(Kind::SymlinkEscapes, format!("{} leads out of the script folder", file.display()))
        }
        NoScript::Unreadable(file, kind) => {
            Failure::new(Kind::CannotStart, format!("{}: {}", file.display(), io::Error::from(kind)))
        }
    }
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

/// A header block in words, for whoever looks at it.
fn understood(head: &gateway::Head) -> Vec<String> {
    let mut lines = vec![format!("Status: {}", head.final_status())];
    lines.extend(head.location.iter().map(|location| format!("Location: {}", location.escape_ascii())));
    lines.extend(head.content_length.map(|length| format!("Content-Length: {length}")));
    lines.extend(head.fields.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())));
    lines.extend(head.remarks.iter().map(|remark| format!("({remark})")));
    lines
}

/// What of an error says something about the script.
fn trouble(error: &Error) -> Option<Trouble> {
    match error {
        Error::NotStarted(step, errno) => Some(Trouble::NotStarted(*step, *errno)),
        Error::Head(error) => Some(Trouble::Head(error.clone())),
        Error::NoHead(_, octets) => Some(Trouble::NoHead(*octets)),
        Error::Timeout(key) => Some(Trouble::Timeout(key)),
        _ => None,
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

/// What a script is told.
struct Told {
    command: (CString, Vec<CString>),
    folder: CString,
    environment: Vec<CString>,
}

/// Everything the script is told (RFC 3875 §4).
///
/// # Errors
/// A file name that no program can be given.
#[expect(clippy::too_many_arguments, reason = "each is another part of the request; a struct would only rename them")]
pub fn call(
    app: &App,
    scripts: &Scripts,
    script: &Script,
    path: &UrlPath,
    arrival: &Arrival,
    asking: &Asking<'_>,
    upload: Upload,
    upgrade: Upgrade,
    permit: gateway::Permit,
) -> Result<Call, Failure> {
    let context = Arc::new(gateway::Context::new(
        arrival.id.to_string(),
        String::from_utf8_lossy(&path.as_bytes()[..script.name_length]).into_owned(),
        arrival.connection.client(),
    ));
    let Told { command, folder, environment } =
        told(app, scripts, script, path, arrival, asking, upload.length(), upgrade)?;
    Ok(Call { command, folder, environment, owner: script.owner, upload, context, permit })
}

/// The same beside the body, which has `length` octets.
#[expect(clippy::too_many_arguments, reason = "each is another part of the request; a struct would only rename them")]
fn told(
    app: &App,
    scripts: &Scripts,
    script: &Script,
    path: &UrlPath,
    arrival: &Arrival,
    asking: &Asking<'_>,
    length: Option<u64>,
    upgrade: Upgrade,
) -> Result<Told, Failure> {
    let settings = &scripts.settings;
    let query = query_of(asking.target);
    let (script_name, path_info) = path.as_bytes().split_at(script.name_length.min(path.as_bytes().len()));
    let document_root = app.config.document_root.as_os_str().as_bytes();
    let translated = (!path_info.is_empty()).then(|| [document_root, path_info].concat());
    let script_name = scripts.script_name.as_deref().unwrap_or(script_name);
    let server_name = server_name(app, arrival);
    let from = asking.redirected_from.map(|target| (path_of(target), query_of(target).unwrap_or_default()));
    let claimed = settings.python.then(|| compat::claimed_user(&arrival.parts.headers)).flatten();
    let vars = MetaVars {
        method: asking.method.as_str(),
        request_uri: asking.target,
        query: query.unwrap_or_default(),
        script_name,
        path_info,
        path_translated: translated.as_deref(),
        script_filename: script.file.as_os_str().as_bytes(),
        document_root,
        protocol: match arrival.parts.version {
            Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        },
        server_name: &server_name,
        software: app.config.software,
        peer: arrival.connection.peer,
        local: arrival.connection.local,
        https: arrival.connection.tls,
        content_length: length,
        user: asking.user.or(claimed.as_deref()).map(|user| ("Basic", user.as_bytes())),
        id: &arrival.id,
        redirected_from: from,
        headers: &arrival.parts.headers,
        pass_authorization: settings.pass_authorization,
        upgrade: upgrade == Upgrade::Yes,
        empty_path_info: settings.empty_path_info,
        python: settings.python,
    };
    let environment = vars.environment(&settings.env);
    let reads = matches!(*asking.method, Method::GET | Method::HEAD);
    let arguments = script::arguments(settings.isindex, reads, query);
    let command = script.command([scripts.arguments.clone(), arguments].concat());
    let own = if settings.python { settings.server_directory.as_path() } else { script.folder() };
    let folder = scripts.folder.as_deref().unwrap_or(own);
    let folder = CString::new(folder.as_os_str().as_bytes()).ok();
    let (Some(command), Some(folder)) = (command, folder) else {
        return Err(Failure::new(Kind::Internal, "a NUL in a file name"));
    };
    Ok(Told { command, folder, environment })
}

/// SERVER_NAME: what the operator says, otherwise the checked Host field without its port, otherwise the address
/// (RFC 3875 §4.1.14).
pub fn server_name(app: &App, arrival: &Arrival) -> String {
    if let Some(name) = &app.config.server_name {
        return name.clone();
    }
    match arrival.host() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => match arrival.connection.local.map(|local| local.ip().to_canonical()) {
            Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
            Some(ip) => ip.to_string(),
            None => "localhost".to_owned(),
        },
    }
}

async fn reply(
    answer: Answer,
    settings: &gateway::Settings,
    method: &Method,
    arrival: &Arrival,
) -> Result<Outcome, Failure> {
    let Answer { head, output } = answer;
    for remark in &head.remarks {
        tracing::warn!(id = &*arrival.id, "{remark}");
    }
    if settings.local_redirect
        && let Some(target) = head.local_redirect()
    {
        output.discard();
        return Ok(Outcome::Redirect(target.to_vec()));
    }
    if let (Some(_), Some(file)) = (&settings.sendfile_root, &head.sendfile) {
        output.discard();
        return Ok(Outcome::Sendfile(file.clone(), head.fields));
    }
    let status = StatusCode::from_u16(head.final_status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let no_body = *method == Method::HEAD || matches!(status.as_u16(), 204 | 304);
    let body = if no_body {
        output.discard();
        Body::empty()
    } else {
        let patience = if status.is_redirection() { PATIENCE_WITH_REDIRECT } else { PATIENCE };
        body(output, head.content_length.filter(|_| !head.chunked), patience).await
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = head.fields;
    if let Some(location) = head.location.as_deref().and_then(|l| HeaderValue::from_bytes(l).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    // What GET would have said; a 204 must not say it (RFC 9110 §8.6).
    if let (true, Some(length)) = (no_body && status != StatusCode::NO_CONTENT, head.content_length) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if let Some(reason) = head.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    Ok(Outcome::Response(response))
}

async fn body(output: Output, length: Option<u64>, patience: Duration) -> Body {
    // A length that the script gave needs no look ahead, unless the answer is short enough to be here already.
    match output.settle(patience, WHOLE).await {
        Settled::Whole(bytes) => Body::whole(bytes),
        Settled::Stream(output) => Body::stream(*output, length),
    }
}

/// What a gateway error means for the client.
pub fn failure(error: Error, file: &Path) -> Failure {
    let file = file.display();
    match error {
        Error::TooBig => Failure::new(Kind::HeadTooLarge, "the environment is more than the kernel takes"),
        Error::BodyTooLarge => Failure::new(Kind::BodyTooLarge, "the body is over max-body"),
        Error::DiskFull => Failure::new(Kind::DiskFull, "no room to spool the body"),
        Error::Resources(error) => Failure::new(Kind::OutOfResources, error.to_string()),
        Error::NotStarted(step, errno) => not_started(step, errno, &file.to_string()),
        Error::Identity(why) => Failure::new(Kind::CannotStart, format!("{file}: {why}")),
        Error::Head(error) => Failure::new(
            if error == gateway::HeadError::TooLarge { Kind::ScriptHeadTooLarge } else { Kind::BadScriptHead },
            format!("{file}: {error}"),
        ),
        Error::NoHead(how, 0) => Failure::new(Kind::EmptyAnswer, format!("{file} {how} and wrote nothing")),
        Error::NoHead(how, octets) => {
            Failure::new(Kind::NoScriptHead, format!("{file} {how} after {octets} octets without a complete header"))
        }
        Error::Timeout(key) => Failure::new(Kind::ScriptTimeout, format!("{file} gave no header in time ({key})")),
        Error::ClientGone(why) => Failure::new(Kind::BodyBroken, format!("the body did not arrive: {why}")),
        Error::SpawnerDied => Failure::new(Kind::SpawnerDied, format!("{file}: the spawner died")),
    }
}

fn not_started(step: Step, errno: i32, file: &str) -> Failure {
    let error = io::Error::from_raw_os_error(errno);
    match errno {
        libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ETXTBSY => {
            Failure::new(Kind::OutOfResources, format!("{file}: {step:?}: {error}"))
        }
        libc::E2BIG => Failure::new(Kind::HeadTooLarge, format!("{file}: {error}")),
        _ => Failure::new(Kind::CannotStart, format!("{file}: {step:?}: {error}{}", hint(errno))),
    }
}

/// What the bare error does not say of a program that cannot be executed.
fn hint(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => " (the file is there, so its #! line names a program that is not, or ends in CR LF)",
        libc::EACCES => " (its user may not run it or search a folder above it, or the file system is noexec)",
        libc::ENOEXEC => " (it has no #! line and is no program of this machine)",
        _ => "",
    }
}
