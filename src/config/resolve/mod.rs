//! From what is written to what it means.

mod routes;
mod scripts;

use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::address::address;
use super::file::{File, FileKeys};
use super::problem::{ConfigError, Problem};
use super::{Config, Flags, Listen, ServerLimits, Tls, file, identity};
use crate::access_log::Format;
use crate::files::{Cache, Types};
use crate::limits::Admission;
use crate::path::Escapes;
use crate::status::{self, Access};

/// Scripts at once, and in the queue, where nobody says otherwise.
const RUNNING: u64 = 32;
const QUEUE: u64 = 512;
/// Open WebSockets in all, where nobody says otherwise. They do not count among the running scripts: a room full of
/// quiet visitors would leave no place for anything else.
const WEBSOCKETS: u64 = 1024;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);
/// Who may speak at a Unix socket: the server's user and its group, to which a proxy can be added.
const SOCKET_MODE: u32 = 0o660;
/// Where scripts find their programs when the server's own environment does not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What scripts see of the server's own environment.
const PASSED: [&str; 4] = ["PATH", "TZ", "LANG", "LC_ALL"];

/// Reads the configuration file, if there is one, and decides every value.
///
/// # Errors
/// Every problem there is, at once.
pub fn resolve(flags: &Flags) -> Result<Config, ConfigError> {
    decide(flags, read(flags)?, None)
}

/// The same once more, for the server that runs with `running`: it has given root up, and stays who it is.
///
/// # Errors
/// Every problem there is, at once.
pub fn resolve_again(flags: &Flags, running: &Config) -> Result<Config, ConfigError> {
    decide(flags, read(flags)?, Some(running))
}

/// Decides every value from the text of a configuration that is in no file; `name` stands in front of problems.
///
/// # Errors
/// Every problem there is, at once.
pub fn resolve_text(flags: &Flags, name: &str, text: &str) -> Result<Config, ConfigError> {
    decide(flags, (file::read(name, text)?, None), None)
}

fn decide(
    flags: &Flags,
    (written, found): (File, Option<PathBuf>),
    running: Option<&Config>,
) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let config = Resolver {
        flags,
        running,
        written,
        problems: &mut problems,
        cache: Arc::default(),
        types: Arc::new(Types::with_system()),
    }
    .config(found);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError(problems)),
    }
}

fn read(flags: &Flags) -> Result<(File, Option<PathBuf>), ConfigError> {
    let beside = flags.directory.clone().unwrap_or_else(|| PathBuf::from(".")).join("cgiserve.toml");
    let path = match &flags.config {
        Some(path) => path.clone(),
        None if beside.is_file() => beside,
        None => return Ok((File::default(), None)),
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let problem = Problem {
            place: name.clone(),
            key: "--config".into(),
            what: format!("cannot be read: {error}"),
            hint: String::new(),
        };
        ConfigError(vec![problem])
    })?;
    Ok((file::read(&name, &text)?, Some(path)))
}

struct Resolver<'a> {
    flags: &'a Flags,
    running: Option<&'a Config>,
    written: File,
    problems: &'a mut Vec<Problem>,
    cache: Arc<Cache>,
    types: Arc<Types>,
}

