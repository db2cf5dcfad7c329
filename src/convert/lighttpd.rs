//! lighttpd: assignments, and the conditions around them.

use super::draft::{Draft, NOWHERE, Route, list, literal, prefix, quote};
use super::is_program;
use super::spots::below;
use super::verdict::Verdict;

/// A value on the right side.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    List(Vec<(Option<String>, Value)>),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.first().map(|(_, value)| value.text()).unwrap_or_default(),
        }
    }

    fn pairs(&self) -> Vec<(String, String)> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::List(items) => {
                items.iter().map(|(key, value)| (key.clone().unwrap_or_default(), value.text())).collect()
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::List(items) => items.iter().map(|(_, value)| value.text()).collect(),
        }
    }
}

/// `key = value` under the conditions around it, and as it was written.
struct Assignment {
    conditions: Vec<String>,
    key: String,
    value: Value,
    line: String,
}

pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let mut assignments = Vec::new();
    let mut parser = Parser { text, at: 0, conditions: Vec::new() };
    parser.all(&mut assignments, &mut draft);
    let find = |key: &str| assignments.iter().find(|a| a.key == key && a.conditions.is_empty());
    let root = find("server.document-root").map(|a| a.value.text());
    // Aliases first: what programs are assigned to needs them.
    for assignment in assignments.iter().filter(|a| a.key == "alias.url") {
        for (url, folder) in assignment.value.pairs() {
            let (kind, folder) = if is_program(&folder) { ("script", folder) } else { ("files", folder) };
            draft.route(Route::new(prefix(&url), kind, folder.trim_end_matches('/')));
        }
    }
    draft.root.clone_from(&root);
    // What runs before what is said of it.
    for assignment in assignments.iter().filter(|a| a.key == "cgi.assign") {
        assign(&mut draft, assignment, root.as_deref());
    }
    for assignment in &assignments {
        one(&mut draft, assignment, root.as_deref());
    }
    for assignment in assignments.iter().filter(|a| a.key == "auth.require") {
        credentials(&mut draft, assignment, find("auth.backend.htpasswd.userfile").map(|a| a.value.text()));
    }
    let mut verdicts = Vec::new();
    for assignment in assignments.iter().filter(|a| a.key == "url.access-deny") {
        denied(&mut draft, assignment, &mut verdicts);
    }
    draft.judge(&verdicts);
    draft
}

/// `url.access-deny`: suffixes of what nobody sees; "" is everything, often but for some addresses.
fn denied(draft: &mut Draft, assignment: &Assignment, verdicts: &mut Vec<(String, Verdict)>) {
    let Assignment { conditions, value, line, .. } = assignment;
    let by_address = conditions.iter().any(|condition| condition.contains("remoteip"));
    let bases: Vec<String> = conditions.iter().filter_map(|condition| url_prefix(condition)).collect();
    if conditions.len() > bases.len() + usize::from(by_address) {
        draft.leave(line, "WHAT IT PROTECTS IS OPEN: its condition is not one on the beginning of the path");
        return;
    }
    let base = bases.into_iter().max_by_key(String::len).unwrap_or_else(|| "/".to_owned());
    let why = match by_address {
        true => Verdict::Limited(vec![format!("{} {line}", conditions.join(" "))]),
        false => Verdict::Closed(format!("nobody may see it: {line}")),
    };
    for suffix in value.texts() {
        if !suffix.is_empty() && !suffix.contains(['/', '*']) {
            let path = if base == "/" { format!("*{suffix}") } else { format!("{base}*{suffix}") };
            draft.routes.retain(|route| route.path != path);
            draft.route(Route::new(&path, "files", NOWHERE));
            verdicts.push((path, why.clone()));
            continue;
        }
        let place = base.trim_end_matches('/');
        let spots = draft.spots(true, place, true);
        spots.iter().for_each(|spot| draft.narrow(spot));
        let covered = draft.routes.iter().filter(|route| below(route.at(true), place));
        verdicts.extend(covered.map(|route| (route.path.clone(), why.clone())));
    }
}

