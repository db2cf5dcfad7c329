//! A section of Apache's: `<Directory>`, `<Location>`, `<Files>`, and what it says for what it holds.

use std::collections::HashMap;

use crate::convert::draft::{Route, list, quote};

/// A section that is open, or the whole file.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) name: String,
    /// `<Directory PATH>`: below this folder; `<Location PATH>`: below this path; `<Files NAME>`: these.
    pub(super) argument: String,
    /// The folder or path that a `<Files>` stands in: whether it is a path, and which.
    pub(super) within: Option<(bool, String)>,
    pub(super) handlers: Vec<(String, Vec<String>)>,
    /// `SetHandler cgi-script`: everything here is a program.
    pub(super) all_run: bool,
    pub(super) index: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) listing: bool,
    pub(super) pass_authorization: bool,
    pub(super) auth: HashMap<&'static str, Vec<String>>,
    /// The lines that ask for a user, should they fit nothing.
    pub(super) lines: Vec<String>,
    /// Who may come, whatever his name.
    pub(super) access: Option<Access>,
    /// The lines that limit by address.
    pub(super) limits: Vec<String>,
    /// Its argument is an expression of which only the beginning is understood.
    pub(super) loose: bool,
    /// Nothing in it is understood.
    pub(super) opaque: bool,
}

/// Who may come. Of several that are said the widest counts, as with `<RequireAny>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Nobody.
    Denied,
    /// Those from some addresses.
    ByAddress,
    /// Everybody.
    Granted,
}

impl Section {
    /// Whether it is one that stands for the same place as what it stands in.
    pub(super) fn is_transparent(&self) -> bool {
        ["ifmodule", "ifdefine", "ifversion", "virtualhost", "requireany", "requireall"].contains(&&*self.name)
    }

    /// Whether `<Location>` or a relative of it.
    pub(super) fn is_by_path(&self) -> bool {
        self.name.starts_with("location")
    }

    pub(super) fn allow(&mut self, access: Access) {
        self.access = self.access.max(Some(access));
    }

    /// Takes in what an inner section says for the same place.
    pub(super) fn absorb(&mut self, inner: Self) {
        self.handlers.extend(inner.handlers);
        self.index.extend(inner.index);
        self.env.extend(inner.env);
        self.listing |= inner.listing;
        self.all_run |= inner.all_run;
        self.pass_authorization |= inner.pass_authorization;
        self.auth.extend(inner.auth);
        self.lines.extend(inner.lines);
        self.limits.extend(inner.limits);
        self.access = self.access.max(inner.access);
    }

    /// Whether it asks for a user.
    pub(super) fn wants_user(&self) -> bool {
        ["any", "users", "other"].iter().any(|key| self.auth.contains_key(key))
    }

    /// `auth = …`, where it can be said: Basic, with a file.
    pub(super) fn auth(&self) -> Option<String> {
        let file = self.auth.get("file").and_then(|file| file.first())?;
        let basic = self.auth.get("type").and_then(|kind| kind.first()).is_none_or(|t| t.eq_ignore_ascii_case("basic"));
        if !basic || !self.wants_user() || self.auth.contains_key("other") {
            return None;
        }
        let realm = self.auth.get("realm").and_then(|r| r.first()).map_or("cgiserve", String::as_str);
        let users = self.auth.get("users").filter(|_| !self.auth.contains_key("any"));
        let users = users.map(|users| format!(", users = {}", list(users))).unwrap_or_default();
        Some(format!("{{ realm = {}, file = {}{users} }}", quote(realm), quote(file)))
    }

    /// Whether somebody is kept out.
    pub(super) fn protects(&self) -> bool {
        self.access.is_some_and(|access| access != Access::Granted) || self.wants_user()
    }

    /// Whether it says anything for a place that no route is for yet.
    pub(super) fn is_of_its_own(&self) -> bool {
        self.protects() || self.all_run || !self.handlers.is_empty() || !self.index.is_empty() || !self.env.is_empty()
    }

    /// Says for `route` what it says.
    pub(super) fn apply(&self, route: &mut Route) {
        if self.all_run && route.target.0 == "files" {
            route.target.0 = "scripts";
        }
        if route.runs() {
            route.env.extend(self.env.clone());
            if self.pass_authorization {
                route.set("pass-authorization", "true".to_owned());
            }
        } else {
            if self.listing {
                route.set("listing", quote("nice"));
            }
            let index = if self.index.is_empty() { usual_index(&self.handlers) } else { self.index.clone() };
            if !index.is_empty() {
                route.set("index", list(&index));
            }
        }
        if let Some(auth) = self.auth() {
            route.set("auth", auth);
        }
    }
}

/// Debian's own list of index files, as far as programs are in it that these handlers run.
pub(super) fn usual_index(handlers: &[(String, Vec<String>)]) -> Vec<String> {
    let runs =
        |suffix: &str| handlers.iter().any(|(handler, all)| handler == "cgi-script" && all.iter().any(|s| s == suffix));
    let programs: Vec<String> =
        [".cgi", ".pl", ".php"].into_iter().filter(|s| runs(s)).map(|s| format!("index{s}")).collect();
    if programs.is_empty() { programs } else { std::iter::once("index.html".to_owned()).chain(programs).collect() }
}

/// The plain path that `^/git/.*/git-receive-pack$` begins with, up to its last slash.
pub(super) fn beginning(expression: &str) -> &str {
    let path = expression.trim_start_matches('^');
    let plain = path.find(|c: char| !(c.is_alphanumeric() || "/-_~".contains(c))).unwrap_or(path.len());
    let plain = &path[..plain];
    if plain.starts_with('/') { &plain[..plain.rfind('/').unwrap_or(0)] } else { "" }
}

/// The plain paths of `(/a|/b)` or `^/a`, if that is all the expression says.
pub(super) fn alternatives(expression: &str) -> Option<Vec<String>> {
    let inner = expression.trim_start_matches('^').trim_end_matches('$');
    let inner = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(inner);
    let all: Vec<String> = inner.split('|').map(str::to_owned).collect();
    all.iter().all(|path| path.starts_with('/') && !path.contains(['(', ')', '[', '*', '+', '?', '\\'])).then_some(all)
}

/// The suffixes that `*.inc`, `\.inc$` or `\.(cgi|pl)$` mean, if they mean nothing else.
pub(super) fn suffixes(pattern: &str) -> Option<Vec<String>> {
    if let Some(suffix) = pattern.strip_prefix('*') {
        return (suffix.len() > 1 && !suffix.contains(['*', '?', '['])).then(|| vec![suffix.to_owned()]);
    }
    let inner = pattern.strip_suffix('$')?.trim_start_matches('^');
    let inner = inner.strip_prefix(".*").or(inner.strip_prefix(".+")).unwrap_or(inner).strip_prefix("\\.")?;
    let inner = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(inner);
    let inner = inner.strip_prefix("?:").unwrap_or(inner);
    let all: Vec<String> = inner.split('|').map(|suffix| format!(".{suffix}")).collect();
    all.iter()
        .all(|s| s.len() > 1 && s[1..].chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-'))
        .then_some(all)
}