impl Resolver<'_> {
    fn complain(&mut self, place: &str, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        let (place, key) = (place.to_owned(), key.to_owned());
        self.problems.push(Problem { place, key, what: what.into(), hint: hint.into() });
    }

    fn config(mut self, found: Option<PathBuf>) -> Option<Config> {
        let place = found.as_ref().map_or_else(|| "command line".to_owned(), |p| p.display().to_string());
        let base = found.as_ref().and_then(|p| p.parent()).filter(|p| !p.as_os_str().is_empty());
        let base = base.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let directory = match (&self.flags.directory, &self.written.directory) {
            (Some(flag), _) => flag.clone(),
            (None, Some(key)) => base.join(key),
            (None, None) if self.flags.config.is_some() => base.clone(),
            (None, None) => PathBuf::from("."),
        };
        let directory = match directory.canonicalize() {
            Ok(directory) if directory.is_dir() => directory,
            Ok(directory) => {
                self.complain(&place, "directory", format!("{} is not a folder", directory.display()), "");
                return None;
            }
            Err(error) => {
                self.complain(&place, "directory", format!("{}: {error}", directory.display()), "");
                return None;
            }
        };
        let python = self.flags.python_compat || self.written.python_compat.unwrap_or(false);
        // The layout of this project, or Python's.
        let htdocs = directory.join("htdocs");
        let split = htdocs.is_dir() && !self.flags.python_style;
        // Not a word of ours: this is Python's command line.
        let python_style = self.flags.python_style || python || (!split && found.is_none());
        let document_root = match &self.written.document_root {
            Some(root) => directory.join(root),
            None if split => htdocs,
            None => directory.clone(),
        };
        let root = match self.running {
            Some(running) => running.identity.is_some(),
            None => rustix::process::geteuid().is_root(),
        };
        let mut identity = if root { self.identity(&place) } else { None };
        let mut remarks = Vec::new();
        if let Some(running) = self.running
            && identity != running.identity
        {
            remarks.push("user: a change needs a restart".to_owned());
            identity.clone_from(&running.identity);
        }
        let state = self.state(&directory, identity.as_ref().map(|i| i.uid));
        let scripts = Section {
            root,
            place: place.clone(),
            directory: directory.clone(),
            identity: identity.clone(),
            state: state.clone(),
            python,
            python_style,
            strict: !python_style,
        };
        let tree = self.options(&scripts, &document_root, &FileKeys::default());
        let mut routes = self.routes(&scripts);
        if self.written.default_routes.unwrap_or(true) {
            self.default_routes(&scripts, split, tree, &mut routes);
        }
        self.hide_scripts(&mut routes);
        // Nobody who brings Python's command line expects a page of ours in the way.
        let access = Access::decide(self.written.status.as_deref(), found.is_none() && !python_style);
        let status = access.unwrap_or_else(|short| {
            self.complain(&place, "status", short, "openssl rand -hex 12");
            Access::Off
        });
        routes.extend(status::routes(&status));
        let limits = self.server_limits();
        let running = self.written.limits.max_running.unwrap_or(RUNNING);
        let queue = self.written.limits.queue.unwrap_or(QUEUE);
        let limits_written = &self.written.limits;
        let websockets = limits_written.websockets.or(limits_written.max_running).unwrap_or(WEBSOCKETS);
        let config = Config {
            listen: self.listen(&place),
            redirect_port: self.redirect_port(&place),
            socket_mode: self.written.socket_mode.map_or(SOCKET_MODE, |mode| (mode & 0o777) as u32),
            server_name: self.written.server_name.clone(),
            hosts: self.written.hosts.clone().unwrap_or_default(),
            software: concat!("cgiserve/", env!("CARGO_PKG_VERSION")),
            headers: self.headers("command line", "-H", &self.flags.headers.clone()),
            http10: self.flags.http10.unwrap_or(python),
            status,
            add_slash: python_style,
            python,
            // Whoever writes a configuration file serves others, perhaps through a proxy on this machine.
            explain: self.written.explain.unwrap_or(found.is_none()) && !python,
            escapes: if python { Escapes::Python } else { Escapes::Strict },
            routes,
            error_pages: self.error_pages(&place),
            cache: self.cache.clone(),
            types: self.types.clone(),
            admission: Arc::new(Admission::new(saturate(running), saturate(queue), QUEUE_TIMEOUT)),
            websockets: Arc::new(Admission::new(saturate(websockets), 0, Duration::ZERO)),
            identity,
            state,
            spool: std::env::temp_dir(),
            tls: self.tls(&place, &directory),
            access: self.flags.log.or(self.written.log.access).unwrap_or(Some(Format::Python)),
            log_file: self.written.log.file.as_ref().map(|file| directory.join(file)),
            log_level: self.written.log.level.unwrap_or(tracing::Level::INFO),
            limits,
            remarks,
            file: found,
            directory,
            document_root,
        };
        Some(config)
    }

    fn identity(&mut self, place: &str) -> Option<crate::spawner::Identity> {
        let Some(name) = self.written.user.clone() else {
            let found = identity::unprivileged();
            if found.is_none() {
                self.complain(place, "user", "there is no unprivileged user to run as", "write user = \"NAME\"");
            }
            return found;
        };
        let found = identity::by_name(&name);
        if found.is_none() {
            self.complain(place, "user", format!("there is no user \"{name}\""), "");
        }
        found
    }

    /// A folder of this tree's own, so that two servers do not share their scripts' data.
    fn state(&self, directory: &Path, uid: Option<u32>) -> PathBuf {
        if let Some(state) = &self.written.state_directory {
            return directory.join(state);
        }
        let base = match uid {
            Some(_) => PathBuf::from("/var/lib/cgiserve"),
            None => std::env::var_os("XDG_STATE_HOME")
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
                .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
                .unwrap_or_else(std::env::temp_dir)
                .join("cgiserve"),
        };
        let name = directory.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        // FNV-1a: a name that differs for two folders of the same name; nothing depends on its strength.
        let hash = directory
            .as_os_str()
            .as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        base.join(format!("{name}-{hash:016x}"))
    }

    fn listen(&mut self, place: &str) -> Vec<Listen> {
        let port = match (self.flags.port, self.written.port) {
            (Some(port), _) => port,
            (None, Some(port)) => u16::try_from(port).unwrap_or_else(|_| {
                self.complain(place, "port", format!("{port} is not a port"), "0 to 65535");
                0
            }),
            (None, None) => 8000,
        };
        let names = match (&self.flags.bind, &self.written.bind) {
            (Some(bind), _) => vec![bind.clone()],
            (None, Some(binds)) => binds.clone(),
            (None, None) => vec![Ipv4Addr::LOCALHOST.to_string()],
        };
        let mut all = Vec::new();
        for name in names {
            match address(&name, port) {
                Some(listen) => all.push(listen),
                None => self.complain(place, "bind", format!("\"{name}\" is not an address of this machine"), ""),
            }
        }
        all
    }

    fn redirect_port(&mut self, place: &str) -> Option<u16> {
        let port = self.written.redirect_port?;
        let found = u16::try_from(port).ok();
        if found.is_none() {
            self.complain(place, "redirect-port", format!("{port} is not a port"), "0 to 65535");
        }
        found
    }

    /// Flags name files from where the command was given, the configuration from the folder served.
    fn tls(&mut self, place: &str, directory: &Path) -> Option<Tls> {
        let keys = &self.written.tls;
        let either = |flag: &Option<PathBuf>, key: &Option<PathBuf>| {
            flag.clone().or_else(|| key.as_ref().map(|file| directory.join(file)))
        };
        let cert = either(&self.flags.tls_cert, &keys.cert);
        let key = either(&self.flags.tls_key, &keys.key);
        let password_file = either(&self.flags.tls_password_file, &keys.password_file);
        match cert {
            Some(cert) => Some(Tls::Files { cert, key, password_file }),
            None if key.is_some() || password_file.is_some() => {
                self.complain(place, "tls.cert", "is missing", "--tls-key and --tls-password-file need --tls-cert");
                None
            }
            None => self.flags.tls.then_some(Tls::SelfSigned),
        }
    }

    fn server_limits(&self) -> ServerLimits {
        let (keys, default) = (&self.written.limits, ServerLimits::default());
        ServerLimits {
            connections: keys.connections.map_or(default.connections, saturate),
            per_address: keys.connections_per_address.map_or(default.per_address, saturate),
            header: keys.header_timeout.unwrap_or(default.header),
            keep_alive: keys.keep_alive.unwrap_or(default.keep_alive),
            write: keys.write_timeout.unwrap_or(default.write),
            drain: keys.drain.unwrap_or(default.drain),
            spawners: keys.spawners.map_or(default.spawners, |n| saturate(n).clamp(1, 64)),
        }
    }

    fn headers(&mut self, place: &str, key: &str, pairs: &[(String, String)]) -> Vec<(HeaderName, HeaderValue)> {
        let mut all = Vec::new();
        for (name, value) in pairs {
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                (Ok(name), Ok(value)) => all.push((name, value)),
                (Err(_), _) => self.complain(place, key, format!("\"{name}\" is not a field name"), ""),
                (_, Err(_)) => self.complain(place, key, format!("the value of \"{name}\" cannot be sent"), ""),
            }
        }
        all
    }
}

/// What the routes share.
#[derive(Clone)]
struct Section {
    root: bool,
    place: String,
    directory: PathBuf,
    identity: Option<crate::spawner::Identity>,
    state: PathBuf,
    python: bool,
    /// Python's command line: its listings, and request targets without their first slash.
    python_style: bool,
    /// Whether scripts that everybody may write are refused: not in Python's layout, where `chmod 777` was usual.
    strict: bool,
}

fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
