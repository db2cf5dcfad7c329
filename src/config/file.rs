//! `cgiserve.toml` as written: every key optional, nothing resolved yet.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

use super::problem::{ConfigError, Problem};
use super::section::{Section, Source};
use crate::access_log::Format;
use crate::files::{Listing, Symlinks};
use crate::websocket::Speaks;

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) directory: Option<PathBuf>,
    pub(super) bind: Option<Vec<String>>,
    pub(super) port: Option<u64>,
    pub(super) redirect_port: Option<u64>,
    pub(super) socket_mode: Option<u64>,
    pub(super) server_name: Option<String>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) state_directory: Option<PathBuf>,
    pub(super) python_compat: Option<bool>,
    pub(super) explain: Option<bool>,
    pub(super) status: Option<String>,
    pub(super) default_routes: Option<bool>,
    pub(super) document_root: Option<PathBuf>,
    pub(super) error_pages: Option<Vec<(String, String)>>,
    pub(super) files: FileKeys,
    pub(super) scripts: ScriptKeys,
    pub(super) tls: TlsKeys,
    pub(super) log: LogKeys,
    pub(super) limits: LimitKeys,
    pub(super) routes: Vec<RouteKeys>,
}

/// How files are served; at the top of the file for all, in a route for one.
#[derive(Debug, Default, Clone)]
pub(super) struct FileKeys {
    pub(super) index: Option<Vec<String>>,
    pub(super) listing: Option<Listing>,
    pub(super) dotfiles: Option<bool>,
    pub(super) symlinks: Option<Symlinks>,
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) nosniff: Option<bool>,
    pub(super) precompressed: Option<bool>,
    pub(super) compress: Option<bool>,
    pub(super) fallback: Option<String>,
    pub(super) headers: Option<Vec<(String, String)>>,
}

/// How scripts are run; at the top of the file for all, in a route for one.
#[derive(Debug, Default, Clone)]
pub(super) struct ScriptKeys {
    pub(super) first_byte_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) grace: Option<Duration>,
    pub(super) max_body: Option<u64>,
    pub(super) max_running: Option<u64>,
    pub(super) queue: Option<u64>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) env: Option<Vec<(String, String)>>,
    pub(super) pass_env: Option<Vec<String>>,
    pub(super) pass_authorization: Option<bool>,
    pub(super) interpreter: Option<Vec<(String, String)>>,
    pub(super) fallback_interpreter: Option<Vec<(String, String)>>,
    pub(super) user: Option<String>,
    pub(super) sandbox: Option<String>,
    pub(super) writable: Option<Vec<PathBuf>>,
    pub(super) no_new_privs: Option<bool>,
    pub(super) kill_on_disconnect: Option<bool>,
    pub(super) isindex: Option<bool>,
    pub(super) local_redirect: Option<bool>,
    pub(super) encoded_slash: Option<bool>,
    pub(super) refuse_writable: Option<bool>,
    pub(super) empty_path_info: Option<bool>,
    pub(super) error_status: Option<u64>,
    pub(super) sendfile_root: Option<PathBuf>,
    pub(super) umask: Option<u64>,
    pub(super) cpu: Option<Duration>,
    pub(super) memory: Option<u64>,
    pub(super) file_size: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) core: Option<u64>,
    pub(super) head_size: Option<u64>,
    pub(super) head_fields: Option<u64>,
    pub(super) protocols: Option<Vec<String>>,
    pub(super) origins: Option<Vec<String>>,
    pub(super) framing: Option<String>,
    pub(super) max_message: Option<u64>,
    pub(super) ping: Option<Duration>,
    pub(super) speaks: Option<Speaks>,
    pub(super) arguments: Option<Vec<String>>,
    pub(super) console: Option<bool>,
    pub(super) script_name: Option<String>,
    pub(super) folder: Option<PathBuf>,
}

#[derive(Debug, Default)]
pub(super) struct TlsKeys {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Debug, Default)]
pub(super) struct LogKeys {
    pub(super) access: Option<Option<Format>>,
    pub(super) file: Option<PathBuf>,
    pub(super) level: Option<tracing::Level>,
}

