//! websocketd's command line (https://github.com/joewalnes/websocketd), written as a configuration of ours.
//!
//! What differs on purpose: pages of other origins are let in only where the server listens at loopback addresses
//! alone, or `--sameorigin=false` or `--origin` says so; no room is 503, not 429; the command runs in our sandbox and
//! never as root.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::access_log::Format;
use crate::config::Flags;

/// What `cgiserve ws --help` says.
pub const HELP: &str = "\
Make a command that reads and writes lines a WebSocket server, by websocketd's command line

Usage: cgiserve ws [OPTIONS] COMMAND [ARGS]...
       cgiserve ws [OPTIONS] --dir=DIR

Each connection has a process of its own. A message is a line on its standard input, a line on its standard output is a
message. Options may be written with one dash or two, values behind = or a blank.

  --port=PORT             Port to listen at [default: 80, with --ssl 443]
  --address=ADDRESS       Address to listen at; may be repeated [default: all]
  --unixsocket=PATH       Socket in the file system to listen at
  --dir=DIR               Run the scripts of a folder, by URL path, in place of COMMAND
  --binary                Octets as they come in place of lines
  --sameorigin            Pages of this host only [default: unless every address is a loopback address]
  --origin=HOST[:PORT],…  Pages of these hosts; https://HOST for that scheme only
  --staticdir=DIR         Files for requests that are no WebSockets
  --cgidir=DIR            CGI scripts for requests that are no WebSockets
  --devconsole            A console for browsers
  --maxforks=N            Processes at once [default: 0, unlimited]
  --passenv=NAME,…        Variables of this environment that scripts see [default: PATH,LD_LIBRARY_PATH]
  --header='NAME: VALUE'  Field of every answer; --header-ws, --header-http: of some
  --closems=MS            Time a process has to end by itself, beside 100 ms
  --pingms=MS             Between two pings; 0 for none [default: 30000]
  --maxframesize=N        Largest message of a client, octets [default: 16 MiB]
  --ssl --sslcert=FILE --sslkey=FILE
  --redirport=PORT        Port beside --port, without TLS, from which everybody is sent there
  --loglevel=LEVEL        debug, trace, access, info, error or fatal [default: access]
  --reverselookup         Taken and not heeded: REMOTE_HOST is the address

The license is MIT or Apache-2.0, at your option.
";

/// Flags that are switches; the others have a value.
const SWITCHES: [&str; 9] =
    ["binary", "passstderr", "sameorigin", "devconsole", "ssl", "reverselookup", "help", "version", "license"];
const VALUES: [&str; 20] = [
    "port",
    "address",
    "unixsocket",
    "dir",
    "origin",
    "staticdir",
    "cgidir",
    "maxforks",
    "passenv",
    "header",
    "header-ws",
    "header-http",
    "closems",
    "pingms",
    "maxframesize",
    "sslcert",
    "sslkey",
    "sslca",
    "loglevel",
    "redirport",
];
/// Where nobody sets a number of processes.
const UNLIMITED: u64 = u32::MAX as u64;
/// How long websocketd waits before its first signal, ms.
const PATIENCE: u64 = 100;

/// What a command line means: a configuration, and the flags beside it.
#[derive(Debug)]
pub struct Meaning {
    /// As it would stand in `cgiserve.toml`.
    pub text: String,
    /// What no key of the file says.
    pub flags: Flags,
}

/// Why a command line means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Help is wanted.
    Help,
    /// Something is wrong.
    Wrong(String),
}

/// Reads websocketd's arguments.
///
/// # Errors
/// The first thing that is wrong, as websocketd does.
pub fn read(arguments: &[String]) -> Result<Meaning, Refusal> {
    let (given, command) = Given::parse(arguments)?;
    if given.switch("help")? || given.switch("version")? || given.switch("license")? {
        return Err(Refusal::Help);
    }
    given.meaning(command)
}

