//! Apache httpd: the directives that make programs run, and the sections around them.

mod places;
mod section;

use std::collections::HashMap;

use self::section::{Access, Section, alternatives, suffixes};
use super::draft::{Draft, Route, list, literal, prefix, quote};
use super::is_program;
use super::pages::Page;

const SERVED: &str = "not needed: what has a route is served";
const NOT_BLOCKED: &str = "NOBODY IS KEPT OUT BY ADDRESS: a firewall can, or a proxy";

struct Reader {
    draft: Draft,
    open: Vec<Section>,
    done: Vec<Section>,
    defines: HashMap<String, String>,
    actions: Vec<(String, String, String)>,
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
        let (mut opaque, mut loose) = (false, false);
        match name.as_str() {
            // As if every module and every definition were there; what is meant for their absence is not.
            "ifmodule" | "ifdefine" | "ifversion" if !argument.starts_with('!') => {}
            "requireany" | "requireall" => {}
            "directory" | "location" | "files" if words.get(1).is_none_or(|word| word != "~") => {}
            "virtualhost" => self.draft.leave(line, "what it holds is served for every host name"),
            "directorymatch" | "locationmatch" if alternatives(&argument).is_some() => {}
            "filesmatch" | "limit" | "limitexcept" => {}
            "directorymatch" | "locationmatch" => loose = true,
            _ => {
                opaque = true;
                self.opaque += 1;
                self.draft.leave(line, "sections of this kind are not understood");
            }
        }
        let within = self.open.iter().rfind(|outer| outer.name.starts_with("directory") || outer.is_by_path());
        let within = within.map(|outer| (outer.is_by_path(), outer.argument.clone()));
        self.open.push(Section { name, argument, within, opaque, loose, ..Section::default() });
    }

    fn close(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let Some(section) = self.open.pop() else { return };
        match self.open.last_mut() {
            _ if section.opaque => self.opaque -= 1,
            Some(outer) if section.is_transparent() => outer.absorb(section),
            Some(outer) if section.name.starts_with("limit") => {
                // Of methods nothing can be said: who needs a password for one needs it for all.
                let head = format!("<{} {}>", section.name, section.argument);
                let kept = section.wants_user();
                outer.absorb(Section { auth: section.auth, lines: section.lines, ..Section::default() });
                let why =
                    if kept { "taken over for every method" } else { "METHODS ARE NOT TOLD APART: all are served" };
                self.draft.leave(&head, why);
            }
            _ => self.done.push(section),
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
            "scriptalias" | "scriptaliasmatch" => self.alias(line, name, &first, &rest(), true),
            "alias" | "aliasmatch" => self.alias(line, name, &first, &rest(), false),
            "documentroot" => {
                self.draft.top("document-root", quote(&first));
                self.draft.root.get_or_insert(first);
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
            "authtype" | "authname" | "authuserfile" | "authgroupfile" => self.auth(line, name, arguments),
            "authbasicprovider" if first.eq_ignore_ascii_case("file") => {}
            "require" => self.require(line, &first.to_ascii_lowercase(), arguments),
            "redirect" | "redirectpermanent" | "redirecttemp" | "redirectmatch" => self.redirect(line, name, arguments),
            "options" => self.options(line, arguments),
            "errordocument" if self.open.iter().all(|section| matches!(&*section.name, "" | "virtualhost")) => {
                self.draft.pages.push(Page { status: first, path: rest(), line: line.to_owned() });
            }
            "errordocument" => self.draft.leave(line, "error-pages are those of the whole site"),
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
            "order" => self.draft.leave(line, "who may come is in the lines with Allow and Deny"),
            "allow" | "deny" => self.allow(line, name == "allow", arguments),
            "sslcertificatefile" | "sslcertificatekeyfile" => {
                self.draft
                    .leave(line, "write it under [tls]: cert = FILE, key = FILE; all that is served is encrypted then");
            }
            "suexecusergroup" => self.draft.leave(line, "started as root, write user = \"NAME\" or user = \"owner\""),
            "serveralias" => self.draft.leave(line, "every name is served; hosts = [..] would limit them"),
            _ => self.draft.leave(line, "nothing here corresponds to it"),
        }
    }

    fn alias(&mut self, line: &str, name: &str, url: &str, to: &str, runs: bool) {
        let place = self.open.iter().rfind(|section| section.name == "location").map(|s| s.argument.clone());
        let (url, to) = match (to.is_empty(), place) {
            (true, Some(place)) => (place, url.to_owned()),
            // `^/cgi-bin/(.*)` to `/usr/lib/cgi-bin/$1` is an alias by another name.
            _ if name.ends_with("match") => {
                let from = url.strip_prefix('^').and_then(|url| url.trim_end_matches('$').strip_suffix("(.*)"));
                let plain = from.filter(|from| !from.contains(['(', '[', '*', '+', '?', '|', '\\', '.']));
                match plain.zip(to.strip_suffix("$1")) {
                    Some((from, to)) => (from.to_owned(), to.to_owned()),
                    None => return self.draft.leave(line, "regular expressions are not understood"),
                }
            }
            _ => (url.to_owned(), to.to_owned()),
        };
        if url.is_empty() || to.is_empty() {
            self.draft.leave(line, "it does not say from where to where");
            return;
        }
        let folder = to.trim_end_matches('/');
        let bare = url.len() > 1 && !url.ends_with('/');
        let mut routes = Vec::new();
        if is_program(&to) && runs {
            routes.push(Route { bare, ..Route::new(prefix(&url), "script", folder) });
        } else if std::path::Path::new(folder).is_file() {
            // A program behind `Alias` is run by a handler only, and a file is never a folder.
            return self.draft.leave(line, "a single file: write a route with script = FILE, or put it into a folder");
        } else {
            routes.push(Route::new(prefix(&url), if runs { "scripts" } else { "files" }, folder));
            if bare && !runs {
                let mut route = Route::new(url.clone(), "redirect", format!("{url}/"));
                route.set("status", "301".to_owned());
                routes.push(route);
            }
        }
        for route in routes {
            if !self.draft.route(route) {
                self.draft.leave(line, "another line has this path already");
            }
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
        let written = arguments.get(1..).unwrap_or_default().iter();
        let mut all: Vec<String> = written.map(|s| format!(".{}", s.trim_start_matches('.'))).collect();
        let Some(section) = self.open.last_mut() else { return };
        if name == "sethandler" {
            match suffixes(&section.argument).filter(|_| section.name.starts_with("files")) {
                Some(suffixes) => all = suffixes,
                None if handler == "cgi-script" && !section.argument.is_empty() => {
                    section.all_run = true;
                    return;
                }
                None => return self.draft.leave(line, "write a route with scripts = \"FOLDER\""),
            }
        }
        if all.is_empty() {
            return self.draft.leave(line, "no suffix");
        }
        section.handlers.push((handler.to_owned(), all));
    }

    fn require(&mut self, line: &str, what: &str, arguments: &[String]) {
        let word = arguments.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let Some(section) = self.open.last_mut() else { return };
        let line = line.to_owned();
        let mut user = |key: &'static str, values: Vec<String>| {
            section.auth.entry(key).or_default().extend(values);
            section.lines.push(line.clone());
        };
        match (what, word.as_str()) {
            ("all", "granted") => {
                section.allow(Access::Granted);
                self.draft.leave(&line, SERVED);
            }
            ("all", _) => section.allow(Access::Denied),
            ("ip" | "local" | "host" | "forward-dns", _) => {
                section.allow(Access::ByAddress);
                section.limits.push(line);
            }
            ("not", _) => self.draft.leave(&line, NOT_BLOCKED),
            ("valid-user", _) => user("any", Vec::new()),
            ("user", _) => user("users", arguments.get(1..).unwrap_or_default().to_vec()),
            _ => user("other", Vec::new()),
        }
    }

    /// `Allow from` and `Deny from`.
    fn allow(&mut self, line: &str, allow: bool, arguments: &[String]) {
        let all = arguments.get(1).is_some_and(|word| word.eq_ignore_ascii_case("all"));
        let Some(section) = self.open.last_mut() else { return };
        match (allow, all) {
            (true, true) => {
                section.allow(Access::Granted);
                self.draft.leave(line, SERVED);
            }
            (false, true) => section.allow(Access::Denied),
            (true, false) => {
                section.allow(Access::ByAddress);
                section.limits.push(line.to_owned());
            }
            (false, false) => self.draft.leave(line, NOT_BLOCKED),
        }
    }

    fn auth(&mut self, line: &str, name: &str, arguments: &[String]) {
        let key = match name {
            "authname" => "realm",
            "authuserfile" => "file",
            "authtype" => "type",
            _ => return self.draft.leave(line, "groups are not known here: Require user names each of them"),
        };
        if let Some(section) = self.here() {
            section.auth.insert(key, arguments.to_vec());
            section.lines.push(line.to_owned());
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
