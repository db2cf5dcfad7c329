//! Who may come to a route, where cgiserve.toml cannot say it: then it is closed, or only this machine comes.

use super::draft::{Draft, HERE, Route, list};

/// What was said of a route.
#[derive(Clone)]
pub(super) enum Verdict {
    /// Nobody may come, for this reason.
    Closed(String),
    /// Only some addresses may, say these lines.
    Limited(Vec<String>),
}

impl Draft {
    /// Closes what nobody may see, and what only some addresses may, unless this machine is the only one that comes.
    pub(super) fn judge(&mut self, verdicts: &[(String, Verdict)]) {
        let of = |path: &str| verdicts.iter().find(|(known, _)| known == path).map(|(_, verdict)| verdict);
        let limited = |route: &Route| matches!(of(&route.path), Some(Verdict::Limited(_)));
        let serving: Vec<&Route> = self.routes.iter().filter(|route| route.target.0 != "redirect").collect();
        let root_too = self.root.is_none() || serving.iter().any(|route| route.path == "/");
        let all = root_too && serving.iter().all(|route| limited(route));
        let any = serving.iter().any(|route| limited(route));
        if any && (all || !self.top.iter().any(|(key, _)| key == "bind")) {
            self.top.retain(|(key, _)| key != "bind");
            self.top("bind", format!("{} # {HERE}", list(&["127.0.0.1"])));
        }
        let only_here = self.top.iter().any(|(key, value)| key == "bind" && value.contains(HERE));
        let mut told = Vec::new();
        for route in &mut self.routes {
            match of(&route.path) {
                Some(Verdict::Closed(why)) => route.close(why.clone()),
                Some(Verdict::Limited(lines)) => {
                    if !only_here {
                        route.close(format!("closed, as it cannot be limited to some addresses: {}", lines.join("; ")));
                    }
                    told.extend(lines.iter().cloned());
                }
                None => {}
            }
        }
        told.sort();
        told.dedup();
        for line in told {
            let why = if only_here {
                "WHO COMES IS NOT LIMITED BY ADDRESS: so bind says that only this machine may; a proxy can say more"
            } else {
                "WHO COMES CANNOT BE LIMITED BY ADDRESS: what it protects is closed; see the routes with a note"
            };
            self.leave(&line, why);
        }
    }
}
