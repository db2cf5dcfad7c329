//! `cgiserve config`: every value that was decided, and where it came from.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::section::Source;
use super::{Config, Flags, Listen, Tls};
use crate::access_log::Format;
use crate::files::{Listing, Symlinks};
use crate::gateway::settings::{Isindex, Settings, User};
use crate::route::{Pattern, Route, Target};
use crate::spawner::{Sandbox, sandbox_report};
use crate::status::Access;

/// The resolved configuration as text, in the shape of `cgiserve.toml`: key, value, and behind `#` its origin.
pub fn show(flags: &Flags, config: &Config) -> String {
    let text = config.file.as_deref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let name = config.file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
    let origins = Origins::read(&name, &text);
    let mut sheet = Sheet { text: String::new(), origins: &origins };
    match &config.file {
        Some(file) => drop(writeln!(sheet.text, "# {}", file.display())),
        None => sheet.text.push_str("# no configuration file\n"),
    }
    top(&mut sheet, flags, config);
    limits(&mut sheet, config);
    for route in &config.routes {
        one_route(&mut sheet, route);
    }
    let _ = writeln!(sheet.text, "\n# {}", sandbox_report());
    for remark in &config.remarks {
        let _ = writeln!(sheet.text, "# {remark}");
    }
    sheet.text
}

/// Where each key stands in the file: `route[2].timeout` → `cgiserve.toml:17`.
struct Origins {
    places: HashMap<String, String>,
    /// The pattern of each path of each written route, and the route's name.
    routes: Vec<(Option<Pattern>, String)>,
}

impl Origins {
    fn read(name: &str, text: &str) -> Self {
        let mut origins = Self { places: HashMap::new(), routes: Vec::new() };
        if let Ok(table) = DeTable::parse(text) {
            origins.table(table.get_ref(), "", &Source { file: name.to_owned(), text });
        }
        origins
    }

    fn table(&mut self, table: &DeTable<'_>, name: &str, source: &Source<'_>) {
        for (key, value) in table {
            let key_name = key.get_ref().to_string();
            let full = if name.is_empty() { key_name.clone() } else { format!("{name}.{key_name}") };
            self.places.insert(full.clone(), source.place(key.span().start));
            match value.get_ref() {
                DeValue::Table(inner) => self.table(inner, &full, source),
                DeValue::Array(items) => {
                    for (n, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            self.table(inner, &format!("{full}[{}]", n + 1), source);
                        }
                    }
                }
                _ => {}
            }
            if key_name == "path" && name.starts_with("route[") {
                let paths = match value.get_ref() {
                    DeValue::Array(items) => items.iter().map(toml::Spanned::get_ref).collect(),
                    other => vec![other],
                };
                let patterns = paths.into_iter().filter_map(|path| path.as_str().map(Pattern::parse));
                self.routes.extend(patterns.map(|pattern| (pattern, name.to_owned())));
            }
        }
    }

    fn of(&self, names: &[String]) -> String {
        let place = names.iter().find_map(|name| self.places.get(name));
        place.cloned().unwrap_or_else(|| "default".to_owned())
    }
}

struct Sheet<'a> {
    text: String,
    origins: &'a Origins,
}

impl Sheet<'_> {
    fn line(&mut self, key: &str, value: &str, origin: &str) {
        let _ = writeln!(self.text, "{:<52} # {origin}", format!("{key} = {value}"));
    }

    /// A key that only the file can set.
    fn key(&mut self, section: &str, key: &str, value: &str) {
        let full = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let origin = self.origins.of(&[full]);
        self.line(key, value, &origin);
    }

    /// A key that a flag may override.
    fn flagged(&mut self, section: &str, key: &str, value: &str, flag: Option<&str>) {
        match flag {
            Some(flag) => self.line(key, value, flag),
            None => self.key(section, key, value),
        }
    }
}

