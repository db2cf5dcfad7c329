//! What the sections mean for the routes: the wider place first, so that the narrower has the last word; paths after
//! folders, as Apache does it.

use super::Reader;
use super::section::{Access, Section, alternatives, beginning, suffixes, usual_index};
use crate::convert::draft::{Draft, Route, list, quote};
use crate::convert::spots::{below, of_name};
use crate::convert::verdict::Verdict;

impl Reader {
    pub(super) fn finish(mut self) -> Draft {
        while self.open.len() > 1 {
            self.close();
        }
        let whole = self.open.pop().unwrap_or_default();
        self.whole(&whole);
        let mut sections = std::mem::take(&mut self.done);
        if whole.wants_user() || !whole.limits.is_empty() {
            let access = whole.access.filter(|access| *access != Access::Granted);
            let all = Section { name: "location".to_owned(), argument: "/".to_owned(), access, ..whole };
            sections.push(Section { handlers: Vec::new(), env: Vec::new(), index: Vec::new(), ..all });
        }
        let (files, mut places): (Vec<_>, Vec<_>) = sections.into_iter().partition(|s| s.name.starts_with("files"));
        places.sort_by_key(|section| (section.is_by_path(), section.argument.len()));
        let mut verdicts = Vec::new();
        for section in &places {
            match section.loose {
                true => self.loosely(section, &mut verdicts),
                false => self.scoped(section, &mut verdicts),
            }
        }
        self.php(&mut verdicts);
        self.draft.judge(&verdicts);
        for section in &files {
            self.some_files(section);
        }
        for (_, _, line) in std::mem::take(&mut self.actions) {
            if !self.draft.routes.iter().any(|route| line.contains(route.path.trim_start_matches('*'))) {
                self.draft.leave(&line, "no AddHandler with a suffix goes with it");
            }
        }
        self.draft
    }

    /// What is said for everything.
    fn whole(&mut self, whole: &Section) {
        self.draft.env.extend(whole.env.clone());
        let index = if whole.index.is_empty() { usual_index(&whole.handlers) } else { whole.index.clone() };
        if !index.is_empty() {
            self.draft.top("index", list(&index));
        }
        if whole.listing {
            self.draft.top("listing", quote("nice"));
        }
        if whole.pass_authorization {
            self.draft.scripts.push(("pass-authorization".to_owned(), "true".to_owned()));
        }
        let folders: Vec<(String, String)> = self
            .draft
            .routes
            .iter()
            .filter(|route| route.target.0 == "files")
            .map(|route| (route.path.clone(), route.target.1.clone()))
            .collect();
        for (handler, suffixes) in &whole.handlers {
            if self.draft.root.is_some() || folders.is_empty() {
                self.by_suffix(handler, suffixes, "/", self.draft.root.clone().as_deref());
            }
            for (path, folder) in &folders {
                self.by_suffix(handler, suffixes, path, Some(folder));
            }
        }
    }

    /// What a section with an expression says. A password may be asked for more than was meant; all else must not be
    /// said of more.
    fn loosely(&mut self, section: &Section, verdicts: &mut Vec<(String, Verdict)>) {
        let kind = if section.is_by_path() { "LocationMatch" } else { "DirectoryMatch" };
        let head = format!("<{kind} \"{}\">", section.argument);
        let place = beginning(&section.argument);
        if section.auth().is_some() && !place.is_empty() {
            let (auth, lines) = (section.auth.clone(), section.lines.clone());
            let name = if section.is_by_path() { "location" } else { "directory" }.to_owned();
            let wider = Section { name, argument: place.to_owned(), auth, lines, ..Section::default() };
            self.scoped(&wider, verdicts);
            self.draft
                .leave(&head, "regular expressions are not understood: its password is asked for everything below");
        } else if section.protects()
            && section.argument.contains("\\.")
            && section.argument.trim_start_matches(['^', '/']).starts_with("\\.")
        {
            self.draft.leave(&head, "not needed: names with a dot in front are served to nobody");
        } else {
            let why = if section.protects() { "WHAT IT PROTECTS IS OPEN: " } else { "" };
            self.draft.leave(&head, &format!("{why}regular expressions are not understood"));
            for line in section.lines.iter().chain(&section.limits) {
                self.draft.leave(line, "inside a section that is not taken over");
            }
        }
    }

