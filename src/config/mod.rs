//! What the operator wants: defaults, then the file, then the flags.

mod address;
mod file;
mod identity;
mod problem;
mod resolve;
mod section;
mod shown;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::access_log::Format;
use crate::files::{Cache, Types};
use crate::limits::Admission;
use crate::path::{Escapes, UrlPath};
use crate::route::{Route, Target};
use crate::spawner::Identity;

pub use problem::{ConfigError, Problem};
pub use resolve::{resolve, resolve_again, resolve_text};
pub use shown::show;

/// What was said on the command line; each flag overrides one key of the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `-d`.
    pub directory: Option<PathBuf>,
    /// `-b`.
    pub bind: Option<String>,
    /// The positional port.
    pub port: Option<u16>,
    /// `-p`: whether it says HTTP/1.0, which closes after every answer.
    pub http10: Option<bool>,
    /// `--cgi`, or anything else that only Python's command line has: its habits of layout and listing.
    pub python_style: bool,
    /// `--python-compat`: its habits of running scripts.
    pub python_compat: bool,
    /// `--open`: a browser shows the first page.
    pub open: bool,
    /// What stands under the banner, where that is read on a terminal.
    pub greeting: String,
    /// `-H NAME VALUE`.
    pub headers: Vec<(String, String)>,
    /// `--content-type`.
    pub content_type: Option<String>,
    /// `--tls-cert`.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`.
    pub tls_key: Option<PathBuf>,
    /// `--tls-password-file`.
    pub tls_password_file: Option<PathBuf>,
    /// `--tls`: a self-signed certificate made on the spot.
    pub tls: bool,
    /// `--log`.
    pub log: Option<Option<Format>>,
}

/// The resolved configuration: every value decided, nothing left to look up.
#[derive(Debug)]
pub struct Config {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What is served, absolute.
    pub directory: PathBuf,
    /// DOCUMENT_ROOT.
    pub document_root: PathBuf,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// A port beside every TCP address, without TLS, from which everybody is sent to that address.
    pub redirect_port: Option<u16>,
    /// Permission bits of Unix sockets.
    pub socket_mode: u32,
    /// SERVER_NAME, in place of the Host field.
    pub server_name: Option<String>,
    /// Host names this server answers for; empty: any.
    pub hosts: Vec<String>,
    /// The `Server` field and SERVER_SOFTWARE.
    pub software: &'static str,
    /// Fields on every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Every answer closes its connection and says HTTP/1.0.
    pub http10: bool,
    /// Python's habits.
    pub python: bool,
    /// Whether clients on this machine are told why a script failed.
    pub explain: bool,
    /// Who may see what the server is doing.
    pub status: crate::status::Access,
    /// Whether a request target without its first slash gets one, as Python does.
    pub add_slash: bool,
    /// How paths are read.
    pub escapes: Escapes,
    /// Small files in memory, and what file names mean: shared by all trees.
    pub cache: Arc<Cache>,
    /// See `cache`.
    pub types: Arc<Types>,
    /// The routing table.
    pub routes: Vec<Route>,
    /// The site's own pages for failures: status, and path of a file at `/`.
    pub error_pages: Vec<(StatusCode, UrlPath)>,
    /// Over all routes.
    pub admission: Arc<Admission>,
    /// Open WebSockets, over all routes.
    pub websockets: Arc<Admission>,
    /// As whom the server and its scripts run, where it was started as root.
    pub identity: Option<Identity>,
    /// Where scripts may keep data; outside everything served.
    pub state: PathBuf,
    /// Where request bodies are spooled.
    pub spool: PathBuf,
    /// Certificate and key.
    pub tls: Option<Tls>,
    /// Access log: format and file.
    pub access: Option<Format>,
    /// Where log lines go; `None`: standard error.
    pub log_file: Option<PathBuf>,
    /// Least important message that is logged.
    pub log_level: tracing::Level,
    /// Bounds of connections.
    pub limits: ServerLimits,
    /// What an operator should know but need not change.
    pub remarks: Vec<String>,
}

impl Config {
    /// Takes over from `old` how many scripts run, in all and on each route that is still there, so that a reload does
    /// not let twice as many run.
    pub fn inherit(&mut self, old: &Self) {
        self.admission = self.admission.clone().inherit(&old.admission);
        self.websockets = self.websockets.clone().inherit(&old.websockets);
        for route in &mut self.routes {
            let Some(before) = old.routes.iter().find(|before| before.pattern == route.pattern) else { continue };
            if let (Target::Scripts(new), Target::Scripts(old)) | (Target::Script(new), Target::Script(old)) =
                (&mut route.target, &before.target)
            {
                let admission = new.admission.clone().inherit(&old.admission);
                Arc::make_mut(new).admission = admission;
            }
        }
    }
}

/// One place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Where certificate and key come from.
#[derive(Clone, Debug)]
pub enum Tls {
    /// PEM files.
    Files {
        /// The certificate and those above it.
        cert: PathBuf,
        /// The key; in the certificate's file without one.
        key: Option<PathBuf>,
        /// The key's password.
        password_file: Option<PathBuf>,
    },
    /// Made on the spot.
    SelfSigned,
}

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one address.
    pub per_address: usize,
    /// For a request's head, from its first octet.
    pub header: Duration,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
    /// For a client to take any octet of what is sent to it.
    pub write: Duration,
    /// For requests in flight, at the end.
    pub drain: Duration,
    /// Processes that start scripts.
    pub spawners: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_address: 10_000,
            header: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            write: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            spawners: std::thread::available_parallelism().map_or(1, usize::from).min(4),
        }
    }
}