/// The flags, each with its values in order.
struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    /// Go's rules: `-name`, `--name`, `-name=value`, `-name value`; the first word without a dash, or `--`, ends them.
    fn parse(arguments: &[String]) -> Result<(Self, &[String]), Refusal> {
        let mut given = BTreeMap::<_, Vec<_>>::new();
        let mut rest = arguments;
        while let Some((word, after)) = rest.split_first() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|_| word != "-") else {
                break;
            };
            rest = after;
            if word == "--" {
                break;
            }
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let known = |all: &[&'static str]| all.iter().copied().find(|known| *known == name);
            let name = if name == "h" { "help" } else { name };
            let (name, value) = if let Some(name) = known(&SWITCHES).or((name == "help").then_some("help")) {
                (name, value.unwrap_or("true").to_owned())
            } else if let Some(name) = known(&VALUES) {
                match (value, rest.split_first()) {
                    (Some(value), _) => (name, value.to_owned()),
                    (None, Some((value, after))) => {
                        rest = after;
                        (name, value.clone())
                    }
                    (None, None) => return Err(Refusal::Wrong(format!("flag needs an argument: -{name}"))),
                }
            } else {
                return Err(Refusal::Wrong(format!("flag provided but not defined: -{name}")));
            };
            given.entry(name).or_default().push(value);
        }
        Ok((Self(given), rest))
    }

    /// The last value of a flag.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(String::as_str).filter(|value| !value.is_empty())
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn switch(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Refusal::Wrong(format!("invalid boolean value {other:?} for -{name}"))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // A negative number means what 0 does.
        let number = text.parse::<i64>().map(|n| u64::try_from(n).unwrap_or(0));
        number.map(Some).map_err(|_| Refusal::Wrong(format!("invalid value {text:?} for flag -{name}")))
    }

    fn folder(&self, name: &str) -> Result<Option<PathBuf>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match Path::new(text).canonicalize() {
            Ok(path) if path.is_dir() => Ok(Some(path)),
            _ => Err(Refusal::Wrong(format!("--{name}: '{text}' is not an accessible directory"))),
        }
    }

    fn meaning(&self, command: &[String]) -> Result<Meaning, Refusal> {
        let wrong = |text: &str| Err(Refusal::Wrong(text.to_owned()));
        let (dir, statics, cgi) = (self.folder("dir")?, self.folder("staticdir")?, self.folder("cgidir")?);
        let console = self.switch("devconsole")?;
        let tls = self.switch("ssl")?;
        let (cert, key) = (self.get("sslcert").map(PathBuf::from), self.get("sslkey").map(PathBuf::from));
        match (command, &dir) {
            ([], None) if statics.is_none() && cgi.is_none() => {
                return wrong("Please specify COMMAND or provide --dir, --staticdir or --cgidir argument.");
            }
            ([_, ..], Some(_)) => return wrong("COMMAND or --dir, not both"),
            _ => {}
        }
        if console && (statics.is_some() || cgi.is_some()) {
            return wrong("--devconsole cannot be used with --staticdir or --cgidir");
        }
        if tls != (cert.is_some() && key.is_some()) || cert.is_some() != key.is_some() {
            return wrong("--ssl, --sslcert and --sslkey go together");
        }
        if self.switch("passstderr")? {
            return wrong(if self.switch("binary")? {
                "--passstderr cannot be used with --binary: octets have no envelope"
            } else {
                "--passstderr is not supported: standard error is in the log, and in the console on this machine"
            });
        }
        // Without it anybody could come in: never passed over.
        if self.get("sslca").is_some() {
            return wrong("--sslca is not supported: clients' certificates are not checked here");
        }
        // No link leads out of its folders (since its 0.5).
        let mut text = String::from("default-routes = false\nstatus = false\nsymlinks = \"beneath\"\n");
        let addresses = self.addresses();
        line(&mut text, "bind", array(&addresses));
        line(&mut text, "port", self.number("port")?.unwrap_or(if tls { 443 } else { 80 }));
        if let Some(port) = self.number("redirport")?.filter(|&port| port > 0) {
            line(&mut text, "redirect-port", port);
        }
        let forks = self.number("maxforks")?.filter(|&n| n > 0).unwrap_or(UNLIMITED);
        let _ = writeln!(text, "[limits]\nmax-running = {forks}\nwebsockets = {forks}\nqueue = 0");
        let (level, access) = self.log()?;
        let _ = writeln!(text, "[log]\nlevel = {}", string(level));
        let passed: Vec<String> = self
            .get("passenv")
            .unwrap_or("PATH,LD_LIBRARY_PATH")
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect();
        let _ = writeln!(text, "[scripts]\npass-env = {}\nmax-running = {forks}", array(&passed));
        if let Some(close) = self.number("closems")? {
            let _ = writeln!(text, "grace = \"{}ms\"", close.saturating_add(PATIENCE));
        }
        if let Some(ping) = self.number("pingms")? {
            let _ = writeln!(text, "ping = \"{ping}ms\"");
        }
        if let Some(most) = self.number("maxframesize")? {
            line(&mut text, "max-message", if most == 0 { UNLIMITED } else { most });
        }
        line(&mut text, "framing", string(if self.switch("binary")? { "binary" } else { "line" }));
        line(&mut text, "origins", array(&self.origins(&addresses)?));
        if let Some(folder) = &dir {
            text += &self.websockets("scripts", folder, "", console);
        }
        if let Some((name, arguments)) = command.split_first() {
            let program = find(name)
                .ok_or_else(|| Refusal::Wrong(format!("Unable to locate specified COMMAND '{name}' in OS path.")))?;
            let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            let (arguments, folder) = (array(arguments), string(&here));
            let more = format!("arguments = {arguments}\nscript-name = \"/\"\nfolder = {folder}");
            text += &self.websockets("script", &program, &more, console);
        }
        for (kind, folder) in [("scripts", &cgi), ("files", &statics)] {
            if let Some(folder) = folder {
                let _ = writeln!(text, "[[route]]\npath = \"/\"\n{kind} = {}", string(folder));
                headers(&mut text, self.all("header-http"));
                if kind == "files" {
                    line(&mut text, "listing", string("python"));
                }
            }
        }
        let flags = Flags {
            headers: self.all("header").iter().map(|field| split_field(field)).collect(),
            log: Some(access.then_some(Format::Python)),
            tls_cert: cert,
            tls_key: key,
            ..Flags::default()
        };
        Ok(Meaning { text, flags })
    }

    /// Routes for whoever asks for a WebSocket, and for browsers that come for the console.
    fn websockets(&self, kind: &str, path: &Path, more: &str, console: bool) -> String {
        let mut text = String::new();
        let asked = [(true, "header-ws"), (false, "header-http")];
        for (upgrade, fields) in &asked[..1 + usize::from(console)] {
            let path = string(path);
            let _ = writeln!(text, "[[route]]\npath = \"/\"\n{kind} = {path}\nspeaks = \"websocket\"");
            let _ = writeln!(text, "for-upgrades = {upgrade}\nconsole = {}\n{more}", !upgrade);
            headers(&mut text, self.all(fields));
        }
        text
    }

    fn addresses(&self) -> Vec<String> {
        let socket = self.get("unixsocket").map(|path| format!("unix:{path}"));
        let mut all = self.all("address").to_vec();
        // A socket alone is all that is listened at.
        if all.is_empty() && (socket.is_none() || self.get("port").or(self.get("redirport")).is_some()) {
            all.push(String::new());
        }
        all.extend(socket);
        all
    }

    /// Whoever can reach a loopback address only is on this machine, but its browser may be on any page.
    fn origins(&self, addresses: &[String]) -> Result<Vec<String>, Refusal> {
        if let Some(list) = self.get("origin") {
            return Ok(list.split(',').map(|entry| entry.trim().to_owned()).collect());
        }
        let local = addresses.iter().all(|address| {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        });
        let open = match self.get("sameorigin") {
            Some(_) => !self.switch("sameorigin")?,
            None => local,
        };
        Ok(if open { vec!["*".to_owned()] } else { Vec::new() })
    }

    fn log(&self) -> Result<(&'static str, bool), Refusal> {
        Ok(match self.get("loglevel").unwrap_or("access") {
            "debug" | "trace" => ("debug", true),
            "access" => ("info", true),
            "info" => ("info", false),
            "error" | "fatal" => ("error", false),
            other => return Err(Refusal::Wrong(format!("Incorrect loglevel flag '{other}'."))),
        })
    }
}

