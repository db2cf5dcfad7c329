//! How the scripts of one route are run: what the operator decided, resolved.

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use crate::spawner::{Identity, Limits, Sandbox};

/// Everything about a script that does not come from the request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From the start of the script to the end of its header block; 504 after. `None`: for ever.
    pub first_byte: Option<Duration>,
    /// Between two pieces of output; the answer is broken off after.
    pub idle: Option<Duration>,
    /// For the whole life of the script's process, answer or no answer.
    pub total: Option<Duration>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Largest request body, octets; 413 above.
    pub max_body: u64,
    /// Variables that do not depend on the request: the allow-list from the server's own environment, PATH, and
    /// what the route sets. `NAME=VALUE`, sorted out already.
    pub env: Vec<CString>,
    /// Whether the script sees `Authorization` (RFC 3875 §4.1.18 warns, bearer tokens need it).
    pub pass_authorization: bool,
    /// Suffix of the file name and the command that runs it (`.py` → `python3`): the file needs no x bit then.
    pub interpreters: Vec<(Vec<u8>, Vec<CString>)>,
    /// The same for files that cannot run by themselves: they lack the x bit, or their `#!` names no program here (a
    /// Windows path, say).
    pub fallback_interpreters: Vec<(Vec<u8>, Vec<CString>)>,
    /// As whom the script runs.
    pub user: User,
    /// Around the script.
    pub sandbox: Sandbox,
    /// Whether setuid programs lose their power below the script (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// `RLIMIT_*`.
    pub limits: Limits,
    /// Whether a script ends when its client leaves.
    pub kill_on_disconnect: bool,
    /// Whether words of the query become arguments (RFC 3875 §4.4); off, as CVE-2012-1823 teaches.
    pub isindex: Isindex,
    /// Whether `Location: /path` is answered by this server itself (RFC 3875 §6.2.2).
    pub local_redirect: bool,
    /// Whether `%2F` in PATH_INFO is decoded; otherwise such a request is a 404.
    pub decode_slash: bool,
    /// Whether PATH_INFO is there, and empty, where no path is left for it. The RFC lets the two mean the same (§4.1.5);
    /// Python's server set it, Apache does not, and there are programs that know only one of them.
    pub empty_path_info: bool,
    /// The status for whatever is a script's own fault, in place of 403, 500, 502 and 504: Apache says 500.
    pub error_status: Option<u16>,
    /// Whether a script that everybody may write is refused.
    pub refuse_writable: bool,
    /// Whether a link may not lead out of the script folder.
    pub beneath: bool,
    /// Bounds of the script's header block.
    pub head: HeadLimits,
    /// Below which folder `X-Sendfile` may name files; `None`: the field means nothing.
    pub sendfile_root: Option<PathBuf>,
    /// The habits of Python's server in place of the RFC's rules.
    pub python: bool,
    /// Where the server itself works; the scripts' folder in Python's habits.
    pub server_directory: PathBuf,
}

/// As whom a script runs.
#[derive(Clone, Debug)]
pub enum User {
    /// As the server: it was not started as root.
    Server,
    /// As this user.
    Fixed(Identity),
    /// As the owner of the script's file, who must not be root.
    Owner,
}

/// Where a script's arguments come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isindex {
    /// There are none.
    #[default]
    Off,
    /// As RFC 3875 §4.4 says, and none that begins with `-`.
    Words,
    /// As Python's server did: the whole query, `+` turned to blank, where it holds no `=`.
    Python,
}

/// Bounds of a script's header block.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Octets in all.
    pub octets: usize,
    /// Fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        // lighttpd allows 64 KiB; Go's 1 KiB a line breaks large cookies and policies.
        Self { octets: 64 << 10, fields: 1000 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            first_byte: Some(Duration::from_secs(60)),
            idle: Some(Duration::from_secs(120)),
            total: Some(Duration::from_secs(300)),
            grace: Duration::from_secs(2),
            max_body: 1 << 30,
            env: Vec::new(),
            pass_authorization: false,
            interpreters: Vec::new(),
            fallback_interpreters: Vec::new(),
            user: User::Server,
            sandbox: Sandbox::Standard,
            no_new_privs: true,
            umask: 0o022,
            limits: Limits::default(),
            kill_on_disconnect: true,
            isindex: Isindex::Off,
            local_redirect: true,
            decode_slash: true,
            empty_path_info: true,
            error_status: None,
            refuse_writable: true,
            beneath: false,
            head: HeadLimits::default(),
            sendfile_root: None,
            python: false,
            server_directory: PathBuf::from("/"),
        }
    }
}
