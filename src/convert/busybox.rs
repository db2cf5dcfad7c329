//! busybox httpd.conf: a letter, a colon, a value.

use super::draft::{Draft, HERE, Route, User, list, quote};
use super::pages::Page;

pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let mut home = ".".to_owned();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if let Some(line) = lines().find(|line| line.starts_with("H:")) {
        line[2..].clone_into(&mut home);
    }
    draft.top("document-root", quote(&home));
    draft.root = Some(home.clone());
    draft.route(Route::new("/cgi-bin/", "scripts", format!("{}/cgi-bin", home.trim_end_matches('/'))));
    for line in lines() {
        let Some((key, value)) = line.split_once(':') else {
            draft.leave(line, "nothing here corresponds to it");
            continue;
        };
        match key {
            "H" => {}
            "I" => draft.top("index", list(&[value])),
            // Everybody is what comes without these lines, too.
            "A" | "a" if value == "*" => {}
            "A" | "a" | "D" | "d" => by_address(&mut draft, line),
            "P" => draft.leave(line, "no proxy is built in: put one in front"),
            // The name of a file, read from the home folder.
            _ if key.starts_with('E') => {
                let below = value.strip_prefix(&*home).filter(|rest| rest.starts_with('/'));
                let path = below.map(str::to_owned).or_else(|| (!value.starts_with('/')).then(|| format!("/{value}")));
                let (status, path) = (key[1..].to_owned(), path.unwrap_or_default());
                draft.pages.push(Page { status, path, line: line.to_owned() });
            }
            _ if key.starts_with("*.") => {
                let mut route = Route::new(key, "scripts", home.clone());
                route.set("interpreter", format!("{{ {} = {} }}", quote(&key[1..]), quote(value)));
                draft.route(route);
            }
            _ if key.starts_with('.') => draft.leave(line, "media types come from /etc/mime.types"),
            _ if key.starts_with('/') => match value.split_once(':') {
                Some((name, password)) => draft.users.push(User {
                    path: key.to_owned(),
                    name: name.to_owned(),
                    password: password.to_owned(),
                }),
                None => draft.leave(line, "a path without a user and a password"),
            },
            _ => draft.leave(line, "nothing here corresponds to it"),
        }
    }
    draft
}

/// One list for the whole server, so this machine's own address can stand for it.
fn by_address(draft: &mut Draft, line: &str) {
    draft.top("bind", format!("{} # {HERE}", list(&["127.0.0.1"])));
    draft.leave(
        line,
        "WHO COMES IS NOT LIMITED BY ADDRESS: so bind says that only this machine may; a proxy can say more",
    );
}
