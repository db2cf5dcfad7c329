//! What a script is told: its command line, its folder and its environment.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use http::{Method, Version};

use super::{Asking, Upgrade};
use crate::app::App;
use crate::compat;
use crate::connection::{Arrival, path_of, query_of};
use crate::failure::{Failure, Kind};
use crate::gateway::{self, Call, MetaVars, Script, Upload, script};
use crate::path::UrlPath;
use crate::route::Scripts;

/// What a script is told.
pub(super) struct Told {
    pub(super) command: (CString, Vec<CString>),
    pub(super) folder: CString,
    pub(super) environment: Vec<CString>,
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
pub(super) fn told(
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
