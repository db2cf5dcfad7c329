//! What a script was told: its environment, octet by octet.

use std::collections::BTreeMap;

use crate::raw::Response;
use crate::server::Server;

/// A program that answers with the environment it was started with, variables ended by NUL. A shell adds variables of
/// its own to what it hands on, so what the kernel keeps of the start is shown.
pub const ENVIRONMENT: &str = "#!/bin/sh
printf 'Content-Type: application/octet-stream\\n\\n'
cat /proc/$$/environ
";

/// A program that answers with its command line, arguments ended by NUL. The first is the shell, the second the script.
pub const COMMAND_LINE: &str = "#!/bin/sh
printf 'Content-Type: application/octet-stream\\n\\n'
cat /proc/$$/cmdline
";

/// Variables by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vars(BTreeMap<String, Vec<u8>>);

impl Vars {
    /// Those that [`ENVIRONMENT`] answered with.
    #[track_caller]
    pub fn of(response: Response) -> Self {
        let response = response.expect(200);
        let mut all = BTreeMap::new();
        for variable in response.body.split(|&b| b == 0).filter(|v| !v.is_empty()) {
            let at = variable.iter().position(|&b| b == b'=').expect("NAME=VALUE");
            let name = String::from_utf8(variable[..at].to_vec()).expect("a name is ASCII");
            let twin = all.insert(name.clone(), variable[at + 1..].to_vec());
            assert_eq!(twin, None, "{name} stands twice");
        }
        Self(all)
    }

    /// The value as text.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The value as it is.
    pub fn octets(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Asserts values, `None` for a variable that must not be there.
    #[track_caller]
    pub fn expect(&self, wanted: &[(&str, Option<&str>)]) {
        for (name, value) in wanted {
            assert_eq!(self.get(name).as_deref(), *value, "{name}");
        }
    }
}

impl Server {
    /// The variables that `cgi-bin/env`, which must be [`ENVIRONMENT`], sees for these octets.
    #[track_caller]
    pub fn vars(&self, request: impl AsRef<[u8]>) -> Vars {
        Vars::of(self.ask(request))
    }

    /// The same for a GET of `target`.
    #[track_caller]
    pub fn vars_of(&self, target: &str) -> Vars {
        Vars::of(self.get(target))
    }
}
