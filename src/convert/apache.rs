//! Apache httpd: the directives that make programs run, and the sections around them.

use std::collections::HashMap;

use super::draft::{Draft, Route, list, literal, prefix, quote};
use super::is_program;

/// A section that is open, and what it says for what it holds.
#[derive(Clone, Debug, Default)]
struct Section {
    name: String,
    /// `<Directory PATH>`: below this folder; `<Location PATH>`: below this path.
    argument: String,
    handlers: Vec<(String, Vec<String>)>,
    index: Vec<String>,
    env: Vec<(String, String)>,
    listing: bool,
    pass_authorization: bool,
    auth: HashMap<&'static str, Vec<String>>,
    /// The lines of its credentials, should they fit nothing.
    lines: Vec<String>,
    /// Nothing in it is understood.
    opaque: bool,
}

const SERVED: &str = "not needed: what has a route is served";
const BY_ADDRESS: &str = "ACCESS IS NOT LIMITED BY ADDRESS: bind to fewer of them, or write auth into the route";

struct Reader {
    draft: Draft,
    open: Vec<Section>,
    done: Vec<Section>,
    defines: HashMap<String, String>,
    actions: Vec<(String, String, String)>,
    document_root: Option<String>,
    /// Inside `<Files>`, `<If>` and the like, of which nothing is understood.
    opaque: usize,
}

pub(super) fn read(text: &str) -> Draft {
    let whole = Section::default();
    let mut reader = Reader {
        draft: Draft::default(),
        open: vec![whole],
        done: Vec::new(),
        defines: HashMap::new(),
        actions: Vec::new(),
        document_root: None,
        opaque: 0,
    };
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        reader.line(line);
    }
    reader.finish()
}

impl Reader {
    fn line(&mut self, line: &str) {
        if line.starts_with("</") {
            self.close();
            return;
        }
        if let Some(inner) = line.strip_prefix('<') {
            let words = words(&self.expand(inner.trim_end_matches('>')));
            self.enter(line, &words);
            return;
        }
        if self.opaque > 0 {
            self.draft.leave(line, "inside a section that is not taken over: LOOK AT IT, it may protect something");
            return;
        }
        let words = words(&self.expand(line));
        let Some((name, arguments)) = words.split_first() else { return };
        self.directive(line, &name.to_ascii_lowercase(), arguments);
    }

    fn enter(&mut self, line: &str, words: &[String]) {
        let name = words.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let argument = words.get(1).filter(|word| *word != "~").or(words.get(2)).cloned().unwrap_or_default();
        let mut opaque = false;
        match name.as_str() {
            // As if every module and every definition were there; what is meant for their absence is not.
            "ifmodule" | "ifdefine" | "ifversion" if !argument.starts_with('!') => {}
            "directory" | "location" if words.get(1).is_none_or(|word| word != "~") => {}
            "virtualhost" => self.draft.leave(line, "what it holds is served for every host name"),
            "directorymatch" | "locationmatch" if alternatives(&argument).is_some() => {}
            _ => {
                opaque = true;
                self.opaque += 1;
                self.draft.leave(line, "sections of this kind are not understood");
            }
        }
        self.open.push(Section { name, argument, opaque, ..Section::default() });
    }

    fn close(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let Some(section) = self.open.pop() else { return };
        if section.opaque {
            self.opaque -= 1;
            return;
        }
        let known = ["ifmodule", "ifdefine", "ifversion", "virtualhost"].contains(&section.name.as_str());
        if known {
            // What stands in it belongs to what stands around it.
            let outer = self.open.last_mut();
            if let Some(outer) = outer {
                outer.handlers.extend(section.handlers);
                outer.index.extend(section.index);
                outer.env.extend(section.env);
                outer.listing |= section.listing;
                outer.auth.extend(section.auth);
                outer.lines.extend(section.lines);
            }
        } else {
            self.done.push(section);
        }
    }

    fn here(&mut self) -> Option<&mut Section> {
        self.open.last_mut()
    }

    fn expand(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.defines {
            line = line.replace(&format!("${{{name}}}"), value);
        }
        line
    }

