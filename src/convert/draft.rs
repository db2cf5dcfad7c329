//! A `cgiserve.toml` in the making.

use std::fmt::Write as _;

use super::pages::Page;

/// What has been understood so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Keys of the top level, as TOML.
    pub(super) top: Vec<(String, String)>,
    /// Keys of `[scripts]`.
    pub(super) scripts: Vec<(String, String)>,
    /// Variables for every script.
    pub(super) env: Vec<(String, String)>,
    /// The document root, if there is one.
    pub(super) root: Option<String>,
    /// The routes, in the order written.
    pub(super) routes: Vec<Route>,
    /// Pages for failures, before it is known which of them can be.
    pub(super) pages: Vec<Page>,
    /// Keys of `[tls]`.
    pub(super) tls: Vec<(String, String)>,
    /// Users and passwords that stood in the file itself: their place is a file of their own.
    pub(super) users: Vec<User>,
    /// Lines that were not taken over, and why not.
    pub(super) left: Vec<(String, String)>,
}

/// Behind `bind`, where it is narrower than what was written.
pub(super) const HERE: &str = "for this machine only, as access was limited by address";

/// Where a path leads that nobody may see: it is there on every system, and never a folder.
pub(super) const NOWHERE: &str = "/dev/null";

/// A user, for a path and what is below it.
#[derive(Debug)]
pub(super) struct User {
    /// The path.
    pub(super) path: String,
    /// The user's name.
    pub(super) name: String,
    /// As it stood there: the password, or a hash of it.
    pub(super) password: String,
}

/// One `[[route]]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// `path`.
    pub(super) path: String,
    /// Whether the path without its last slash is meant, too.
    pub(super) bare: bool,
    /// `scripts`, `script`, `files` or `redirect`, and its value.
    pub(super) target: (&'static str, String),
    /// Other keys, as TOML.
    pub(super) keys: Vec<(String, String)>,
    /// Variables of its scripts.
    pub(super) env: Vec<(String, String)>,
    /// Why it is not what was written; stands above it.
    pub(super) note: Option<String>,
    /// The one URL and file that it is for, where its path says more than that.
    pub(super) only: Option<(String, String)>,
}

impl Route {
    pub(super) fn new(path: impl Into<String>, kind: &'static str, value: impl Into<String>) -> Self {
        Self { path: path.into(), target: (kind, value.into()), ..Self::default() }
    }

    /// Sets a key, in place of an earlier one.
    pub(super) fn set(&mut self, key: &str, value: String) {
        self.keys.retain(|(known, _)| known != key);
        self.keys.push((key.to_owned(), value));
    }

    /// Nobody gets in any more, for this reason.
    pub(super) fn close(&mut self, why: String) {
        self.target = ("files", NOWHERE.to_owned());
        self.keys.clear();
        self.env.clear();
        self.note = Some(why);
    }

    /// The path up to the last slash; a suffix without one is meant everywhere.
    pub(super) fn base(&self) -> &str {
        let base = self.path.split('*').next().unwrap_or_default();
        if base.is_empty() { "/" } else { base }
    }

    /// Where it is: its URL, or the folder or file that it serves; without the last slash.
    pub(super) fn at(&self, by_path: bool) -> &str {
        let at = match &self.only {
            Some((url, file)) => {
                if by_path {
                    url
                } else {
                    file
                }
            }
            None if by_path => self.base(),
            None => &self.target.1,
        };
        at.trim_end_matches('/')
    }

    /// What stands behind `*`.
    pub(super) fn suffix(&self) -> Option<&str> {
        self.path.split_once('*').map(|(_, suffix)| suffix)
    }

    /// Whether programs answer.
    pub(super) fn runs(&self) -> bool {
        self.target.0.starts_with("script")
    }
}

impl Draft {
    /// Sets a key of the top level; the first one counts.
    pub(super) fn top(&mut self, key: &str, value: String) {
        if !self.top.iter().any(|(known, _)| known == key) {
            self.top.push((key.to_owned(), value));
        }
    }

    /// Adds a route, unless one is there for its path.
    pub(super) fn route(&mut self, route: Route) -> bool {
        let new = !self.routes.iter().any(|known| known.path == route.path);
        if new {
            self.routes.push(route);
        }
        new
    }

    /// The same for a suffix. Folders of programs below keep theirs: a suffix would go before a folder.
    pub(super) fn suffix_route(&mut self, route: Route) {
        let (base, suffix) = (route.base().to_owned(), route.suffix().unwrap_or_default().to_owned());
        let inner = |known: &&Route| {
            let path = &known.path;
            known.target.0 == "scripts" && path.ends_with('/') && *path != base && path.starts_with(&base)
        };
        let inner = self.routes.iter().filter(inner);
        let inner = inner.map(|known| Route { path: format!("{}*{suffix}", known.path), ..known.clone() });
        let inner: Vec<Route> = inner.collect();
        if self.route(route) {
            for route in inner {
                self.route(route);
            }
        }
    }

    /// Notes a line that is not taken over.
    pub(super) fn leave(&mut self, line: &str, why: &str) {
        self.left.push((line.trim().to_owned(), why.to_owned()));
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.top {
            let _ = writeln!(text, "{key} = {value}");
        }
        // Only what was written is served: the fragment of a package says nothing about the rest.
        if !self.top.iter().any(|(key, _)| key == "document-root" || key == "directory") {
            text.push_str("default-routes = false\n");
        }
        if !self.tls.is_empty() {
            text.push_str("\n[tls]\n");
            for (key, value) in &self.tls {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        if !self.scripts.is_empty() || !self.env.is_empty() {
            text.push_str("\n[scripts]\n");
            for (key, value) in &self.scripts {
                let _ = writeln!(text, "{key} = {value}");
            }
            write_env(&mut text, &self.env);
        }
        for route in &self.routes {
            text.push('\n');
            if let Some(note) = &route.note {
                let _ = writeln!(text, "# {}", one_line(note));
            }
            let path = match route.bare {
                true => list(&[route.path.trim_end_matches('/'), &route.path]),
                false => quote(&route.path),
            };
            let _ = writeln!(text, "[[route]]\npath = {path}");
            let _ = writeln!(text, "{} = {}", route.target.0, quote(&route.target.1));
            for (key, value) in &route.keys {
                let _ = writeln!(text, "{key} = {value}");
            }
            write_env(&mut text, &route.env);
        }
        if !self.left.is_empty() {
            text.push_str("\n# Not taken over:\n");
            for (line, why) in &self.left {
                let _ = writeln!(text, "#   {}\n#     -> {}", one_line(line), one_line(why));
            }
        }
        text
    }
}

/// What a comment may hold.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn write_env(text: &mut String, env: &[(String, String)]) {
    if env.is_empty() {
        return;
    }
    let pairs: Vec<String> = env.iter().map(|(name, value)| format!("{} = {}", quote(name), quote(value))).collect();
    let _ = writeln!(text, "env = {{ {} }}", pairs.join(", "));
}

/// A TOML string.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A TOML array of strings.
pub(super) fn list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A path that is a prefix: it begins and ends with a slash.
pub(super) fn prefix(path: &str) -> String {
    let inner = path.trim_matches('/');
    if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") }
}

/// The one path that a regular expression such as `^/cgit$` means, if it means one.
pub(super) fn literal(expression: &str) -> Option<String> {
    let inner = expression.strip_prefix('^')?.strip_suffix('$')?;
    let plain = inner.replace("\\.", ".");
    (plain.starts_with('/') && !plain.contains(['^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\']))
        .then_some(plain)
}
