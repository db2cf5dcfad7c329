//! From what is written to what it means.

use std::ffi::CString;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::address::address;
use super::file::{File, FileKeys, RouteKeys, ScriptKeys};
use super::problem::{ConfigError, Problem};
use super::{Config, Flags, Listen, ServerLimits, Tls, file, identity};
use crate::access_log::Format;
use crate::auth::Auth;
use crate::builtin;
use crate::files::{Cache, Listing, Options, Tree, Types};
use crate::gateway::Settings;
use crate::gateway::settings::{HeadLimits, Isindex, User};
use crate::limits::Admission;
use crate::path::Escapes;
use crate::route::{Files, Pattern, Route, Scripts, Target};
use crate::spawner::{Limits, Sandbox};
use crate::status::{self, Access};
use crate::websocket;

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
            socket_mode: self.written.socket_mode.map_or(SOCKET_MODE, |mode| (mode & 0o777) as u32),
            server_name: self.written.server_name.clone(),
            hosts: self.written.hosts.clone().unwrap_or_default(),
            software: concat!("cgiserve/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: self.headers("command line", "-H", &self.flags.headers.clone()),
            http10: self.flags.http10.unwrap_or(python),
            status,
            add_slash: python_style,
            python,
            // Whoever writes a configuration file serves others, perhaps through a proxy on this machine.
            explain: self.written.explain.unwrap_or(found.is_none()) && !python,
            escapes: if python { Escapes::Python } else { Escapes::Strict },
            routes,
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

    fn options(&mut self, of: &Section, root: &Path, keys: &FileKeys) -> Options {
        let all = self.written.files.clone();
        let python_listing = of.python_style;
        let listing = keys.listing.or(all.listing);
        let mut headers = keys.headers.clone().or(all.headers).unwrap_or_default();
        if let Some(cache) = keys.cache_control.clone().or(all.cache_control) {
            headers.push(("Cache-Control".into(), cache));
        }
        let content_type = keys.content_type.clone().or_else(|| self.flags.content_type.clone()).or(all.content_type);
        let default_type = content_type.and_then(|text| {
            let value = HeaderValue::from_str(&text).ok();
            if value.is_none() {
                self.complain(&of.place, "content-type", format!("\"{}\" cannot be sent", text.escape_debug()), "");
            }
            value
        });
        Options {
            root: root.canonicalize().unwrap_or_else(|_| root.to_path_buf()),
            index: keys
                .index
                .clone()
                .or(all.index)
                .unwrap_or_else(|| vec!["index.html".to_owned(), "index.htm".to_owned()]),
            listing: listing.unwrap_or(if python_listing { Listing::Python } else { Listing::Off }),
            hide_dotfiles: !keys.dotfiles.or(all.dotfiles).unwrap_or(of.python),
            symlinks: keys.symlinks.or(all.symlinks).unwrap_or_default(),
            default_type,
            headers: self.headers(&of.place, "headers", &headers),
            nosniff: keys.nosniff.or(all.nosniff).unwrap_or(true),
            surrogates: of.python,
            precompressed: keys.precompressed.or(all.precompressed).unwrap_or(false),
            compress: keys.compress.or(all.compress).unwrap_or(false),
            spa_fallback: keys.fallback.clone().or(all.fallback),
            ..Options::new(root)
        }
    }

    fn routes(&mut self, of: &Section) -> Vec<Route> {
        let written = std::mem::take(&mut self.written.routes);
        written.into_iter().flat_map(|keys| self.route(of, keys).unwrap_or_default()).collect()
    }

    fn route(&mut self, of: &Section, keys: RouteKeys) -> Option<Vec<Route>> {
        let place = keys.place.clone();
        let Some(paths) = keys.path.as_ref().filter(|paths| !paths.is_empty()) else {
            self.complain(&place, "route.path", "is missing", "write path = \"/cgi-bin/\"");
            return None;
        };
        let mut patterns = Vec::new();
        for path in paths {
            match Pattern::parse(path) {
                Some(pattern) => patterns.push(pattern),
                None => {
                    let hint = "\"/a/\" is a prefix, \"/a\" exactly that path, \"*.zzz\" and \"/a/*.zzz\" a suffix";
                    self.complain(&place, "route.path", format!("\"{path}\" is not a path"), hint);
                }
            }
        }
        let kinds = [keys.scripts.is_some(), keys.script.is_some(), keys.files.is_some(), keys.redirect.is_some()];
        if kinds.iter().filter(|&&k| k).count() != 1 {
            let hint = "scripts = DIR, script = FILE, files = DIR or redirect = URL";
            self.complain(&place, "route", "says not exactly one thing that answers", hint);
            return None;
        }
        let auth = keys.auth.as_ref().and_then(|auth| {
            let file = auth.file.as_ref().map(|file| of.directory.join(file));
            let realm = auth.realm.clone().unwrap_or_else(|| "cgiserve".to_owned());
            let Some(file) = file else {
                self.complain(&place, "route.auth.file", "is missing", "write auth = { file = \"htpasswd\" }");
                return None;
            };
            match Auth::load(&file, realm, auth.users.clone()) {
                Ok(auth) => Some(Arc::new(auth)),
                Err(error) => {
                    self.complain(&place, "route.auth.file", format!("{}: {error}", file.display()), "");
                    None
                }
            }
        });
        let of = Section { place: place.clone(), ..of.clone() };
        let target = if let Some(folder) = &keys.scripts {
            Target::Scripts(self.scripts(&of, &of.directory.join(folder), &keys.script_keys))
        } else if let Some(file) = &keys.script {
            Target::Script(self.scripts(&of, &of.directory.join(file), &keys.script_keys))
        } else if let Some(folder) = &keys.files {
            let folder = of.directory.join(folder);
            let options = self.options(&of, &folder, &keys.file_keys);
            Target::Files(self.files(options))
        } else {
            let status = keys.status.and_then(|s| u16::try_from(s).ok()).unwrap_or(302);
            let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_redirection);
            let Some(status) = status else {
                self.complain(&place, "route.status", "is not a redirection", "301, 302, 303, 307 or 308");
                return None;
            };
            Target::Redirect(status, keys.redirect.clone().unwrap_or_default().into_bytes())
        };
        let headers = match &target {
            Target::Files(_) => Vec::new(),
            _ => self.headers(&place, "route.headers", &keys.file_keys.headers.clone().unwrap_or_default()),
        };
        let route = |pattern| Route {
            pattern,
            target: target.clone(),
            auth: auth.clone(),
            headers: headers.clone(),
            for_upgrades: keys.for_upgrades.unwrap_or(false),
        };
        Some(patterns.into_iter().map(route).collect())
    }

    /// What is served without a word of configuration.
    fn default_routes(&mut self, of: &Section, split: bool, mut tree: Options, routes: &mut Vec<Route>) {
        let folders: &[&str] = if split { &["cgi-bin"] } else { &["cgi-bin", "htbin"] };
        let defaults = ScriptKeys::default();
        for name in folders {
            let folder = of.directory.join(name);
            let pattern = Pattern::Prefix(format!("/{name}/").into_bytes());
            // Also where the folder does not exist yet: it may appear while the server runs.
            if !routes.iter().any(|route| route.pattern == pattern) {
                let target = Target::Scripts(self.scripts(of, &folder, &defaults));
                routes.push(Route { pattern, target, auth: None, headers: Vec::new(), for_upgrades: false });
            }
            tree.excluded.push(folder);
        }
        // No script is ever served as text, whatever route leads to its folder.
        for route in routes.iter() {
            if let Target::Scripts(scripts) = &route.target
                && !matches!(route.pattern, Pattern::Suffix(..))
            {
                tree.excluded.push(scripts.path.clone());
            }
            if let (Target::Scripts(_), Pattern::Suffix(_, suffix)) = (&route.target, &route.pattern) {
                tree.script_suffixes.push(String::from_utf8_lossy(suffix).into_owned());
            }
        }
        for route in routes.iter_mut() {
            if let Target::Files(files) = &mut route.target {
                let mut options = files.tree.options().clone();
                options.excluded.extend(tree.excluded.iter().cloned());
                options.script_suffixes.extend(tree.script_suffixes.iter().cloned());
                *files = self.files(options);
            }
        }
        routes.extend(builtin::routes());
        let target = Target::Files(self.files(tree));
        routes.push(Route {
            pattern: Pattern::Prefix(b"/".to_vec()),
            target,
            auth: None,
            headers: Vec::new(),
            for_upgrades: false,
        });
    }

    fn files(&self, options: Options) -> Arc<Files> {
        Arc::new(Files { tree: Tree::new(options, self.types.clone(), self.cache.clone()) })
    }

    fn scripts(&mut self, of: &Section, path: &Path, keys: &ScriptKeys) -> Arc<Scripts> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let all = self.written.scripts.clone();
        let running = keys.max_running.or(all.max_running).unwrap_or(u64::from(u32::MAX));
        let queue = keys.queue.or(all.queue).unwrap_or(QUEUE);
        let patience = keys.queue_timeout.or(all.queue_timeout).unwrap_or(QUEUE_TIMEOUT);
        let settings = Arc::new(self.settings(of, &path, keys, &all));
        let websocket = self.websocket(of, keys, &all);
        let admission = Arc::new(Admission::new(saturate(running), saturate(queue), patience));
        let speaks = keys.speaks.or(all.speaks);
        let arguments = keys.arguments.iter().flatten().filter_map(|word| CString::new(word.as_str()).ok()).collect();
        let script_name = keys.script_name.clone().map(String::into_bytes);
        let folder = keys.folder.as_ref().map(|folder| of.directory.join(folder));
        Arc::new(Scripts { path, settings, admission, websocket, speaks, arguments, script_name, folder })
    }

    fn settings(&mut self, of: &Section, path: &Path, keys: &ScriptKeys, all: &ScriptKeys) -> Settings {
        let default = Settings::default();
        let limit = |key: Option<Duration>, default: Option<Duration>| match key {
            Some(Duration::ZERO) => None,
            Some(time) => Some(time),
            None => default,
        };
        let isindex = match keys.isindex.or(all.isindex) {
            Some(true) => Isindex::Words,
            None if of.python => Isindex::Python,
            _ => Isindex::Off,
        };
        Settings {
            first_byte: limit(keys.first_byte_timeout.or(all.first_byte_timeout), default.first_byte),
            idle: limit(keys.idle_timeout.or(all.idle_timeout), default.idle),
            total: limit(keys.timeout.or(all.timeout), default.total),
            grace: keys.grace.or(all.grace).unwrap_or(default.grace),
            max_body: keys.max_body.or(all.max_body).unwrap_or(default.max_body),
            env: self.environment(of, keys, all),
            pass_authorization: keys.pass_authorization.or(all.pass_authorization).unwrap_or(false),
            interpreters: self.interpreters(of, keys.interpreter.iter().chain(&all.interpreter).flatten()),
            fallback_interpreters: self
                .interpreters(of, keys.fallback_interpreter.iter().chain(&all.fallback_interpreter).flatten()),
            user: self.user(of, keys, all),
            sandbox: self.sandbox(of, path, keys, all),
            no_new_privs: keys.no_new_privs.or(all.no_new_privs).unwrap_or(true),
            umask: keys.umask.or(all.umask).map_or(default.umask, |mask| (mask & 0o777) as u32),
            limits: Limits {
                cpu: keys.cpu.or(all.cpu).map(|t| t.as_secs().max(1)),
                address_space: keys.memory.or(all.memory),
                file_size: keys.file_size.or(all.file_size),
                open_files: Some(keys.open_files.or(all.open_files).unwrap_or(1024)),
                processes: keys.processes.or(all.processes),
                core: Some(keys.core.or(all.core).unwrap_or(0)),
            },
            kill_on_disconnect: keys.kill_on_disconnect.or(all.kill_on_disconnect).unwrap_or(true),
            isindex,
            local_redirect: keys.local_redirect.or(all.local_redirect).unwrap_or(!of.python),
            decode_slash: keys.encoded_slash.or(all.encoded_slash).unwrap_or(true),
            empty_path_info: keys.empty_path_info.or(all.empty_path_info).unwrap_or(true),
            error_status: keys.error_status.or(all.error_status).and_then(|s| u16::try_from(s).ok()),
            refuse_writable: keys.refuse_writable.or(all.refuse_writable).unwrap_or(of.strict),
            beneath: self.written.files.symlinks == Some(crate::files::Symlinks::Beneath),
            head: HeadLimits {
                octets: keys.head_size.or(all.head_size).map_or(default.head.octets, saturate),
                fields: keys.head_fields.or(all.head_fields).map_or(default.head.fields, saturate),
            },
            sendfile_root: keys
                .sendfile_root
                .clone()
                .or_else(|| all.sendfile_root.clone())
                .map(|p| of.directory.join(p)),
            python: of.python,
            server_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// The part of every script's environment that does not come from the request.
    fn environment(&mut self, of: &Section, keys: &ScriptKeys, all: &ScriptKeys) -> Vec<CString> {
        let mut variables: Vec<(String, Vec<u8>)> = Vec::new();
        let mut set = |name: String, value: Vec<u8>| {
            variables.retain(|(earlier, _)| *earlier != name);
            variables.push((name, value));
        };
        set("PATH".into(), PATH.into());
        set("X_STATE_DIRECTORY".into(), of.state.as_os_str().as_bytes().to_vec());
        let passed = keys.pass_env.clone().or_else(|| all.pass_env.clone()).unwrap_or_default();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            // Meant for the server alone (`sd_listen_fds(3)`).
            if name.starts_with("LISTEN_") {
                continue;
            }
            let known = PASSED.contains(&name) || name.starts_with("LC_") || passed.iter().any(|p| p == name);
            if (known || of.python) && !value.is_empty() {
                set(name.to_owned(), value.as_bytes().to_vec());
            }
        }
        for (name, value) in all.env.iter().flatten().chain(keys.env.iter().flatten()) {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                self.complain(&of.place, "env", format!("\"{}\" cannot be a variable", name.escape_debug()), "");
                continue;
            }
            set(name.clone(), value.clone().into_bytes());
        }
        variables
            .into_iter()
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", &value].concat()).ok())
            .collect()
    }

    /// Suffix and command, the route's before everybody's.
    fn interpreters<'k>(
        &mut self,
        of: &Section,
        pairs: impl Iterator<Item = &'k (String, String)>,
    ) -> Vec<(Vec<u8>, Vec<CString>)> {
        let mut found = Vec::new();
        for (suffix, command) in pairs {
            let mut words = command.split_whitespace();
            let program = words.next().and_then(find_program);
            let rest: Option<Vec<CString>> = words.map(|w| CString::new(w).ok()).collect();
            let (Some(program), Some(rest)) = (program, rest) else {
                let what = format!("\"{command}\" for \"{suffix}\" is not a program here");
                self.complain(&of.place, "interpreter", what, "give its absolute path, or install it");
                continue;
            };
            found.push((suffix.as_bytes().to_vec(), [vec![program], rest].concat()));
        }
        found
    }

    fn user(&mut self, of: &Section, keys: &ScriptKeys, all: &ScriptKeys) -> User {
        match keys.user.as_ref().or(all.user.as_ref()).map(String::as_str) {
            None => of.identity.clone().map_or(User::Server, User::Fixed),
            Some(_) if !of.root => {
                self.complain(&of.place, "user", "only a server started as root can change users", "leave it out");
                User::Server
            }
            Some("owner") => User::Owner,
            Some(name) => match identity::by_name(name) {
                Some(identity) => User::Fixed(identity),
                None => {
                    self.complain(&of.place, "user", format!("there is no user \"{name}\""), "");
                    User::Server
                }
            },
        }
    }

    fn sandbox(&mut self, of: &Section, path: &Path, keys: &ScriptKeys, all: &ScriptKeys) -> Sandbox {
        match keys.sandbox.as_ref().or(all.sandbox.as_ref()).map(String::as_str) {
            Some("off") => Sandbox::Off,
            None | Some("standard") => Sandbox::Standard,
            Some("strict") => {
                let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
                let string = |p: &Path| CString::new(p.as_os_str().as_bytes()).ok();
                let mut write = vec![of.state.clone()];
                write.extend(keys.writable.iter().chain(all.writable.iter()).flatten().map(|p| of.directory.join(p)));
                Sandbox::Strict {
                    read: string(folder).into_iter().collect(),
                    write: write.iter().filter_map(|p| string(p)).collect(),
                }
            }
            Some(other) => {
                let what = format!("\"{other}\" is not a word it knows");
                self.complain(&of.place, "sandbox", what, "\"off\", \"standard\" or \"strict\"");
                Sandbox::Standard
            }
        }
    }

    fn websocket(&mut self, of: &Section, keys: &ScriptKeys, all: &ScriptKeys) -> websocket::Settings {
        let default = websocket::Settings::default();
        let framing = match keys.framing.as_ref().or(all.framing.as_ref()) {
            None => default.framing,
            Some(word) => websocket::Framing::parse(word).unwrap_or_else(|| {
                let hint = "\"line\", \"binary\", \"length\" or \"json\"";
                self.complain(&of.place, "framing", format!("\"{word}\" is not a word it knows"), hint);
                default.framing
            }),
        };
        websocket::Settings {
            framing,
            protocols: keys.protocols.clone().or_else(|| all.protocols.clone()).unwrap_or_default(),
            origins: keys.origins.clone().or_else(|| all.origins.clone()).unwrap_or_default(),
            max_message: keys.max_message.or(all.max_message).map_or(default.max_message, saturate),
            ping: keys.ping.or(all.ping).unwrap_or(default.ping),
            console: keys.console.or(all.console).unwrap_or(false),
            // Only where a route says so: the defaults for answers would end every quiet conversation.
            idle: keys.idle_timeout.filter(|time| !time.is_zero()),
        }
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

fn find_program(name: &str) -> Option<CString> {
    let candidates: Vec<PathBuf> =
        if name.contains('/') { vec![name.into()] } else { PATH.split(':').map(|p| Path::new(p).join(name)).collect() };
    let found = candidates.into_iter().find(|p| p.is_file())?;
    CString::new(found.as_os_str().as_bytes()).ok()
}
