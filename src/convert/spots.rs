//! Parts of what a route serves: a rule for a place inside makes it a route of its own.

use std::path::Path;

use super::draft::{Draft, NOWHERE, Route};

/// A part of what a route serves.
pub(super) struct Spot {
    pub(super) url: String,
    pub(super) folder: String,
    kind: &'static str,
    /// The route it is a part of; `None`: the document root.
    of: Option<Route>,
}

impl Draft {
    /// Where the folder, or `by_path` the path, `place` lies inside of what a route serves. Of what one program serves
    /// no part can be told from the rest: where it is to be protected, it leads nowhere.
    pub(super) fn spots(&self, by_path: bool, place: &str, protects: bool) -> Vec<Spot> {
        let root = self.root.iter().map(|root| ("/", root.as_str(), "files", None));
        let above = |root: &str| !by_path && below(root, place) && root != place;
        let of_use = |route: &&Route| route.target.0 != "script" || (by_path && protects);
        let routes = self.routes.iter().filter(|route| route.path.ends_with('/')).filter(of_use);
        let routes = routes.map(|route| (&*route.path, &*route.target.1, route.target.0, Some(route.clone())));
        let mut found: Vec<(usize, Spot)> = Vec::new();
        for (path, folder, kind, of) in routes.chain(root) {
            let (path, folder) = (path.trim_end_matches('/'), folder.trim_end_matches('/'));
            let rest = place.strip_prefix(if by_path { path } else { folder });
            let Some(rest) = rest.or(above(folder).then_some("").filter(|_| of.is_none())) else { continue };
            let url = format!("{path}{rest}/");
            if !(rest.is_empty() || rest.starts_with('/')) || self.routes.iter().any(|known| known.path == url) {
                continue;
            }
            let spot = match kind {
                "script" => Spot { url, folder: NOWHERE.to_owned(), kind: "files", of: None },
                kind => Spot { url, folder: format!("{folder}{rest}"), kind, of },
            };
            // One URL is served by one route: the longest.
            match found.iter_mut().find(|(_, known)| known.url == spot.url) {
                Some(known) if known.0 < path.len() => *known = (path.len(), spot),
                Some(_) => {}
                None => found.push((path.len(), spot)),
            }
        }
        found.into_iter().map(|(_, spot)| spot).collect()
    }

    /// Makes the place a route of its own, and programs by suffix in it, too.
    pub(super) fn narrow(&mut self, spot: &Spot) {
        let outer = spot.of.as_ref().map_or("/", |route| &route.path);
        let inside = self.routes.iter().filter(|known| known.base() == outer);
        let programs = inside.filter_map(|known| {
            let path = format!("{}*{}", spot.url, known.suffix()?);
            let folder = if known.target.0 == "script" { &known.target.1 } else { &spot.folder };
            Some(Route { path, target: (known.target.0, folder.clone()), ..known.clone() })
        });
        let programs: Vec<Route> = programs.filter(|_| spot.url != "/").collect();
        let like = spot.of.clone().unwrap_or_default();
        let route = Route { path: spot.url.clone(), bare: false, target: (spot.kind, spot.folder.clone()), ..like };
        let single = (!Path::new(&spot.folder).is_dir()).then(|| spot.single(&route)).flatten();
        let folder = !Path::new(&spot.folder).is_file();
        for route in programs.into_iter().chain([route]).filter(|_| folder).chain(single) {
            self.route(route);
        }
    }
}

impl Spot {
    /// A route for this very file, which is `like` what is around it. A file has no pattern of its own that lets path
    /// behind it through, so it is a suffix but for its first letter: more than meant, and never less.
    fn single(&self, like: &Route) -> Option<Route> {
        let (url, file) = (self.url.trim_end_matches('/'), self.folder.as_str());
        let (base, name) = url.rsplit_once('/')?;
        let folder = if file == NOWHERE { NOWHERE } else { file.rsplit_once('/')?.0 };
        let path = of_name(&format!("{base}/"), name)?;
        let target = (self.kind, folder.to_owned());
        let note = Some(format!("for {url}, with whatever stands behind it"));
        Some(Route { path, target, note, only: Some((url.to_owned(), file.to_owned())), ..like.clone() })
    }
}

/// The pattern for every `name` below `base`, whatever stands behind it.
pub(super) fn of_name(base: &str, name: &str) -> Option<String> {
    let mut letters = name.chars();
    letters.next()?;
    let rest = letters.as_str();
    let base = if base == "/" { "" } else { base };
    (!rest.is_empty() && !rest.contains('*')).then(|| format!("{base}*{rest}"))
}

/// Whether `path` is `place` or below it; both without their last slash.
pub(super) fn below(path: &str, place: &str) -> bool {
    path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}