    fn directive(&mut self, line: &str, name: &str, arguments: &[String]) {
        let first = arguments.first().cloned().unwrap_or_default();
        let rest = || arguments.get(1).cloned().unwrap_or_default();
        match name {
            "define" => drop(self.defines.insert(first, rest())),
            "scriptalias" => self.alias(line, &first, &rest(), true),
            "alias" => self.alias(line, &first, &rest(), false),
            "documentroot" => {
                self.draft.top("document-root", quote(&first));
                self.document_root.get_or_insert(first);
            }
            "servername" => {
                let host = first.rsplit("://").next().unwrap_or_default();
                self.draft.top("server-name", quote(host.split(':').next().unwrap_or_default()));
            }
            "listen" => self.listen(line, &first),
            "directoryindex" => {
                let names: Vec<String> = arguments.iter().filter(|name| !name.starts_with('/')).cloned().collect();
                if let Some(section) = self.here() {
                    section.index.extend(names);
                }
            }
            "addhandler" | "sethandler" => self.handler(line, name, &first, arguments),
            "action" => self.actions.push((first, rest(), line.to_owned())),
            "setenv" => {
                let pair = (first, rest());
                if let Some(section) = self.here() {
                    section.env.push(pair);
                }
            }
            "passenv" => self.draft.scripts.push(("pass-env".to_owned(), list(arguments))),
            "cgipassauth" => {
                if let Some(section) = self.here() {
                    section.pass_authorization = first.eq_ignore_ascii_case("on");
                }
            }
            "authtype" | "authname" | "authuserfile" | "require" | "authbasicprovider" | "authgroupfile" => {
                self.auth(line, name, arguments);
            }
            "redirect" | "redirectpermanent" | "redirecttemp" | "redirectmatch" => self.redirect(line, name, arguments),
            "options" => self.options(line, arguments),
            "errordocument" => {
                self.draft.leave(line, "pages for errors: DOCUMENT ROOT/404.html is used, others are not")
            }
            "limitrequestbody" => {
                let value = if first == "0" { "\"1024 GiB\"".to_owned() } else { quote(&first) };
                self.draft.scripts.push(("max-body".to_owned(), value));
            }
            "timeout" | "cgidscripttimeout" | "cgiscripttimeout" => {
                self.draft.scripts.push(("idle-timeout".to_owned(), quote(&first)));
            }
            "allowoverride" | "loadmodule" | "scriptsock" | "serverroot" | "servertokens" => {
                self.draft.leave(line, "not needed: there are no such files, modules or sockets here");
            }
            "allow" if rest().eq_ignore_ascii_case("all") => self.draft.leave(line, SERVED),
            "order" => self.draft.leave(line, SERVED),
            "allow" | "deny" => self.draft.leave(line, BY_ADDRESS),
            "suexecusergroup" => self.draft.leave(line, "started as root, write user = \"NAME\" or user = \"owner\""),
            "serveralias" => self.draft.leave(line, "every name is served; hosts = [..] would limit them"),
            _ => self.draft.leave(line, "nothing here corresponds to it"),
        }
    }

    fn alias(&mut self, line: &str, url: &str, to: &str, runs: bool) {
        if url.is_empty() || to.is_empty() {
            self.draft.leave(line, "inside <Location>: write the route by hand");
            return;
        }
        let folder = to.trim_end_matches('/');
        let route = if runs && is_program(to) {
            Route::new(prefix(url), "script", folder)
        } else {
            Route::new(prefix(url), if runs { "scripts" } else { "files" }, folder)
        };
        if !self.draft.route(route) {
            self.draft.leave(line, "another line has this path already");
        }
    }

    fn listen(&mut self, line: &str, value: &str) {
        let (address, port) = value.rsplit_once(':').map_or(("", value), |(address, port)| (address, port));
        match port.parse::<u16>() {
            Ok(port) if !self.draft.top.iter().any(|(key, _)| key == "port") => {
                // Apache without an address listens everywhere.
                self.draft.top("bind", list(&[if address.is_empty() { "" } else { address }]));
                self.draft.top("port", port.to_string());
            }
            _ => self.draft.leave(line, "one port: start another server, or put a proxy in front"),
        }
    }

    fn handler(&mut self, line: &str, name: &str, handler: &str, arguments: &[String]) {
        let suffixes = arguments.get(1..).unwrap_or_default().iter();
        let suffixes: Vec<String> = suffixes.map(|s| format!(".{}", s.trim_start_matches('.'))).collect();
        if name == "sethandler" && handler == "cgi-script" {
            let folder = self.open.last().filter(|s| s.name == "directory").map(|s| s.argument.clone());
            let route = folder.and_then(|folder| self.draft.routes.iter_mut().find(|route| route.target.1 == folder));
            match route {
                Some(route) => route.target.0 = "scripts",
                None => self.draft.leave(line, "write a route with scripts = \"FOLDER\""),
            }
            return;
        }
        match self.here() {
            Some(section) if !suffixes.is_empty() => section.handlers.push((handler.to_owned(), suffixes)),
            _ => self.draft.leave(line, "no suffix"),
        }
    }

