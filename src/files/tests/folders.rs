//! Listings.

use super::*;

#[tokio::test]
async fn every_listed_name_leads_back_to_its_file() {
    use std::os::unix::ffi::OsStringExt;
    let site = Site::new();
    let names: &[&[u8]] = &[
        b"plain.txt",
        b"a b",
        b"<script>alert(1)",
        b"\"quoted\"&amp;",
        b"javascript:alert(1)",
        b":colon",
        b"100%",
        b"%2e%2e",
        b"q?x=1#y",
        b"back\\slash",
        b"broken\xff\xfe",
        "ü\u{202e}".as_bytes(),
        b"new\tline",
        b"'single'",
        b"..x",
        b"~tilde",
    ];
    for name in names {
        fs::write(site.path("").join(std::ffi::OsString::from_vec(name.to_vec())), name).unwrap();
    }
    for style in [Listing::Python, Listing::Nice] {
        let tree = tree_with(&site, |options| {
            options.listing = style;
            options.hide_dotfiles = false;
        });
        let answered = get(&tree, "/").await.unwrap();
        let page = answered.text();
        assert!(!page.contains("<script>alert"));
        let mut seen = Vec::new();
        for href in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            // As a browser resolves it: neither a scheme nor a host.
            let first = href.split(['/', '?', '#']).next().unwrap();
            assert!(!first.contains(':') && !href.starts_with('/'), "{href}");
            seen.push(get(&tree, &format!("/{href}")).await.unwrap().body);
        }
        seen.sort();
        let mut wanted: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
        wanted.sort();
        assert_eq!(seen, wanted);
    }
}

#[tokio::test]
async fn listings_are_sorted_bounded_and_private() {
    let site = Site::new();
    for name in ["b.txt", "A.txt", ".hidden", "c/x", ".well-known/x"] {
        site.write(name, "x");
    }
    symlink("c", site.path("link")).unwrap();
    symlink("nowhere", site.path("broken")).unwrap();
    let tree = tree_with(&site, |options| options.listing = Listing::Python);
    let page = get(&tree, "/").await.unwrap();
    let names: Vec<_> =
        page.text().split("\">").skip(1).filter_map(|rest| rest.strip_suffix("</li>\n").or(Some(rest))).collect();
    let names: Vec<_> = names
        .iter()
        .filter_map(|rest| rest.split("</a>").next().filter(|n| !n.contains('<') && n.len() < 20 && !n.contains('\n')))
        .collect();
    assert_eq!(names, [".well-known/", "A.txt", "b.txt", "broken@", "c/", "link@"]);
    assert!(page.text().contains("<h1>Directory listing for /</h1>"));
    let head = ask(&tree, Method::HEAD, "/", &[]).await.unwrap();
    assert_eq!(head.body.len(), 0);
    assert!(head.field(CONTENT_LENGTH).parse::<usize>().unwrap() > 100);

    let nice = tree_with(&site, |options| options.listing = Listing::Nice);
    let answered = ask(&nice, Method::GET, "/", &[(ACCEPT, "application/json")]).await.unwrap();
    assert_eq!((answered.field(CONTENT_TYPE), answered.field(VARY)), ("application/json", "accept"));
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 6);
    let browser = ask(&nice, Method::GET, "/", &[(ACCEPT, "text/html,application/json;q=0.9")]).await.unwrap();
    assert!(browser.text().starts_with("<!DOCTYPE html>"));
    assert!(browser.fields["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));

    fs::create_dir(site.path("many")).unwrap();
    for number in 0..=folder::ENTRIES_MAX {
        fs::File::create(site.path("many").join(number.to_string())).unwrap();
    }
    let many = get(&tree, "/many/").await.unwrap();
    assert_eq!(many.text().matches("<li>").count(), folder::ENTRIES_MAX);
    assert!(many.text().contains("Only 10000 of the names"));
}