fn top(sheet: &mut Sheet<'_>, flags: &Flags, config: &Config) {
    let said = |given: bool, flag: &'static str| given.then_some(flag);
    sheet.flagged("", "directory", &path(&config.directory), said(flags.directory.is_some(), "--directory"));
    sheet.key("", "document-root", &path(&config.document_root));
    if !config.error_pages.is_empty() {
        let pages = config.error_pages.iter().map(|(status, page)| {
            format!("{} = {}", quote(status.as_str()), quote(&String::from_utf8_lossy(page.as_bytes())))
        });
        let pages: Vec<String> = pages.collect();
        sheet.key("", "error-pages", &format!("{{ {} }}", pages.join(", ")));
    }
    let names: Vec<String> = config
        .listen
        .iter()
        .map(|listen| match listen {
            Listen::Tcp(address) => address.ip().to_string(),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        })
        .collect();
    sheet.flagged("", "bind", &list(&names), said(flags.bind.is_some(), "--bind"));
    let port = config.listen.iter().find_map(|listen| match listen {
        Listen::Tcp(address) => Some(address.port()),
        Listen::Unix(_) => None,
    });
    if let Some(port) = port {
        sheet.flagged("", "port", &port.to_string(), said(flags.port.is_some(), "command line"));
    }
    let redirect = config.redirect_port.map_or("(none)".to_owned(), |port| port.to_string());
    sheet.key("", "redirect-port", &redirect);
    sheet.key("", "socket-mode", &format!("0o{:03o}", config.socket_mode));
    sheet.key("", "server-name", &config.server_name.as_deref().map_or("(the Host field)".to_owned(), quote));
    sheet.key("", "hosts", &list(&config.hosts));
    let user = match &config.identity {
        Some(identity) => format!("{} ({})", identity.uid, identity.gid),
        None => "(whoever started it)".to_owned(),
    };
    sheet.key("", "user", &user);
    sheet.key("", "state-directory", &path(&config.state));
    sheet.flagged("", "python-compat", &config.python.to_string(), said(flags.python_compat, "--python-compat"));
    sheet.key("", "explain", if config.explain { "\"loopback\"" } else { "\"off\"" });
    let status = match &config.status {
        Access::Off => "false",
        Access::Loopback => "true",
        Access::Token(_) => "(a token)",
    };
    sheet.key("", "status", status);
    match &config.tls {
        None => sheet.line("tls", "(none)", "default"),
        Some(Tls::SelfSigned) => sheet.line("tls", "(made on the spot)", "--tls"),
        Some(Tls::Files { cert, key, password_file }) => {
            sheet.flagged("tls", "cert", &path(cert), said(flags.tls_cert.is_some(), "--tls-cert"));
            if let Some(key) = key {
                sheet.flagged("tls", "key", &path(key), said(flags.tls_key.is_some(), "--tls-key"));
            }
            if let Some(file) = password_file {
                let flag = said(flags.tls_password_file.is_some(), "--tls-password-file");
                sheet.flagged("tls", "password-file", &path(file), flag);
            }
        }
    }
    sheet.text.push_str("\n[log]\n");
    let access = match config.access {
        None => "off",
        Some(Format::Python) => "python",
        Some(Format::Common) => "common",
        Some(Format::Combined) => "combined",
        Some(Format::Json) => "json",
    };
    sheet.flagged("log", "access", &quote(access), said(flags.log.is_some(), "--log"));
    sheet.key("log", "file", &config.log_file.as_deref().map_or("(standard error)".to_owned(), path));
    sheet.key("log", "level", &quote(&config.log_level.to_string().to_lowercase()));
}

fn limits(sheet: &mut Sheet<'_>, config: &Config) {
    sheet.text.push_str("\n[limits]\n");
    let limits = &config.limits;
    sheet.key("limits", "connections", &limits.connections.to_string());
    sheet.key("limits", "connections-per-address", &limits.per_address.to_string());
    sheet.key("limits", "header-timeout", &time(Some(limits.header)));
    sheet.key("limits", "keep-alive", &time(Some(limits.keep_alive)));
    sheet.key("limits", "write-timeout", &time(Some(limits.write)));
    sheet.key("limits", "drain", &time(Some(limits.drain)));
    sheet.key("limits", "max-running", &config.admission.capacity().to_string());
    sheet.key("limits", "websockets", &config.websockets.capacity().to_string());
    sheet.key("limits", "spawners", &limits.spawners.to_string());
}

fn one_route(sheet: &mut Sheet<'_>, route: &Route) {
    let written = sheet.origins.routes.iter().find(|(pattern, _)| pattern.as_ref() == Some(&route.pattern));
    let section = written.map(|(_, name)| name.clone()).unwrap_or_default();
    let origin = sheet.origins.of(&[format!("{section}.path")]);
    if let Target::Builtin(_) | Target::Status(_) = route.target {
        let _ = writeln!(sheet.text, "\n# built in: {}", pattern(&route.pattern));
        return;
    }
    sheet.text.push_str("\n[[route]]\n");
    sheet.line("path", &quote(&pattern(&route.pattern)), &origin);
    match &route.target {
        Target::Scripts(scripts) => {
            sheet.line("scripts", &path(&scripts.path), &origin);
            settings(sheet, &section, &scripts.settings);
        }
        Target::Script(scripts) => {
            sheet.line("script", &path(&scripts.path), &origin);
            settings(sheet, &section, &scripts.settings);
        }
        Target::Files(files) => {
            let options = files.tree.options();
            sheet.line("files", &path(&options.root), &origin);
            let mut key = |key: &str, value: &str| {
                let origin = sheet.origins.of(&[format!("{section}.{key}"), key.to_owned()]);
                sheet.line(key, value, &origin);
            };
            key("index", &list(&options.index));
            key(
                "listing",
                match options.listing {
                    Listing::Off => "\"off\"",
                    Listing::Python => "\"python\"",
                    Listing::Nice => "\"nice\"",
                },
            );
            key("dotfiles", &(!options.hide_dotfiles).to_string());
            key(
                "symlinks",
                match options.symlinks {
                    Symlinks::Follow => "\"follow\"",
                    Symlinks::Beneath => "\"beneath\"",
                },
            );
            key("precompressed", &options.precompressed.to_string());
            key("compress", &options.compress.to_string());
        }
        Target::Redirect(status, to) => {
            sheet.line("redirect", &quote(&String::from_utf8_lossy(to)), &origin);
            sheet.line("status", status.as_str(), &origin);
        }
        Target::Builtin(_) | Target::Status(_) => {}
    }
    if route.auth.is_some() {
        let origin = sheet.origins.of(&[format!("{section}.auth")]);
        sheet.line("auth", "(a file of users)", &origin);
    }
}

