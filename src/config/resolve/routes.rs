//! The routing table: what is written, and what is served without a word of configuration.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::{Resolver, Section};
use crate::auth::Auth;
use crate::builtin;
use crate::config::file::{FileKeys, RouteKeys, ScriptKeys};
use crate::files::{Listing, Options, Tree};
use crate::path::{Escapes, UrlPath};
use crate::route::{Files, Pattern, Route, Target};

impl Resolver<'_> {
    pub(super) fn options(&mut self, of: &Section, root: &Path, keys: &FileKeys) -> Options {
        let all = self.written.files.clone();
        let python_listing = of.python_style;
        let listing = keys.listing.or(all.listing);
        let mut headers = keys.headers.clone().or(all.headers).unwrap_or_default();
        if let Some(cache) = keys.cache_control.clone().or(all.cache_control) {
            headers.push(("Cache-Control".into(), cache));
        }
        let content_type = keys.content_type.clone().or_else(|| self.flags.content_type.clone()).or(all.content_type);
        let default_type = content_type.and_then(|text| {
            let value = HeaderValue::from_str(&text).ok();
            if value.is_none() {
                self.complain(&of.place, "content-type", format!("\"{}\" cannot be sent", text.escape_debug()), "");
            }
            value
        });
        Options {
            root: root.canonicalize().unwrap_or_else(|_| root.to_path_buf()),
            index: keys
                .index
                .clone()
                .or(all.index)
                .unwrap_or_else(|| vec!["index.html".to_owned(), "index.htm".to_owned()]),
            listing: listing.unwrap_or(if python_listing { Listing::Python } else { Listing::Off }),
            hide_dotfiles: !keys.dotfiles.or(all.dotfiles).unwrap_or(of.python),
            symlinks: keys.symlinks.or(all.symlinks).unwrap_or_default(),
            default_type,
            headers: self.headers(&of.place, "headers", &headers),
            nosniff: keys.nosniff.or(all.nosniff).unwrap_or(true),
            surrogates: of.python,
            precompressed: keys.precompressed.or(all.precompressed).unwrap_or(false),
            compress: keys.compress.or(all.compress).unwrap_or(false),
            spa_fallback: keys.fallback.clone().or(all.fallback),
            ..Options::new(root)
        }
    }

    pub(super) fn routes(&mut self, of: &Section) -> Vec<Route> {
        let written = std::mem::take(&mut self.written.routes);
        written.into_iter().flat_map(|keys| self.route(of, keys).unwrap_or_default()).collect()
    }

    fn route(&mut self, of: &Section, keys: RouteKeys) -> Option<Vec<Route>> {
        let place = keys.place.clone();
        let Some(paths) = keys.path.as_ref().filter(|paths| !paths.is_empty()) else {
            self.complain(&place, "route.path", "is missing", "write path = \"/cgi-bin/\"");
            return None;
        };
        let mut patterns = Vec::new();
        for path in paths {
            match Pattern::parse(path) {
                Some(pattern) => patterns.push(pattern),
                None => {
                    let hint = "\"/a/\" is a prefix, \"/a\" exactly that path, \"*.zzz\" and \"/a/*.zzz\" a suffix";
                    self.complain(&place, "route.path", format!("\"{path}\" is not a path"), hint);
                }
            }
        }
        let kinds = [keys.scripts.is_some(), keys.script.is_some(), keys.files.is_some(), keys.redirect.is_some()];
        if kinds.iter().filter(|&&k| k).count() != 1 {
            let hint = "scripts = DIR, script = FILE, files = DIR or redirect = URL";
            self.complain(&place, "route", "says not exactly one thing that answers", hint);
            return None;
        }
        let auth = keys.auth.as_ref().and_then(|auth| {
            let file = auth.file.as_ref().map(|file| of.directory.join(file));
            let realm = auth.realm.clone().unwrap_or_else(|| "cgiserve".to_owned());
            let Some(file) = file else {
                self.complain(&place, "route.auth.file", "is missing", "write auth = { file = \"htpasswd\" }");
                return None;
            };
            match Auth::load(&file, realm, auth.users.clone()) {
                Ok(auth) => Some(Arc::new(auth)),
                Err(error) => {
                    self.complain(&place, "route.auth.file", format!("{}: {error}", file.display()), "");
                    None
                }
            }
        });
        let of = Section { place: place.clone(), ..of.clone() };
        let target = if let Some(folder) = &keys.scripts {
            Target::Scripts(self.scripts(&of, &of.directory.join(folder), &keys.script_keys))
        } else if let Some(file) = &keys.script {
            Target::Script(self.scripts(&of, &of.directory.join(file), &keys.script_keys))
        } else if let Some(folder) = &keys.files {
            let folder = of.directory.join(folder);
            let options = self.options(&of, &folder, &keys.file_keys);
            Target::Files(self.files(options))
        } else {
            let status = keys.status.and_then(|s| u16::try_from(s).ok()).unwrap_or(302);
            let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_redirection);
            let Some(status) = status else {
                self.complain(&place, "route.status", "is not a redirection", "301, 302, 303, 307 or 308");
                return None;
            };
            Target::Redirect(status, keys.redirect.clone().unwrap_or_default().into_bytes())
        };
        let headers = match &target {
            Target::Files(_) => Vec::new(),
            _ => self.headers(&place, "route.headers", &keys.file_keys.headers.clone().unwrap_or_default()),
        };
        let route = |pattern| Route {
            pattern,
            target: target.clone(),
            auth: auth.clone(),
            headers: headers.clone(),
            for_upgrades: keys.for_upgrades.unwrap_or(false),
        };
        Some(patterns.into_iter().map(route).collect())
    }

    /// The site's own pages, which are served like any file at `/`.
    pub(super) fn error_pages(&mut self, place: &str) -> Vec<(StatusCode, UrlPath)> {
        let mut pages = Vec::new();
        for (status, path) in self.written.error_pages.take().unwrap_or_default() {
            let known = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
            let known = known.filter(|status| status.is_client_error() || status.is_server_error());
            let page = UrlPath::parse(format!("/{}", path.trim_start_matches('/')).as_bytes(), Escapes::Strict);
            match (known, page) {
                (Some(status), Ok(page)) => pages.push((status, page)),
                (None, _) => {
                    self.complain(place, "error-pages", format!("\"{status}\" is no failure's status"), "400 to 599");
                }
                (_, Err(error)) => {
                    self.complain(place, "error-pages", format!("\"{path}\" is not a path: {error}"), "");
                }
            }
        }
        pages
    }

    /// What is served without a word of configuration.
    pub(super) fn default_routes(&mut self, of: &Section, split: bool, mut tree: Options, routes: &mut Vec<Route>) {
        let folders: &[&str] = if split { &["cgi-bin"] } else { &["cgi-bin", "htbin"] };
        let defaults = ScriptKeys::default();
        for name in folders {
            let folder = of.directory.join(name);
            let pattern = Pattern::Prefix(format!("/{name}/").into_bytes());
            // Also where the folder does not exist yet: it may appear while the server runs.
            if !routes.iter().any(|route| route.pattern == pattern) {
                let target = Target::Scripts(self.scripts(of, &folder, &defaults));
                routes.push(Route { pattern, target, auth: None, headers: Vec::new(), for_upgrades: false });
            }
            // Also where the operator has another folder at this path.
            tree.excluded.push(folder);
        }
        routes.extend(builtin::routes());
        let target = Target::Files(self.files(tree));
        routes.push(Route {
            pattern: Pattern::Prefix(b"/".to_vec()),
            target,
            auth: None,
            headers: Vec::new(),
            for_upgrades: false,
        });
    }

    /// No script is ever served as text, whatever route leads to its folder.
    pub(super) fn hide_scripts(&self, routes: &mut [Route]) {
        let (mut excluded, mut suffixes) = (Vec::new(), Vec::new());
        for route in routes.iter() {
            match (&route.target, &route.pattern) {
                (Target::Scripts(_), Pattern::Suffix(_, suffix)) => {
                    suffixes.push(String::from_utf8_lossy(suffix).into_owned());
                }
                (Target::Scripts(scripts), _) => excluded.push(scripts.path.clone()),
                _ => {}
            }
        }
        for route in routes.iter_mut() {
            if let Target::Files(files) = &mut route.target {
                let mut options = files.tree.options().clone();
                options.excluded.extend(excluded.iter().cloned());
                options.script_suffixes.extend(suffixes.iter().cloned());
                *files = self.files(options);
            }
        }
    }

    fn files(&self, options: Options) -> Arc<Files> {
        Arc::new(Files { tree: Tree::new(options, self.types.clone(), self.cache.clone()) })
    }
}
