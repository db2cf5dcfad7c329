//! Pages that show a folder.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use std::hash::{BuildHasher, RandomState};

use super::folder::{self, ENTRIES_MAX, Entry, Folder, Kind};

const STYLE: &str = include_str!("listing.css");
const SCRIPT: &str = include_str!("listing.js");

/// The page of Python's `http.server`, line by line, because programs read it.
pub(super) fn python(path: &str, folder: &Folder, surrogates: bool) -> (HeaderMap, Vec<u8>) {
    let nonce = nonce();
    let title = format!("Directory listing for {path}");
    let page = html! {
        (PreEscaped("<!DOCTYPE HTML>\n"))
        html lang="en" { "\n"
            head { "\n"
                meta charset="utf-8"; "\n"
                style nonce=(nonce) { "\n:root {\ncolor-scheme: light dark;\n}\n" } "\n"
                title { (title) } "\n"
            } "\n"
            body { "\n"
                h1 { (title) } "\n"
                hr; "\n"
                ul { "\n"
                    @for entry in &folder.entries {
                        li { a href=(if surrogates { entry.surrogate_href() } else { entry.href() }) { (if surrogates { entry.stand_ins() } else { entry.shown() }) (python_mark(entry)) } } "\n"
                    }
                } "\n"
                (truncated(folder))
                hr; "\n"
            } "\n"
        } "\n"
    };
    let page = page.into_string();
    let page = if surrogates { folder::octets_for_stand_ins(&page) } else { page.into_bytes() };
    (fields("text/html; charset=utf-8", Some(&nonce)), page)
}

fn python_mark(entry: &Entry) -> &'static str {
    match entry {
        Entry { link: true, .. } => "@",
        Entry { kind: Kind::Folder, .. } => "/",
        Entry { .. } => "",
    }
}

/// A page for people: folders first, sizes, dates, and a filter for those who have JavaScript.
pub(super) fn nice(path: &str, folder: &Folder) -> (HeaderMap, Vec<u8>) {
    let nonce = nonce();
    let mut entries: Vec<_> = folder.entries.iter().collect();
    entries.sort_by_key(|entry| entry.kind != Kind::Folder); // stable: names stay in order
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Files in " (path) }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Files in " (path) }
                    p #filter hidden { label { "Filter " input type="search" autocomplete="off"; } " " output {} }
                    (truncated(folder))
                    table {
                        thead { tr {
                            th scope="col" { "Name" }
                            th scope="col" .number { "Size" }
                            th scope="col" { "Changed (UTC)" }
                        } }
                        tbody {
                            @if path != "/" { tr .up { td { a href="../" { "../" } } td {} td {} } }
                            @for entry in entries { (row(entry)) }
                        }
                    }
                    @if folder.entries.is_empty() { p { "This folder is empty." } }
                }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    };
    (fields("text/html; charset=utf-8", Some(&nonce)), page.into_string().into_bytes())
}

fn row(entry: &Entry) -> Markup {
    html! {
        tr {
            td {
                a href=(entry.href()) { (entry.shown()) @if entry.kind == Kind::Folder { "/" } }
                @if entry.link { " " span .mark { "link" } }
                @if entry.kind == Kind::Script { " " span .mark { "script" } }
            }
            td .number { @if let Some(size) = entry.size { span title=(format!("{size} octets")) { (human(size)) } } }
            td { @if let Some(date) = date(entry) { time datetime=(date) { (date[..16].replace('T', " ")) } } }
        }
    }
}

fn truncated(folder: &Folder) -> Markup {
    html! { @if folder.truncated { p { "Only " (ENTRIES_MAX) " of the names in this folder are shown." } "\n" } }
}

/// The same for programs.
pub(super) fn json(path: &str, folder: &Folder) -> (HeaderMap, Vec<u8>) {
    #[derive(Serialize)]
    struct Page<'a> {
        path: &'a str,
        truncated: bool,
        entries: Vec<Row>,
    }
    #[derive(Serialize)]
    struct Row {
        name: String,
        href: String,
        kind: &'static str,
        link: bool,
        size: Option<u64>,
        modified: Option<String>,
    }
    let rows = folder.entries.iter().map(|entry| Row {
        name: entry.shown(),
        href: entry.href(),
        kind: match entry.kind {
            Kind::Folder => "folder",
            Kind::File => "file",
            Kind::Script => "script",
        },
        link: entry.link,
        size: entry.size,
        modified: date(entry),
    });
    let page = Page { path, truncated: folder.truncated, entries: rows.collect() };
    (fields("application/json", None), serde_json::to_vec(&page).unwrap_or_default())
}

