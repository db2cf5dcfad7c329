//! What answers a path: pure, decided from the path alone.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::auth::Auth;
use crate::builtin::Endpoint;
use crate::files::Tree;
use crate::gateway::Settings;
use crate::limits::Admission;
use crate::path::UrlPath;

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `/cgi-bin/`: everything below. The text ends in `/`.
    Prefix(Vec<u8>),
    /// `/api/items`: exactly this path.
    Exact(Vec<u8>),
    /// `*.zzz` (below `/`) or `/php/*.php`: any path below the first that has a segment ending in the second.
    Suffix(Vec<u8>, Vec<u8>),
}

/// One row of the routing table.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which paths.
    pub pattern: Pattern,
    /// What answers them.
    pub target: Target,
    /// Who may come.
    pub auth: Option<Arc<Auth>>,
    /// Fields that every answer of this route carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether only requests for a WebSocket come here; others look further.
    pub for_upgrades: bool,
}

/// What answers.
#[derive(Clone, Debug)]
pub enum Target {
    /// The programs of a folder.
    Scripts(Arc<Scripts>),
    /// One program, file or no file (Apache's `Action`).
    Script(Arc<Scripts>),
    /// Files.
    Files(Arc<Files>),
    /// Another place.
    Redirect(StatusCode, Vec<u8>),
    /// Part of the server.
    Builtin(Endpoint),
    /// What the server is doing.
    Status(crate::status::Page),
}

/// The programs of a route.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// The folder, or the one program; absolute.
    pub path: PathBuf,
    /// How they run.
    pub settings: Arc<Settings>,
    /// How many at once.
    pub admission: Arc<Admission>,
    /// How their WebSockets speak.
    pub websocket: crate::websocket::Settings,
    /// How they are spoken to, whatever their names say.
    pub speaks: Option<crate::websocket::Speaks>,
    /// Arguments in front of those from the query.
    pub arguments: Vec<CString>,
    /// SCRIPT_NAME, where it is not the part of the path that chose the script.
    pub script_name: Option<Vec<u8>>,
    /// Where they run, if not in their own folder.
    pub folder: Option<PathBuf>,
}

/// The files of a route.
#[derive(Clone, Debug)]
pub struct Files {
    /// The files.
    pub tree: Tree,
}

/// A route, and how much of the path it ate.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    /// The route.
    pub route: &'a Route,
    /// Octets of the decoded path that the route's prefix takes, without its last `/`.
    pub from: usize,
}

impl Pattern {
    /// Reads a pattern as written in the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes().to_vec();
        if let Some(star) = text.find('*') {
            let (base, suffix) = (&bytes[..star], &bytes[star + 1..]);
            let base = if base.is_empty() { b"/" } else { base };
            let usable = base.starts_with(b"/") && base.ends_with(b"/") && !suffix.is_empty();
            return (usable && !suffix.iter().any(|b| b"*/".contains(b)))
                .then(|| Self::Suffix(base.to_vec(), suffix.to_vec()));
        }
        match bytes.as_slice() {
            [b'/', .., b'/'] | [b'/'] => Some(Self::Prefix(bytes)),
            [b'/', ..] => Some(Self::Exact(bytes)),
            _ => None,
        }
    }

    /// Its class (0 is a prefix, 1 a suffix, 2 exact), its length and what it eats of the path. `None`: it does not fit.
    fn fits(&self, path: &UrlPath, whole_path: bool) -> Option<(usize, usize, usize)> {
        let bytes = path.as_bytes();
        match self {
            Self::Exact(exact) => (bytes == exact).then_some((2, exact.len(), exact.len())),
            Self::Prefix(prefix) => bytes.starts_with(prefix).then_some((0, prefix.len(), prefix.len() - 1)),
            Self::Suffix(base, suffix) => {
                if !bytes.starts_with(base) {
                    return None;
                }
                let ends = |s: crate::path::Segment<'_>| s.bytes.ends_with(suffix) && s.bytes.len() > suffix.len();
                let last = |s: crate::path::Segment<'_>| s.end == bytes.len();
                let from = base.len() - 1;
                let fits = path.segments(from).any(|s| ends(s) && (!whole_path || last(s)));
                fits.then_some((1, base.len() + suffix.len(), from))
            }
        }
    }
}

/// The route for `path`, if any; `upgrade` is whether a WebSocket is asked for.
///
/// An exact path goes first. Of suffixes and of prefixes the longest counts, and a suffix goes before a prefix (as an
/// nginx `location ~` does), with one exception: a prefix of programs, or that leads elsewhere, is a place of its own
/// (as a `ScriptAlias` is, or a `^~`), and goes before a suffix for a wider place. Otherwise `*.cgi` would take
/// `/cgit/tree/x.cgi` from cgit.
pub fn find<'a>(routes: &'a [Route], path: &UrlPath, upgrade: bool) -> Option<Match<'a>> {
    let mut best: [Option<(usize, Match<'a>)>; 3] = [None; 3];
    for route in routes.iter().filter(|route| upgrade || !route.for_upgrades) {
        // One program for a suffix gets the whole path as PATH_INFO, so only the end of the path counts.
        let whole_path = matches!(route.target, Target::Script(_));
        let Some((class, length, from)) = route.pattern.fits(path, whole_path) else { continue };
        // The first of two that fit equally well counts: the operator's stand before the built-in ones.
        if best[class].is_none_or(|(longest, _)| length > longest) {
            best[class] = Some((length, Match { route, from }));
        }
    }
    let [prefix, suffix, exact] = best.map(|best| best.map(|(_, found)| found));
    let narrow = |prefix: &Match<'_>| suffix.is_some_and(|suffix| prefix.takes_from(&suffix));
    exact.or_else(|| prefix.filter(narrow)).or(suffix).or(prefix)
}

impl Match<'_> {
    /// Whether this prefix is a narrower place than that of the suffix, and has something of its own for every path
    /// there. A suffix that closes paths, or asks for a password, is taken from by nobody.
    fn takes_from(&self, suffix: &Match<'_>) -> bool {
        let programs = |target: &Target| matches!(target, Target::Script(_) | Target::Scripts(_));
        self.from > suffix.from
            && (programs(&self.route.target) || matches!(self.route.target, Target::Redirect(..)))
            && programs(&suffix.route.target)
            && suffix.route.auth.is_none()
    }
}