fn settings(sheet: &mut Sheet<'_>, section: &str, of: &Settings) {
    let mut key = |key: &str, value: String| {
        let origin = sheet.origins.of(&[format!("{section}.{key}"), format!("scripts.{key}")]);
        sheet.line(key, &value, &origin);
    };
    key("first-byte-timeout", time(of.first_byte));
    key("idle-timeout", time(of.idle));
    key("timeout", time(of.total));
    key("grace", time(Some(of.grace)));
    key("max-body", of.max_body.to_string());
    for variable in &of.env {
        let (name, value) = match variable.to_str().unwrap_or_default().split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => continue,
        };
        key(&format!("env.{name}"), quote(crate::explain::secrets::masked(&name, &value)));
    }
    key("pass-authorization", of.pass_authorization.to_string());
    for (name, commands) in [("interpreter", &of.interpreters), ("fallback-interpreter", &of.fallback_interpreters)] {
        for (suffix, command) in commands {
            let words: Vec<_> = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            key(&format!("{name}.{}", quote(&String::from_utf8_lossy(suffix))), quote(&words.join(" ")));
        }
    }
    key(
        "user",
        match &of.user {
            User::Server => "(the server's)".to_owned(),
            User::Fixed(identity) => format!("{} ({})", identity.uid, identity.gid),
            User::Owner => "\"owner\"".to_owned(),
        },
    );
    key(
        "sandbox",
        match &of.sandbox {
            Sandbox::Off => "\"off\"".to_owned(),
            Sandbox::Standard => "\"standard\"".to_owned(),
            Sandbox::Strict { .. } => "\"strict\"".to_owned(),
        },
    );
    key("no-new-privs", of.no_new_privs.to_string());
    key("kill-on-disconnect", of.kill_on_disconnect.to_string());
    key("isindex", (of.isindex != Isindex::Off).to_string());
    key("local-redirect", of.local_redirect.to_string());
    key("encoded-slash", quote(if of.decode_slash { "decode" } else { "reject" }));
    key("refuse-writable", of.refuse_writable.to_string());
    key("umask", format!("0o{:03o}", of.umask));
    key("cpu", of.limits.cpu.map_or("(no limit)".to_owned(), |s| format!("\"{s}s\"")));
    key("memory", number(of.limits.address_space));
    key("file-size", number(of.limits.file_size));
    key("open-files", number(of.limits.open_files));
    key("processes", number(of.limits.processes));
    key("core", number(of.limits.core));
    key("head-size", of.head.octets.to_string());
    key("head-fields", of.head.fields.to_string());
}

fn pattern(pattern: &Pattern) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match pattern {
        Pattern::Prefix(path) | Pattern::Exact(path) => text(path),
        Pattern::Suffix(base, suffix) if base == b"/" => format!("*{}", text(suffix)),
        Pattern::Suffix(base, suffix) => format!("{}*{}", text(base), text(suffix)),
    }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(", "))
}

fn time(time: Option<Duration>) -> String {
    time.map_or("0 (no limit)".to_owned(), |time| format!("\"{}ms\"", time.as_millis()).replace("000ms", "s"))
}

fn number(number: Option<u64>) -> String {
    number.map_or("(no limit)".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    #[test]
    fn every_value_says_where_it_came_from() {
        let folder = std::env::temp_dir().join(format!("cgiserve-shown-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("cgi-bin")).unwrap();
        let text = "hosts = [\"a.example\"]\n[scripts]\ntimeout = 7\n[limits]\ndrain = 3\n\n[[route]]\npath = \"/x/\"\n\
                    scripts = \"cgi-bin\"\nidle-timeout = \"9s\"\nenv = { DB_PASSWORD = \"sesame\" }\n";
        std::fs::write(folder.join("cgiserve.toml"), text).unwrap();
        let flags = Flags { directory: Some(folder.clone()), port: Some(99), ..Flags::default() };
        let shown = show(&flags, &resolve(&flags).unwrap());
        let file = folder.join("cgiserve.toml");
        for (line, origin) in [
            ("hosts = [\"a.example\"]", format!("{}:1", file.display())),
            ("timeout = \"7s\"", format!("{}:3", file.display())),
            ("drain = \"3s\"", format!("{}:5", file.display())),
            ("idle-timeout = \"9s\"", format!("{}:10", file.display())),
            ("idle-timeout = \"120s\"", "default".to_owned()),
            ("port = 99", "command line".to_owned()),
            ("keep-alive = \"15s\"", "default".to_owned()),
        ] {
            let found = shown.lines().any(|l| l.starts_with(line) && l.ends_with(&format!("# {origin}")));
            assert!(found, "{line} # {origin} is not in:\n{shown}");
        }
        assert!(shown.contains("# sandbox: ") && !shown.contains("sesame"), "{shown}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