/// `2026-11-21T07:08:52Z`
fn date(entry: &Entry) -> Option<String> {
    jiff::Timestamp::from_second(entry.modified?).ok().map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// `12.3 KiB`
fn human(size: u64) -> String {
    let mut unit = 1_u64;
    let mut name = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if size / unit < 1024 {
            break;
        }
        unit *= 1024;
        name = larger;
    }
    if unit == 1 {
        return format!("{size} B");
    }
    let tenths = u128::from(size) * 10 / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// A page runs nothing and loads nothing but what stands in it (a file's name cannot know the nonce).
fn fields(kind: &'static str, nonce: Option<&str>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let allowed = nonce.map(|nonce| format!("style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "));
    let allowed = allowed.unwrap_or_default();
    let policy = format!("default-src 'none'; {allowed}base-uri 'none'; form-action 'none'; frame-ancestors 'self'");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        fields.insert(CONTENT_SECURITY_POLICY, policy);
    }
    fields
}

fn nonce() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind, link: bool) -> Entry {
        Entry { name: name.into(), kind, link, size: Some(12_345), modified: Some(1_795_244_932) }
    }

    fn folder() -> Folder {
        let entries = vec![
            entry("a&<b>\".txt", Kind::File, false),
            entry("javascript:alert(1)", Kind::File, false),
            entry("run.py", Kind::Script, false),
            entry("sub dir", Kind::Folder, false),
            entry("there", Kind::Folder, true),
        ];
        Folder { entries, truncated: true }
    }

    #[test]
    fn the_python_page_has_pythons_lines() {
        let (fields, page) = python("/a<b/", &folder(), false);
        let page = String::from_utf8(page).unwrap();
        for line in [
            "<!DOCTYPE HTML>",
            "<title>Directory listing for /a&lt;b/</title>",
            "<h1>Directory listing for /a&lt;b/</h1>",
            "<hr>",
            "<ul>",
            "<li><a href=\"a%26%3Cb%3E%22.txt\">a&amp;&lt;b&gt;&quot;.txt</a></li>",
            "<li><a href=\"./javascript%3Aalert%281%29\">javascript:alert(1)</a></li>",
            "<li><a href=\"sub%20dir/\">sub dir/</a></li>",
            "<li><a href=\"there/\">there@</a></li>",
            "</ul>",
            "<p>Only 10000 of the names in this folder are shown.</p>",
            "</html>",
        ] {
            assert!(page.lines().any(|have| have == line), "{line}\n{page}");
        }
        let policy = fields[CONTENT_SECURITY_POLICY].to_str().unwrap();
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        assert!(page.contains(&format!("<style nonce=\"{nonce}\">")));
    }

    #[test]
    fn the_nice_page_escapes_and_marks() {
        let (_, page) = nice("/x/", &folder());
        let page = String::from_utf8(page).unwrap();
        for piece in [
            "<a href=\"run.py\">run.py</a> <span class=\"mark\">script</span>",
            "<a href=\"there/\">there/</a> <span class=\"mark\">link</span>",
            "a&amp;&lt;b&gt;",
            "12.0 KiB",
            "2026-11-21 07:08",
            "href=\"../\"",
        ] {
            assert!(page.contains(piece), "{piece}\n{page}");
        }
        assert!(!page.contains("<b>"));
        assert!(page.find("sub dir").unwrap() < page.find("run.py").unwrap(), "folders come first");
        assert!(!String::from_utf8(nice("/", &folder()).1).unwrap().contains("../"));
    }

    #[test]
    fn json_for_programs() {
        let (_, text) = json("/x/", &folder());
        let page: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(page["truncated"], true);
        assert_eq!(page["entries"][2]["kind"], "script");
        assert_eq!(page["entries"][3]["href"], "sub%20dir/");
        assert_eq!(page["entries"][0]["modified"], "2026-11-21T07:08:52Z");
    }

    #[test]
    fn sizes_for_people() {
        for (size, wanted) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "15.9 EiB")]
        {
            assert_eq!(human(size), wanted);
        }
    }
}