fn one(draft: &mut Draft, assignment: &Assignment, root: Option<&str>) {
    let Assignment { conditions, key, value, line } = assignment;
    let whole = conditions.is_empty();
    match key.as_str() {
        "server.document-root" if whole => draft.top("document-root", quote(&value.text())),
        "server.port" if whole => {
            draft.top("port", value.text());
            if !draft.top.iter().any(|(key, _)| key == "bind") {
                draft.top("bind", list(&[""]));
            }
        }
        "server.bind" if whole => {
            draft.top.retain(|(key, _)| key != "bind");
            draft.top("bind", list(&[value.text()]));
        }
        "index-file.names" if whole => draft.top("index", list(&value.texts())),
        "dir-listing.activate" | "server.dir-listing" if whole && value.text() == "enable" => {
            draft.top("listing", quote("nice"));
        }
        "server.max-request-size" => {
            draft.scripts.push(("max-body".to_owned(), quote(&format!("{} KiB", value.text()))));
        }
        "setenv.add-environment" | "setenv.set-environment" => environment(draft, assignment),
        "cgi.local-redir" => {
            draft.scripts.push(("local-redirect".to_owned(), (value.text() == "enable").to_string()));
        }
        "cgi.assign" | "alias.url" => {}
        "auth.require" | "auth.backend.htpasswd.userfile" => {}
        "auth.backend" if value.text() == "htpasswd" => {}
        "url.redirect" => redirects(draft, assignment),
        "fastcgi.server" => {
            draft.leave(line, "programs are started here: a route with interpreter = { \".php\" = \"php-cgi\" }")
        }
        "server.errorlog" => draft.leave(line, "one log for all: [log] file = \"..\""),
        "server.modules" => draft.leave(line, "not needed: there are no modules"),
        "cgi.execute-x-only" => draft.leave(line, "not needed: a script without the x bit never runs"),
        "server.username" | "server.groupname" => draft.leave(line, "started as root, write user = \"NAME\""),
        "url.access-deny" => {}
        "static-file.exclude-extensions" => hidden(draft, value, root),
        _ => draft.leave(line, "nothing here corresponds to it"),
    }
}

/// Variables for everything, or for what is below the path of the condition.
fn environment(draft: &mut Draft, assignment: &Assignment) {
    let base = assignment.conditions.iter().find_map(|condition| url_prefix(condition));
    let Some(base) = base else { return draft.env.extend(assignment.value.pairs()) };
    for route in draft.routes.iter_mut().filter(|route| route.base().starts_with(&base) && route.runs()) {
        route.env.extend(assignment.value.pairs());
    }
}

/// `cgi.assign = ( SUFFIX => PROGRAM )`; without a suffix every file is a program by itself.
fn assign(draft: &mut Draft, assignment: &Assignment, root: Option<&str>) {
    let base = assignment.conditions.iter().find_map(|condition| url_prefix(condition));
    if !assignment.conditions.is_empty() && base.is_none() {
        draft.leave(&assignment.line, "its condition is not one on the beginning of the path");
        return;
    }
    let base = base.unwrap_or_else(|| "/".to_owned());
    for (suffix, program) in assignment.value.pairs() {
        let known = draft.routes.iter().position(|route| route.path == base);
        let folder = match known {
            Some(at) => Some(draft.routes[at].target.1.clone()),
            None => root.map(|root| format!("{}{}", root.trim_end_matches('/'), base.trim_end_matches('/'))),
        };
        let Some(folder) = folder else {
            draft.leave(&assignment.line, "no folder: server.document-root is not in this file");
            continue;
        };
        let mut route = if suffix.is_empty() {
            draft.routes.retain(|route| route.path != base);
            Route::new(base.clone(), "scripts", folder)
        } else {
            let path = if base == "/" { format!("*{suffix}") } else { format!("{base}*{suffix}") };
            Route::new(path, "scripts", folder)
        };
        if !program.is_empty() {
            let suffix = if suffix.is_empty() { "." } else { &suffix };
            route.set("interpreter", format!("{{ {} = {} }}", quote(suffix), quote(&program)));
        }
        match route.suffix() {
            Some(_) => draft.suffix_route(route),
            None => draft.routes.push(route),
        }
    }
}

/// Files that are only ever programs. Those of a folder of programs are none of these.
fn hidden(draft: &mut Draft, value: &Value, root: Option<&str>) {
    for suffix in value.texts().iter().filter(|_| root.is_some()) {
        let mut route = Route::new(format!("*{suffix}"), "files", "");
        route.close("not served as files: static-file.exclude-extensions".to_owned());
        draft.suffix_route(route);
    }
}

fn redirects(draft: &mut Draft, assignment: &Assignment) {
    for (from, to) in assignment.value.pairs() {
        match literal(&from).filter(|_| !to.contains(['$', '%'])) {
            Some(path) => {
                let mut route = Route::new(path, "redirect", to);
                route.set("status", "301".to_owned());
                draft.route(route);
            }
            None => draft.leave(&assignment.line, "regular expressions are not understood"),
        }
    }
}