/// The files beside the scripts of `route`: those of a later route for the same paths.
pub fn files_beside<'a>(routes: &'a [Route], route: &Route) -> Option<(&'a Route, &'a Arc<Files>)> {
    let mut later = routes.iter().skip_while(|other| !std::ptr::eq(*other, route)).skip(1);
    later.find_map(|other| match &other.target {
        Target::Files(files) if other.pattern == route.pattern => Some((other, files)),
        _ => None,
    })
}

/// Whether `path` lacks only the last slash to be that of a prefix route for scripts or files (`/cgi-bin`).
pub fn lacks_slash(routes: &[Route], path: &UrlPath) -> bool {
    routes.iter().any(|route| match &route.pattern {
        Pattern::Prefix(prefix) => prefix.len() > 1 && prefix[..prefix.len() - 1] == *path.as_bytes(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Escapes;

    fn route(pattern: &str) -> Route {
        Route {
            pattern: Pattern::parse(pattern).unwrap(),
            target: Target::Redirect(StatusCode::FOUND, pattern.into()),
            auth: None,
            headers: Vec::new(),
            for_upgrades: false,
        }
    }

    #[test]
    fn the_best_fitting_route_answers() {
        let routes: Vec<_> =
            ["/", "/cgi-bin/", "/cgi-bin/auth/", "/api/items", "*.zzz", "/php/*.php", "/cgi-bin/"].map(route).into();
        for (path, wanted, from) in [
            ("/", "/", 0),
            ("/x", "/", 0),
            ("/cgi-bin/x", "/cgi-bin/", 8),
            ("/cgi-bin%2fx", "/cgi-bin/", 8),
            ("/cgi-binx", "/", 0),
            ("/cgi-bin", "/", 0),
            ("/x/../cgi-bin/x", "/cgi-bin/", 8),
            ("/cgi-bin/auth/x", "/cgi-bin/auth/", 13),
            ("/api/items", "/api/items", 10),
            ("/api/items/", "/", 0),
            ("/a/b.zzz", "*.zzz", 0),
            ("/.zzz", "/", 0),
            ("/php/a.php/x", "/php/*.php", 4),
            ("/a.php", "/", 0),
        ] {
            let parsed = UrlPath::parse(path.as_bytes(), Escapes::Strict).unwrap();
            let found = find(&routes, &parsed, false).unwrap();
            let Target::Redirect(_, to) = &found.route.target else { panic!() };
            assert_eq!((std::str::from_utf8(to).unwrap(), found.from), (wanted, from), "{path}");
        }
    }

    #[test]
    fn a_narrow_place_of_programs_goes_before_a_wide_suffix() {
        let settings = std::sync::Arc::new(Settings::default());
        let programs = || {
            Arc::new(Scripts {
                path: PathBuf::new(),
                settings: settings.clone(),
                admission: Arc::new(Admission::new(1, 1, std::time::Duration::ZERO)),
                websocket: crate::websocket::Settings::default(),
                speaks: None,
                arguments: Vec::new(),
                script_name: None,
                folder: None,
            })
        };
        let tree = Tree::new(crate::files::Options::new("/"), Arc::default(), Arc::default());
        let files = Arc::new(Files { tree });
        let of = |pattern, target| Route { target, ..route(pattern) };
        let routes = [
            of("/", Target::Files(files.clone())),
            of("*.cgi", Target::Scripts(programs())),
            of("/cgit/*.pl", Target::Script(programs())),
            of("*.inc", Target::Files(files.clone())),
            of("/cgit/", Target::Script(programs())),
            of("/cgit/static/", Target::Files(files.clone())),
            of("/cgi-bin/", Target::Scripts(programs())),
            of("/docs/", Target::Files(files)),
            of("/docs/y.cgi", Target::Script(programs())),
            route("/old/"),
        ];
        for (path, wanted) in [
            ("/x.cgi", "*.cgi"),
            ("/docs/x.cgi", "*.cgi"),
            ("/docs/y.cgi", "/docs/y.cgi"),
            ("/cgit/tree/x.cgi", "/cgit/"),
            ("/cgit/tree/x.pl", "/cgit/*.pl"),
            ("/cgit/tree/x.inc", "*.inc"),
            ("/cgit/static/x.cgi", "*.cgi"),
            ("/cgi-bin/x.cgi/more", "/cgi-bin/"),
            ("/cgi-bin/x.pl", "/cgi-bin/"),
            ("/old/x.cgi", "/old/"),
        ] {
            let parsed = UrlPath::parse(path.as_bytes(), Escapes::Strict).unwrap();
            let found = find(&routes, &parsed, false).unwrap();
            assert_eq!(found.route.pattern, Pattern::parse(wanted).unwrap(), "{path}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for text in ["", "x", "*", "a*.b", "/a*/b", "/a/*", "/*.*"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