/// The program called `name`, as a shell would find it.
fn find(name: &str) -> Option<PathBuf> {
    let runs = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return std::path::absolute(name).ok().filter(|path| runs(path));
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| runs(path))
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to memory cannot fail.
    let _ = writeln!(text, "{key} = {value}");
}

fn headers(text: &mut String, fields: &[String]) {
    if !fields.is_empty() {
        let pairs: Vec<String> = fields
            .iter()
            .map(|field| split_field(field))
            .map(|(name, value)| format!("{} = {}", string(&name), string(&value)))
            .collect();
        line(text, "headers", format_args!("{{ {} }}", pairs.join(", ")));
    }
}

fn split_field(field: &str) -> (String, String) {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    (name.trim().to_owned(), value.trim().to_owned())
}

/// `text` as TOML has it.
fn string(text: impl AsRef<OsStr>) -> String {
    toml::Value::String(text.as_ref().to_string_lossy().into_owned()).to_string()
}

fn array(words: &[String]) -> String {
    format!("[{}]", words.iter().map(string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<String, Refusal> {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).map(|meaning| meaning.text)
    }

    #[test]
    fn flags_as_go_reads_them() {
        for line in ["--port=8080 cat", "-port=8080 cat", "--port 8080 cat", "-port 8080 -- cat"] {
            let text = said(line).unwrap();
            assert!(text.contains("port = 8080\n") && text.contains("/cat\"\n"), "{line}: {text}");
        }
        let text = said("-binary --address 127.0.0.1 sh -c --port=9").unwrap();
        assert!(text.contains("framing = \"binary\"") && text.contains("arguments = [\"-c\", \"--port=9\"]"), "{text}");
        assert!(text.contains("port = 80\n"), "{text}");
        for (line, why) in [
            ("--nope cat", "flag provided but not defined: -nope"),
            ("--port", "flag needs an argument: -port"),
            ("--port=x cat", "invalid value \"x\" for flag -port"),
            ("--binary=maybe cat", "invalid boolean value \"maybe\" for -binary"),
            ("--port=1", "Please specify COMMAND or provide --dir, --staticdir or --cgidir argument."),
            ("--dir=/ cat", "COMMAND or --dir, not both"),
            ("--dir=/nowhere", "--dir: '/nowhere' is not an accessible directory"),
            ("--passstderr --binary cat", "--passstderr cannot be used with --binary: octets have no envelope"),
            ("--sslca=/x cat", "--sslca is not supported: clients' certificates are not checked here"),
            ("no-such-program", "Unable to locate specified COMMAND 'no-such-program' in OS path."),
        ] {
            assert_eq!(said(line), Err(Refusal::Wrong(why.to_owned())), "{line}");
        }
        assert_eq!(said("--help"), Err(Refusal::Help));
    }

    #[test]
    fn other_origins_need_a_word_unless_nobody_else_can_come() {
        for (line, origins) in [
            ("cat", "[]"),
            ("--address=127.0.0.1 cat", "[\"*\"]"),
            ("--address=[::1] --address=localhost cat", "[\"*\"]"),
            ("--address=127.0.0.1 --address=10.0.0.1 cat", "[]"),
            ("--address=127.0.0.1 --sameorigin cat", "[]"),
            ("--sameorigin=false cat", "[\"*\"]"),
            ("--origin=a:9,https://b cat", "[\"a:9\", \"https://b\"]"),
        ] {
            let text = said(line).unwrap();
            assert!(text.contains(&format!("origins = {origins}\n")), "{line}: {text}");
        }
    }

    #[test]
    fn what_is_meant_can_be_resolved() {
        let line = "--address=127.0.0.1 --port=0 --header=X-A:b --header-ws=X-W:\"q\" --header-http=X-H:1 --pingms=5 \
                    --closems=7 --maxframesize=9 --redirport=81 --maxforks=3 --staticdir=/usr/share --cgidir=/usr/bin cat -u";
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Meaning { text, flags } = read(&words).unwrap();
        let config = crate::config::resolve_text(&flags, "command line", &text).unwrap();
        assert_eq!(config.routes.len(), 3);
        assert_eq!(config.headers.len(), 1);
        assert_eq!(config.redirect_port, Some(81));
    }
}