fn credentials(draft: &mut Draft, assignment: &Assignment, file: Option<String>) {
    let Value::List(places) = &assignment.value else { return };
    for (place, rules) in places {
        let (place, rules) = (place.clone().unwrap_or_default(), rules.pairs());
        let place = place.trim_end_matches('/');
        let rule = |name: &str| rules.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let basic = rule("method").is_none_or(|method| method == "basic");
        let spots = draft.spots(true, place, true);
        spots.iter().for_each(|spot| draft.narrow(spot));
        let mut fits = false;
        for route in draft.routes.iter_mut().filter(|route| below(route.at(true), place)) {
            fits = true;
            let Some(file) = file.as_ref().filter(|_| basic) else {
                route.close(format!(
                    "closed, as only basic with a file of htpasswd can be said here: {}",
                    assignment.line
                ));
                continue;
            };
            let realm = rule("realm").unwrap_or_else(|| "cgiserve".to_owned());
            let mut auth = format!("{{ realm = {}, file = {}", quote(&realm), quote(file));
            let require = rule("require").unwrap_or_default();
            let users: Vec<&str> = require.split('|').filter_map(|user| user.strip_prefix("user=")).collect();
            if !users.is_empty() {
                auth.push_str(&format!(", users = {}", list(&users)));
            }
            route.set("auth", format!("{auth} }}"));
        }
        if !fits {
            draft.leave(&assignment.line, "for a place that no route here serves");
        }
    }
}

/// `/cgi-bin/` out of `$HTTP["url"] =~ "^/cgi-bin/"`.
fn url_prefix(condition: &str) -> Option<String> {
    let rest = condition.strip_prefix("$HTTP[\"url\"]")?.trim_start();
    let (operator, value) = rest.split_once(char::is_whitespace)?;
    let value = value.trim().trim_matches('"');
    let path = match operator {
        "=~" => value.strip_prefix('^')?,
        "=^" => value,
        _ => return None,
    };
    let plain = path.starts_with('/') && !path.contains(['(', '[', '*', '+', '?', '$', '|', '\\', '.']);
    plain.then(|| prefix(path))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    conditions: Vec<String>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n', ';', ',']);
            let mut step = rest.len() - trimmed.len();
            if trimmed.starts_with('#') {
                step += trimmed.find('\n').unwrap_or(trimmed.len());
            }
            if step == 0 {
                return;
            }
            self.at += step;
        }
    }

    fn all(&mut self, found: &mut Vec<Assignment>, draft: &mut Draft) {
        loop {
            self.skip();
            let start = self.at;
            let rest = self.rest();
            if rest.is_empty() {
                return;
            }
            if rest.starts_with('}') {
                self.at += 1;
                self.conditions.pop();
                continue;
            }
            if rest.starts_with('$') || rest.starts_with("else") {
                let end = rest.find('{').unwrap_or(rest.len());
                let condition = rest[..end].trim().to_owned();
                self.at += (end + 1).min(rest.len());
                self.conditions.push(condition);
                continue;
            }
            let line_end = rest.find('\n').unwrap_or(rest.len());
            let operator = ["+=", ":=", "="].iter().filter_map(|op| Some((rest[..line_end].find(op)?, op.len()))).min();
            let Some((at, length)) = operator.filter(|_| !rest.starts_with("include")) else {
                draft.leave(&rest[..line_end], "not an assignment; convert what it includes by itself");
                self.at += line_end;
                continue;
            };
            let key = rest[..at].trim().to_owned();
            self.at += at + length;
            let value = self.value();
            let line =
                self.text.get(start..self.at).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            found.push(Assignment { conditions: self.conditions.clone(), key, value, line });
        }
    }

    fn value(&mut self) -> Value {
        self.skip();
        let rest = self.rest();
        if rest.starts_with('(') {
            self.at += 1;
            return self.list();
        }
        if let Some(inner) = rest.strip_prefix('"') {
            let end = inner.find('"').unwrap_or(inner.len());
            let text = inner[..end].to_owned();
            self.at += (end + 2).min(rest.len());
            return Value::Text(text);
        }
        let end = rest.find([' ', '\t', '\r', '\n', ',', ')', '}', '=']).unwrap_or(rest.len()).max(1).min(rest.len());
        let text = rest.get(..end).unwrap_or(rest).to_owned();
        self.at += text.len();
        Value::Text(text)
    }

    fn list(&mut self) -> Value {
        let mut items = Vec::new();
        loop {
            self.skip();
            if self.rest().is_empty() {
                return Value::List(items);
            }
            if self.rest().starts_with(')') {
                self.at += 1;
                return Value::List(items);
            }
            let first = self.value();
            self.skip();
            if self.rest().starts_with("=>") {
                self.at += 2;
                let value = self.value();
                items.push((Some(first.text()), value));
            } else {
                items.push((None, first));
            }
        }
    }
}