    /// What a `<Directory>` or `<Location>` says, for the routes that it means.
    fn scoped(&mut self, section: &Section, verdicts: &mut Vec<(String, Verdict)>) {
        let by_path = section.is_by_path();
        let places = alternatives(&section.argument).unwrap_or_else(|| vec![section.argument.clone()]);
        let mut fits = false;
        for place in places {
            let place = place.trim_end_matches('/').to_owned();
            if section.is_of_its_own() {
                for spot in self.draft.spots(by_path, &place, section.protects()) {
                    self.draft.narrow(&spot);
                    fits = true;
                }
            }
            let covers = |route: &Route| below(route.at(by_path), &place) && route.target.0 != "redirect";
            // Programs by suffix first, so that what protects the place protects them.
            let files = self.draft.routes.iter().filter(|route| covers(route) && route.target.0 == "files");
            let files = files.filter(|route| route.path.ends_with('/'));
            let files: Vec<_> = files.map(|route| (route.path.clone(), route.target.1.clone())).collect();
            for (path, folder) in files {
                for (handler, suffixes) in &section.handlers {
                    self.by_suffix(handler, suffixes, &path, Some(&folder));
                }
            }
            // What an action runs for a suffix lies elsewhere, and what it is given lies here.
            let prefixes = self.draft.routes.iter().filter(|route| covers(route) && route.path.ends_with('/'));
            let prefixes: Vec<String> = prefixes.map(|route| route.path.clone()).collect();
            let inside = |route: &Route| route.suffix().is_some() && prefixes.iter().any(|path| path == route.base());
            for route in self.draft.routes.iter_mut().filter(|route| covers(route) || inside(route)) {
                fits = true;
                section.apply(route);
                let verdict = verdict(section);
                if verdict.is_some() || section.access.is_some() || section.wants_user() {
                    verdicts.retain(|(known, _)| *known != route.path);
                    verdicts.extend(verdict.map(|verdict| (route.path.clone(), verdict)));
                }
            }
            if !by_path && self.draft.root.as_deref().is_some_and(|root| below(root.trim_end_matches('/'), &place)) {
                fits = true;
                if section.listing {
                    self.draft.top("listing", quote("nice"));
                }
            }
        }
        if !fits {
            for line in section.lines.iter().chain(&section.limits) {
                self.draft.leave(line, "for a place that no route here serves");
            }
            self.draft.env.extend(section.env.clone());
        } else if !section.wants_user() {
            for line in &section.lines {
                self.draft.leave(line, "no Require asks for a user there");
            }
        }
    }

    /// Routes for files with one of `suffixes` below the path `base`, which is the folder `folder`.
    pub(super) fn by_suffix(&mut self, handler: &str, suffixes: &[String], base: &str, folder: Option<&str>) {
        let pattern = |suffix: &str| if base == "/" { format!("*{suffix}") } else { format!("{base}*{suffix}") };
        let action = self.actions.iter().find(|(name, ..)| name == handler).cloned();
        for suffix in suffixes {
            let line = format!("AddHandler {handler} {suffix}");
            match (&action, folder) {
                _ if handler == "cgi-script" => match folder {
                    Some(folder) => self.draft.suffix_route(Route::new(pattern(suffix), "scripts", folder)),
                    None => self.draft.leave(&line, "no DocumentRoot: write a route with scripts = \"FOLDER\""),
                },
                (Some((_, url, action_line)), _) => match self.file_of(url) {
                    Some(file) => self.draft.suffix_route(Route::new(pattern(suffix), "script", file)),
                    None => self.draft.leave(action_line, "no ScriptAlias says which file that is"),
                },
                (None, Some(folder)) if handler.contains("php") => {
                    self.draft.suffix_route(php_route(pattern(suffix), suffix, folder));
                }
                _ => self.draft.leave(&line, "no Action says what runs it"),
            }
        }
    }

    /// The file that a path of a URL means.
    fn file_of(&self, url: &str) -> Option<String> {
        let mut fitting: Vec<&Route> = self.draft.routes.iter().filter(|route| url.starts_with(&route.path)).collect();
        fitting.sort_by_key(|route| route.path.len());
        let found = fitting.last().map(|route| format!("{}/{}", route.target.1, &url[route.path.len()..]));
        found.or_else(|| self.draft.root.as_ref().map(|root| format!("{root}{url}")))
    }