    fn auth(&mut self, line: &str, name: &str, arguments: &[String]) {
        let first = arguments.first().cloned().unwrap_or_default().to_ascii_lowercase();
        if name == "require" && (first == "all" || first == "ip" || first == "local" || first == "host") {
            let granted = arguments.get(1).is_some_and(|word| word.eq_ignore_ascii_case("granted"));
            self.draft.leave(line, if granted { SERVED } else { BY_ADDRESS });
            return;
        }
        let key = match name {
            "authname" => "realm",
            "authuserfile" => "file",
            "require" if first == "user" => "users",
            "require" if first == "valid-user" => "any",
            "authtype" if first == "basic" => "type",
            _ => {
                self.draft.leave(line, "only AuthType Basic with AuthUserFile, and Require user or valid-user");
                return;
            }
        };
        let values = if key == "users" { arguments[1..].to_vec() } else { arguments.to_vec() };
        let line = line.to_owned();
        if let Some(section) = self.here() {
            section.auth.insert(key, values);
            section.lines.push(line);
        }
    }

    fn redirect(&mut self, line: &str, name: &str, arguments: &[String]) {
        let mut words = arguments.to_vec();
        let status = match (name, words.first().map(|word| word.to_ascii_lowercase()).as_deref()) {
            ("redirectpermanent", _) => 301,
            (_, Some("permanent" | "301")) => 301,
            (_, Some("seeother" | "303")) => 303,
            (_, Some("307")) => 307,
            (_, Some("308")) => 308,
            _ => 302,
        };
        if words.len() > 2 {
            words.remove(0);
        }
        let [from, to] = words.as_slice() else {
            self.draft.leave(line, "not a redirect from here to there");
            return;
        };
        let path = if name == "redirectmatch" { literal(from) } else { Some(from.clone()) };
        let Some(path) = path.filter(|path| path.starts_with('/')) else {
            self.draft.leave(line, "regular expressions are not understood");
            return;
        };
        let mut route = Route::new(path, "redirect", to.clone());
        route.set("status", status.to_string());
        if !self.draft.route(route) {
            self.draft.leave(line, "another line has this path already");
        } else if name != "redirectmatch" {
            self.draft.leave(line, "taken over for exactly this path, not for those below it");
        }
    }

    fn options(&mut self, line: &str, arguments: &[String]) {
        let on = |word: &str| arguments.iter().any(|a| a.trim_start_matches('+').eq_ignore_ascii_case(word));
        if on("indexes")
            && let Some(section) = self.here()
        {
            section.listing = true;
        }
        let kept = ["indexes", "execcgi", "none", "followsymlinks", "symlinksifownermatch"];
        let other =
            arguments.iter().filter(|a| !kept.contains(&&*a.trim_start_matches(['+', '-']).to_ascii_lowercase()));
        if other.clone().any(|word| !word.starts_with('-'))
            || arguments.iter().any(|a| a.eq_ignore_ascii_case("includes"))
        {
            self.draft.leave(line, "of these only Indexes, ExecCGI and FollowSymLinks mean something here");
        }
    }

    fn finish(mut self) -> Draft {
        while self.open.len() > 1 {
            self.close();
        }
        let whole = self.open.pop().unwrap_or_default();
        self.draft.env.extend(whole.env.clone());
        if !whole.index.is_empty() {
            self.draft.top("index", list(&whole.index));
        }
        if whole.listing {
            self.draft.top("listing", quote("nice"));
        }
        if whole.pass_authorization {
            self.draft.scripts.push(("pass-authorization".to_owned(), "true".to_owned()));
        }
        let root = self.document_root.clone();
        for (handler, suffixes) in &whole.handlers {
            self.by_suffix(handler, suffixes, "/", root.as_deref());
        }
        if !whole.auth.is_empty() {
            for line in &whole.lines {
                self.draft.leave(line, "CREDENTIALS FOR ALL: write auth into every route");
            }
        }
        for section in std::mem::take(&mut self.done) {
            self.scoped(&section);
        }
        for (_, _, line) in std::mem::take(&mut self.actions) {
            if !self.draft.routes.iter().any(|route| line.contains(route.path.trim_start_matches('*'))) {
                self.draft.leave(&line, "no AddHandler with a suffix goes with it");
            }
        }
        self.draft
    }

    /// Routes for files with one of `suffixes` below the path `base`, which is the folder `folder`.
    fn by_suffix(&mut self, handler: &str, suffixes: &[String], base: &str, folder: Option<&str>) {
        let pattern = |suffix: &str| if base == "/" { format!("*{suffix}") } else { format!("{base}*{suffix}") };
        let action = self.actions.iter().find(|(name, ..)| name == handler).cloned();
        for suffix in suffixes {
            let line = format!("AddHandler {handler} {suffix}");
            if handler == "cgi-script" {
                match folder {
                    Some(folder) => drop(self.draft.route(Route::new(pattern(suffix), "scripts", folder))),
                    None => self.draft.leave(&line, "no DocumentRoot: write a route with scripts = \"FOLDER\""),
                }
                continue;
            }
            let Some((_, url, action_line)) = &action else {
                self.draft.leave(&line, "no Action says what runs it");
                continue;
            };
            match self.file_of(url) {
                Some(file) => drop(self.draft.route(Route::new(pattern(suffix), "script", file))),
                None => self.draft.leave(action_line, "no ScriptAlias says which file that is"),
            }
        }
    }