#[derive(Debug, Default)]
pub(super) struct LimitKeys {
    pub(super) connections: Option<u64>,
    pub(super) connections_per_address: Option<u64>,
    pub(super) header_timeout: Option<Duration>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    pub(super) drain: Option<Duration>,
    pub(super) max_running: Option<u64>,
    pub(super) queue: Option<u64>,
    pub(super) websockets: Option<u64>,
    pub(super) spawners: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct RouteKeys {
    pub(super) place: String,
    pub(super) path: Option<Vec<String>>,
    pub(super) scripts: Option<PathBuf>,
    pub(super) script: Option<PathBuf>,
    pub(super) files: Option<PathBuf>,
    pub(super) redirect: Option<String>,
    pub(super) status: Option<u64>,
    pub(super) for_upgrades: Option<bool>,
    pub(super) auth: Option<AuthKeys>,
    pub(super) file_keys: FileKeys,
    pub(super) script_keys: ScriptKeys,
}

#[derive(Debug, Default, Clone)]
pub(super) struct AuthKeys {
    pub(super) realm: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) users: Option<Vec<String>>,
}

/// Reads the text of a configuration file; `name` stands in front of each problem.
pub(super) fn read(name: &str, text: &str) -> Result<File, ConfigError> {
    let source = Source { file: name.to_owned(), text };
    let table = DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or_else(|| name.to_owned(), |span| source.place(span.start));
        let what = error.message().to_owned();
        ConfigError(vec![Problem { place, key: "TOML".into(), what, hint: "see https://toml.io".into() }])
    })?;
    let mut problems = Vec::new();
    let mut top = Section::new(table.into_inner(), "", &source, &mut problems);
    let file = whole(&mut top);
    top.finish();
    if problems.is_empty() { Ok(file) } else { Err(ConfigError(problems)) }
}

fn whole(top: &mut Section<'_, '_>) -> File {
    File {
        directory: top.path("directory"),
        bind: top.strings("bind"),
        port: top.integer("port"),
        redirect_port: top.integer("redirect-port"),
        socket_mode: top.integer("socket-mode"),
        server_name: top.string("server-name"),
        hosts: top.strings("hosts"),
        user: top.string("user"),
        state_directory: top.path("state-directory"),
        python_compat: top.boolean("python-compat"),
        status: top.switch_or_string("status"),
        explain: top.word("explain", &[("off", false), ("loopback", true)]),
        default_routes: top.boolean("default-routes"),
        document_root: top.path("document-root"),
        error_pages: top.pairs("error-pages"),
        files: file_keys(top),
        scripts: top.table("scripts", script_keys).unwrap_or_default(),
        tls: top
            .table("tls", |tls| TlsKeys {
                cert: tls.path("cert"),
                key: tls.path("key"),
                password_file: tls.path("password-file"),
            })
            .unwrap_or_default(),
        log: top
            .table("log", |log| LogKeys {
                access: log.word(
                    "access",
                    &[
                        ("off", None),
                        ("python", Some(Format::Python)),
                        ("common", Some(Format::Common)),
                        ("combined", Some(Format::Combined)),
                        ("json", Some(Format::Json)),
                    ],
                ),
                file: log.path("file"),
                level: log.word(
                    "level",
                    &[
                        ("error", tracing::Level::ERROR),
                        ("warn", tracing::Level::WARN),
                        ("info", tracing::Level::INFO),
                        ("debug", tracing::Level::DEBUG),
                    ],
                ),
            })
            .unwrap_or_default(),
        limits: top
            .table("limits", |limits| LimitKeys {
                connections: limits.integer("connections"),
                connections_per_address: limits.integer("connections-per-address"),
                header_timeout: limits.duration("header-timeout"),
                keep_alive: limits.duration("keep-alive"),
                write_timeout: limits.duration("write-timeout"),
                drain: limits.duration("drain"),
                max_running: limits.integer("max-running"),
                queue: limits.integer("queue"),
                websockets: limits.integer("websockets"),
                spawners: limits.integer("spawners"),
            })
            .unwrap_or_default(),
        routes: top.tables("route", route),
    }
}

