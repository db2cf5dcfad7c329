//! A `cgiserve.toml` in the making.

use std::fmt::Write as _;

/// What has been understood so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Keys of the top level, as TOML.
    pub(super) top: Vec<(String, String)>,
    /// Keys of `[scripts]`.
    pub(super) scripts: Vec<(String, String)>,
    /// Variables for every script.
    pub(super) env: Vec<(String, String)>,
    /// The routes, in the order written.
    pub(super) routes: Vec<Route>,
    /// Lines that were not taken over, and why not.
    pub(super) left: Vec<(String, String)>,
}

/// One `[[route]]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// `path`.
    pub(super) path: String,
    /// `scripts`, `script`, `files` or `redirect`, and its value.
    pub(super) target: (&'static str, String),
    /// Other keys, as TOML.
    pub(super) keys: Vec<(String, String)>,
    /// Variables of its scripts.
    pub(super) env: Vec<(String, String)>,
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
        if !self.scripts.is_empty() || !self.env.is_empty() {
            text.push_str("\n[scripts]\n");
            for (key, value) in &self.scripts {
                let _ = writeln!(text, "{key} = {value}");
            }
            write_env(&mut text, &self.env);
        }
        for route in &self.routes {
            let _ = writeln!(text, "\n[[route]]\npath = {}", quote(&route.path));
            let _ = writeln!(text, "{} = {}", route.target.0, quote(&route.target.1));
            for (key, value) in &route.keys {
                let _ = writeln!(text, "{key} = {value}");
            }
            write_env(&mut text, &route.env);
        }
        if !self.left.is_empty() {
            text.push_str("\n# Not taken over:\n");
            for (line, why) in &self.left {
                let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let _ = writeln!(text, "#   {line}\n#     -> {why}");
            }
        }
        text
    }
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
