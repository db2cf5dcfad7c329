//! Scripts as WebSocket servers.
//!
//! ```text
//!  request ─► handshake ─► ws-   one process per connection     client ◄─► bridge ◄─► pipes
//!                      └─► hub-  one process per URL path       client ◄─► room ◄─► pipes, JSON lines
//! ```
//!
//! The script is found, admitted, described and started like any CGI script; only what goes through its pipes differs.

mod bridge;
mod client;
mod clock;
mod console;
mod errors;
mod farewell;
mod framing;
mod handshake;
mod hub;
mod intake;
mod pipes;
mod stream;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;

use crate::app::App;
use crate::body::Body;
use crate::connection::{Arrival, Seat};
use crate::failure::{Failure, Kind};
use crate::gateway::{self, Script, Upload};
use crate::limits;
use crate::path::UrlPath;
use crate::route::Scripts;
use crate::scripts::{self, Asking, Outcome, Upgrade};

pub use framing::Framing;
pub use handshake::is_asked;
pub use hub::Hubs;

/// How the WebSockets of a route speak.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How messages and octets on the script's pipes relate.
    pub framing: Framing,
    /// Sub-protocols offered (RFC 6455 §1.9), in order of preference.
    pub protocols: Vec<String>,
    /// Origins that may connect beside the server's own; `*` is every one.
    pub origins: Vec<String>,
    /// Largest message, octets; 1009 above.
    pub max_message: usize,
    /// Between two pings; a peer that answers none of two is gone. Zero: no pings.
    pub ping: Duration,
    /// How long a connection may be without a message in either direction. `None`: for ever.
    pub idle: Option<Duration>,
    /// Whether a plain request is answered with the console, for everybody and not only from this machine.
    pub console: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            framing: Framing::Line,
            protocols: Vec::new(),
            origins: Vec::new(),
            max_message: 16 << 20,
            ping: Duration::from_secs(30),
            idle: None,
            console: false,
        }
    }
}

/// How a route's scripts are spoken to, in place of what their names say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// CGI.
    Cgi,
    /// A process for each WebSocket.
    WebSocket,
    /// A process for all WebSockets of a path.
    Hub,
}

/// How the WebSockets of a script and its processes relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One process per connection.
    Each,
    /// One process per URL path.
    Hub,
}

impl Manner {
    /// How `file` serves WebSockets; `None`: it does not.
    pub fn of(file: &Path, speaks: Option<Speaks>) -> Option<Self> {
        match speaks {
            Some(Speaks::Cgi) => None,
            Some(Speaks::WebSocket) => Some(Self::Each),
            Some(Speaks::Hub) => Some(Self::Hub),
            None => {
                let name = file.file_name().unwrap_or_default().as_bytes();
                [(&b"ws-"[..], Self::Each), (b"hub-", Self::Hub)]
                    .into_iter()
                    .find_map(|(prefix, manner)| name.starts_with(prefix).then_some(manner))
            }
        }
    }
}