fn route(keys: &mut Section<'_, '_>, place: String) -> RouteKeys {
    RouteKeys {
        place,
        path: keys.strings("path"),
        scripts: keys.path("scripts"),
        script: keys.path("script"),
        files: keys.path("files"),
        redirect: keys.string("redirect"),
        status: keys.integer("status"),
        for_upgrades: keys.boolean("for-upgrades"),
        auth: keys.table("auth", |auth| AuthKeys {
            realm: auth.string("realm"),
            file: auth.path("file"),
            users: auth.strings("users"),
        }),
        file_keys: file_keys(keys),
        script_keys: script_keys(keys),
    }
}

fn file_keys(keys: &mut Section<'_, '_>) -> FileKeys {
    FileKeys {
        index: keys.strings("index"),
        listing: keys.word("listing", &[("off", Listing::Off), ("python", Listing::Python), ("nice", Listing::Nice)]),
        dotfiles: keys.boolean("dotfiles"),
        symlinks: keys.word("symlinks", &[("follow", Symlinks::Follow), ("beneath", Symlinks::Beneath)]),
        content_type: keys.string("content-type"),
        cache_control: keys.string("cache-control"),
        nosniff: keys.boolean("nosniff"),
        precompressed: keys.boolean("precompressed"),
        compress: keys.boolean("compress"),
        fallback: keys.string("fallback"),
        headers: keys.pairs("headers"),
    }
}

fn script_keys(keys: &mut Section<'_, '_>) -> ScriptKeys {
    ScriptKeys {
        first_byte_timeout: keys.duration("first-byte-timeout"),
        idle_timeout: keys.duration("idle-timeout"),
        timeout: keys.duration("timeout"),
        grace: keys.duration("grace"),
        max_body: keys.size("max-body"),
        max_running: keys.integer("max-running"),
        queue: keys.integer("queue"),
        queue_timeout: keys.duration("queue-timeout"),
        env: keys.pairs("env"),
        pass_env: keys.strings("pass-env"),
        pass_authorization: keys.boolean("pass-authorization"),
        interpreter: keys.pairs("interpreter"),
        fallback_interpreter: keys.pairs("fallback-interpreter"),
        user: keys.string("user"),
        sandbox: keys.string("sandbox"),
        writable: keys.strings("writable").map(|all| all.into_iter().map(PathBuf::from).collect()),
        no_new_privs: keys.boolean("no-new-privs"),
        kill_on_disconnect: keys.boolean("kill-on-disconnect"),
        isindex: keys.boolean("isindex"),
        local_redirect: keys.boolean("local-redirect"),
        encoded_slash: keys.word("encoded-slash", &[("decode", true), ("reject", false)]),
        refuse_writable: keys.boolean("refuse-writable"),
        empty_path_info: keys.word("empty-path-info", &[("set", true), ("unset", false)]),
        error_status: keys.integer("error-status"),
        sendfile_root: keys.path("sendfile-root"),
        umask: keys.integer("umask"),
        cpu: keys.duration("cpu"),
        memory: keys.size("memory"),
        file_size: keys.size("file-size"),
        open_files: keys.integer("open-files"),
        processes: keys.integer("processes"),
        core: keys.size("core"),
        head_size: keys.size("head-size"),
        head_fields: keys.integer("head-fields"),
        protocols: keys.strings("protocols"),
        origins: keys.strings("origins"),
        framing: keys.string("framing"),
        max_message: keys.size("max-message"),
        ping: keys.duration("ping"),
        speaks: keys.word("speaks", &[("cgi", Speaks::Cgi), ("websocket", Speaks::WebSocket), ("hub", Speaks::Hub)]),
        arguments: keys.strings("arguments"),
        console: keys.boolean("console"),
        script_name: keys.string("script-name"),
        folder: keys.path("folder"),
    }
}
