//! How scripts are run: the route's keys, then everybody's, then the defaults.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{PASSED, PATH, QUEUE, QUEUE_TIMEOUT, Resolver, Section, saturate};
use crate::config::file::ScriptKeys;
use crate::config::identity;
use crate::gateway::Settings;
use crate::gateway::settings::{HeadLimits, Isindex, User};
use crate::limits::Admission;
use crate::route::Scripts;
use crate::spawner::{Limits, Sandbox};
use crate::websocket;

/// Processes of the scripts' user at once, all together: far more than honest scripts need, and a bound for a bomb.
const PROCESSES: u64 = 4096;

impl Resolver<'_> {
    pub(super) fn scripts(&mut self, of: &Section, path: &Path, keys: &ScriptKeys) -> Arc<Scripts> {
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
                // The user that scripts get from a server started as root is theirs alone; that of another server may
                // be somebody with a desktop.
                processes: keys.processes.or(all.processes).or(of.identity.is_some().then_some(PROCESSES)),
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

fn find_program(name: &str) -> Option<CString> {
    let candidates: Vec<PathBuf> =
        if name.contains('/') { vec![name.into()] } else { PATH.split(':').map(|p| Path::new(p).join(name)).collect() };
    let found = candidates.into_iter().find(|p| p.is_file())?;
    CString::new(found.as_os_str().as_bytes()).ok()
}
