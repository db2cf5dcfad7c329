//! busybox httpd.conf: a letter, a colon, a value.

use super::draft::{Draft, Route, list, quote};

pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let mut home = ".".to_owned();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if let Some(line) = lines().find(|line| line.starts_with("H:")) {
        line[2..].clone_into(&mut home);
    }
    draft.top("document-root", quote(&home));
    draft.route(Route::new("/cgi-bin/", "scripts", format!("{}/cgi-bin", home.trim_end_matches('/'))));
    for line in lines() {
        let Some((key, value)) = line.split_once(':') else {
            draft.leave(line, "nothing here corresponds to it");
            continue;
        };
        match key {
            "H" => {}
            "I" => draft.top("index", list(&[value])),
            "A" | "D" => draft.leave(line, "ACCESS IS NOT LIMITED BY ADDRESS: bind to fewer of them"),
            "P" => draft.leave(line, "no proxy is built in: put one in front"),
            "E404" => draft.leave(line, "DOCUMENT ROOT/404.html is the page for what is not there"),
            _ if key.starts_with('E') => draft.leave(line, "only 404 has a page of its own: DOCUMENT ROOT/404.html"),
            _ if key.starts_with("*.") => {
                let mut route = Route::new(key, "scripts", home.clone());
                route.set("interpreter", format!("{{ {} = {} }}", quote(&key[1..]), quote(value)));
                draft.route(route);
            }
            _ if key.starts_with('.') => draft.leave(line, "media types come from /etc/mime.types"),
            _ if key.starts_with('/') => {
                draft.leave(
                    &format!("{key}:(user):(password)"),
                    "CREDENTIALS: htpasswd -cB FILE USER, then auth = { file = \"FILE\" } in the route for that path",
                );
            }
            _ => draft.leave(line, "nothing here corresponds to it"),
        }
    }
    draft
}