    /// The file that a path of a URL means.
    fn file_of(&self, url: &str) -> Option<String> {
        let mut fitting: Vec<&Route> = self.draft.routes.iter().filter(|route| url.starts_with(&route.path)).collect();
        fitting.sort_by_key(|route| route.path.len());
        let found = fitting.last().map(|route| format!("{}/{}", route.target.1, &url[route.path.len()..]));
        found.or_else(|| self.document_root.as_ref().map(|root| format!("{root}{url}")))
    }

    /// What a `<Directory>` or `<Location>` says, for the routes that it means.
    fn scoped(&mut self, section: &Section) {
        let by_path = section.name.starts_with("location");
        let places = alternatives(&section.argument).unwrap_or_else(|| vec![section.argument.clone()]);
        let mut fits = false;
        for place in places {
            let place = place.trim_end_matches('/').to_owned();
            let below =
                |path: &str| path == place || path.strip_prefix(&*place).is_some_and(|rest| rest.starts_with('/'));
            let mut with_suffix = Vec::new();
            for route in &mut self.draft.routes {
                let path = if by_path { route.path.clone() } else { route.target.1.clone() };
                if !below(path.trim_end_matches('/')) || route.target.0 == "redirect" {
                    continue;
                }
                fits = true;
                section.apply(route);
                if route.path.ends_with('/') {
                    with_suffix.push((route.path.clone(), route.target.1.clone()));
                }
            }
            for (base, folder) in with_suffix {
                for (handler, suffixes) in &section.handlers {
                    self.by_suffix(handler, suffixes, &base, Some(&folder));
                }
            }
            let is_root = self.document_root.as_deref().is_some_and(|root| below(root.trim_end_matches('/')));
            if is_root && !by_path {
                fits = true;
                let root = self.document_root.clone();
                for (handler, suffixes) in &section.handlers {
                    self.by_suffix(handler, suffixes, "/", root.as_deref());
                }
                if section.listing {
                    self.draft.top("listing", quote("nice"));
                }
                if !section.index.is_empty() {
                    self.draft.top("index", list(&section.index));
                }
            }
        }
        if !fits && !section.lines.is_empty() {
            for line in &section.lines {
                self.draft.leave(line, "CREDENTIALS for a place that no route has");
            }
        }
        if !fits && !section.env.is_empty() {
            self.draft.env.extend(section.env.clone());
        }
    }
}

impl Section {
    fn apply(&self, route: &mut Route) {
        if route.runs() {
            route.env.extend(self.env.clone());
            if self.pass_authorization {
                route.set("pass-authorization", "true".to_owned());
            }
        } else {
            if self.listing {
                route.set("listing", quote("nice"));
            }
            let mut index = self.index.clone();
            // Apache's own list has index.cgi, which the suffix's route runs.
            if index.is_empty()
                && self.handlers.iter().any(|(handler, s)| handler == "cgi-script" && s.iter().any(|s| s == ".cgi"))
            {
                index = ["index.html", "index.cgi"].map(str::to_owned).to_vec();
            }
            if !index.is_empty() {
                route.set("index", list(&index));
            }
        }
        if let (Some(file), true) = (
            self.auth.get("file").and_then(|f| f.first()),
            self.auth.contains_key("any") || self.auth.contains_key("users"),
        ) {
            let realm =
                self.auth.get("realm").and_then(|r| r.first()).cloned().unwrap_or_else(|| "cgiserve".to_owned());
            let users = self.auth.get("users").map(|users| format!(", users = {}", list(users))).unwrap_or_default();
            route.set("auth", format!("{{ realm = {}, file = {}{users} }}", quote(&realm), quote(file)));
        }
    }
}

/// The plain paths of `(/a|/b)` or `^/a`, if that is all the expression says.
fn alternatives(expression: &str) -> Option<Vec<String>> {
    let inner = expression.trim_start_matches('^').trim_end_matches('$');
    let inner = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(inner);
    let all: Vec<String> = inner.split('|').map(str::to_owned).collect();
    all.iter().all(|path| path.starts_with('/') && !path.contains(['(', ')', '[', '*', '+', '?', '\\'])).then_some(all)
}

/// The words of a line; quoted ones hold blanks.
fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let inner = &rest[1..];
            let end = inner.find(first).unwrap_or(inner.len());
            all.push(inner[..end].to_owned());
            rest = inner.get(end + 1..).unwrap_or_default().trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            all.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    all
}