/// Answers a request for a script that serves WebSockets: with 101 (200 in HTTP/2) and a conversation behind it, or
/// with what was wrong.
///
/// # Errors
/// 400, 403, 405, 426, and whatever keeps a script from being started.
pub async fn answer(
    app: &Arc<App>,
    scripts: &Scripts,
    script: &Script,
    path: &UrlPath,
    arrival: &mut Arrival,
    asking: &Asking<'_>,
    manner: Manner,
) -> Result<Outcome, Failure> {
    if !is_asked(&arrival.parts) && matches!(*asking.method, Method::GET | Method::HEAD) {
        if scripts.websocket.console {
            return Ok(Outcome::Response(console::page(StatusCode::OK, asking.target)?));
        }
        if console::is_welcome(&arrival.parts) && arrival.is_author() {
            return Ok(Outcome::Response(console::page(StatusCode::UPGRADE_REQUIRED, asking.target)?));
        }
    }
    let accepted = handshake::check(&arrival.parts, &scripts.websocket, arrival.is_author())?;
    let (Some(upgrade), Some(seat)) =
        (arrival.parts.extensions.remove::<OnUpgrade>(), arrival.parts.extensions.get::<Arc<Seat>>().cloned())
    else {
        return Err(Failure::new(Kind::UpgradeRequired, "the connection cannot be taken over"));
    };
    let open = limits::admit(&[&app.config.websockets]).await?;
    // To the script a WebSocket begins with GET, in every version of HTTP (RFC 8441 §5).
    let asking = Asking { method: &Method::GET, ..*asking };
    let mut call =
        scripts::call(app, scripts, script, path, arrival, &asking, Upload::Empty, Upgrade::Yes, Box::new(()))?;
    let row = Arc::new(app.live.enter(&app.metrics, &arrival.id, &call.context.script, arrival.connection.client()));
    let talk = Arc::new(Talk {
        gateway: scripts.settings.clone(),
        websocket: scripts.websocket.clone(),
        errors: accepted.errors,
    });
    match manner {
        Manner::Each => {
            call.environment.extend(chosen(accepted.protocol.as_deref()));
            // The row of the live view goes with the process.
            call.permit = Box::new((limits::admit(&[&scripts.admission]).await?, row.clone()));
            row.runs(&call.context);
            let conversation = gateway::converse(&app.spawner, &scripts.settings, call)
                .await
                .map_err(|error| scripts::failure(error, &script.file))?;
            let (context, leader) = (conversation.context.clone(), conversation.child.leader());
            tokio::spawn(async move {
                row.talks();
                let ended = async {
                    context.pid.store(leader.await.unwrap_or_default(), Ordering::Relaxed);
                    row.ended().await;
                };
                until_told(seat, ended, async |seat| bridge::run(upgrade, seat, conversation, talk, open).await).await;
            });
        }
        Manner::Hub => {
            let fixed = scripts.settings.env.len();
            let admission = scripts.admission.clone();
            let opening = hub::Opening { call, fixed, protocol: accepted.protocol.clone(), admission, talk };
            let member = app.hubs.join(app, path.as_bytes(), opening).await?;
            tokio::spawn(async move {
                row.talks();
                until_told(seat, row.ended(), async |seat| member.run(upgrade, seat, open).await).await;
            });
        }
    }
    if let Some(exchange) = &arrival.exchange {
        exchange.upgraded();
    }
    Ok(Outcome::Response(switching(accepted)))
}

/// Carries on a conversation; whoever ends it in the live view ends it as a server that goes does.
async fn until_told(seat: Arc<Seat>, ended: impl Future<Output = ()>, conversation: impl AsyncFnOnce(Arc<Seat>)) {
    let (say, told) = watch::channel(false);
    let place = Arc::new(Seat::new(told, Box::new(seat.clone())));
    let word = async {
        tokio::select! { () = seat.leaving() => {}, () = ended => {} }
        say.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! { () = conversation(place) => {}, () = word => {} }
}

/// What a conversation needs to know of the configuration.
struct Talk {
    gateway: Arc<gateway::Settings>,
    websocket: Settings,
    /// Whether the client is shown what the script says on its standard error.
    errors: bool,
}

/// The variable that says which of its sub-protocols was chosen.
fn chosen(protocol: Option<&str>) -> Option<CString> {
    protocol.and_then(|name| CString::new(format!("X_WEBSOCKET_PROTOCOL={name}")).ok())
}

fn switching(accepted: handshake::Accepted) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    if let Some(protocol) = accepted.protocol.as_deref().or(accepted.errors.then_some(errors::PROTOCOL)) {
        set(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(key) = &accepted.key {
        set(SEC_WEBSOCKET_ACCEPT, key);
        set(UPGRADE, "websocket");
        set(CONNECTION, "Upgrade");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    response
}