    /// Where index.php is an index, Apache's PHP module runs it, though nothing in this file says so. Here php-cgi
    /// does, and without it the text of a program is shown to nobody.
    fn php(&mut self, verdicts: &mut Vec<(String, Verdict)>) {
        let names = |(key, value): &(String, String)| key == "index" && value.contains("\"index.php\"");
        let files = self.draft.routes.iter().filter(|route| route.target.0 == "files" && route.path.ends_with('/'));
        let mut places: Vec<Route> = files.filter(|route| route.keys.iter().any(names)).cloned().collect();
        if let Some(root) = &self.draft.root
            && self.draft.top.iter().any(names)
            && !places.iter().any(|place| place.path == "/")
        {
            places.push(Route::new("/", "files", root));
        }
        for place in places {
            let path = if place.path == "/" { "*.php".to_owned() } else { format!("{}*.php", place.path) };
            let mut route = php_route(path.clone(), ".php", &place.target.1);
            if let Some((_, auth)) = place.keys.iter().find(|(key, _)| key == "auth") {
                route.set("auth", auth.clone());
            }
            let verdict = verdicts.iter().find(|(known, _)| *known == place.path).map(|(_, verdict)| verdict.clone());
            if self.draft.route(route) {
                verdicts.extend(verdict.map(|verdict| (path, verdict)));
            }
        }
    }

    /// What a `<Files>` says: of those with some suffix, or of one name.
    fn some_files(&mut self, section: &Section) {
        let name = &section.argument;
        let head = format!("<{} \"{name}\">", if section.name == "files" { "Files" } else { "FilesMatch" });
        let closes =
            section.access == Some(Access::Denied) || section.wants_user() || section.access == Some(Access::ByAddress);
        let dot = if section.name == "files" { name.starts_with('.') } else { name.starts_with("^\\.") };
        if dot {
            if closes {
                self.draft.leave(&head, "not needed: names with a dot in front are served to nobody");
            }
            return;
        }
        if !closes && section.handlers.is_empty() {
            for line in std::iter::once(&head).chain(&section.lines) {
                self.draft.leave(line, "no Require asks for a user there");
            }
            return;
        }
        // Each place that the section stands in, and a route like that place's.
        let bases: Vec<Route> = match &section.within {
            None => vec![Route::new("/", "files", self.draft.root.clone().unwrap_or_default())],
            Some((by_path, place)) => {
                let place = place.trim_end_matches('/');
                for spot in self.draft.spots(*by_path, place, true) {
                    self.draft.narrow(&spot);
                }
                let whole = self.draft.routes.iter().filter(|route| route.path.ends_with('/') && route.only.is_none());
                whole.filter(|route| route.at(*by_path) == place).cloned().collect()
            }
        };
        let Some(suffixes) = suffixes(name) else {
            if closes && !name.contains(['*', '?', '[', '(', '\\', '^', '|']) && !bases.is_empty() {
                for base in bases {
                    let Some(path) = of_name(&base.path, name) else { continue };
                    let mut route = Route { path, bare: false, ..base };
                    match section.auth() {
                        Some(auth) => route.set("auth", auth),
                        None => route.close(format!("{head} is for nobody, or for some only")),
                    }
                    self.draft.route(route);
                }
            } else if closes {
                self.draft
                    .leave(&head, "WHAT IT PROTECTS IS OPEN: its files have no suffix in common; keep them elsewhere");
            }
            return;
        };
        for Route { path: base, target: (_, folder), .. } in bases {
            let folder = Some(folder.as_str()).filter(|folder| !folder.is_empty());
            for (handler, _) in &section.handlers {
                self.by_suffix(handler, &suffixes, &base, folder);
            }
            for suffix in suffixes.iter().filter(|_| closes) {
                let path = if base == "/" { format!("*{suffix}") } else { format!("{base}*{suffix}") };
                self.draft.routes.retain(|route| route.path != path);
                let mut route = Route::new(path, "files", "");
                route.close(format!("{head} is for nobody, or for some only"));
                self.draft.route(route);
            }
        }
    }
}

/// What a section says of who may come; a route that asks for a password is protected by that.
fn verdict(section: &Section) -> Option<Verdict> {
    if section.wants_user() {
        let lines = section.lines.join("; ");
        let why = format!("closed, as only AuthType Basic with an AuthUserFile can be said here: {lines}");
        return section.auth().is_none().then_some(Verdict::Closed(why));
    }
    match section.access? {
        Access::Denied => Some(Verdict::Closed("nobody may see it: Require all denied".to_owned())),
        Access::ByAddress => Some(Verdict::Limited(section.limits.clone())),
        Access::Granted => None,
    }
}

fn php_route(path: String, suffix: &str, folder: &str) -> Route {
    let here =
        ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|bin| std::path::Path::new(bin).join("php-cgi").is_file());
    let mut route = Route::new(path, "scripts", folder);
    if here {
        route.note = Some("Apache's own PHP ran these".to_owned());
        route.set("interpreter", format!("{{ {} = \"php-cgi\" }}", quote(suffix)));
    } else {
        route.close("Apache's own PHP ran these; there is no php-cgi here, so nobody gets their text".to_owned());
    }
    route
}
