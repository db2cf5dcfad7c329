//! Which path names which file.

use super::*;

#[tokio::test]
async fn what_is_not_there_is_404() {
    let site = Site::new();
    site.write("file", "x");
    site.write("sub/file", "x");
    site.write(".secret", "x");
    site.write("sub/.git/config", "x");
    site.write(".well-known/x", "x");
    let tree = site.tree();
    let long = format!("/{}", "a".repeat(300));
    let longer = "/a".repeat(4_000);
    for (target, wanted) in [
        ("/file", 200),
        ("/file/", 404),
        ("/file/x", 404),
        ("/file/index.html", 404),
        ("/sub%2ffile", 404),
        ("/sub/file", 200),
        ("/sub/./file", 200),
        ("/missing", 404),
        ("/.secret", 404),
        ("/sub/.git/config", 404),
        ("/.well-known/x", 200),
        ("/sub/", 404),
        ("/", 404),
        (&long, 404),
        (&longer, 404),
        ("/sub/..%5c..%5cetc", 404),
        ("/%c0%ae%c0%ae/etc/passwd", 404),
        ("/%252e%252e/etc/passwd", 404),
        ("/../etc/passwd", 400),
        ("/file%00.html", 400),
    ] {
        assert_eq!(status(&tree, target).await, wanted, "{target}");
    }
    let open = tree_with(&site, |options| options.hide_dotfiles = false);
    assert_eq!(status(&open, "/.secret").await, 200);
}

#[tokio::test]
async fn a_folder_without_its_slash_is_redirected_by_path_alone() {
    let site = Site::new();
    site.write("sub/index.html", "i");
    site.write("a b%\\?/x", "x");
    site.write("evil.example/x", "x");
    let tree = site.tree();
    for (target, location) in [
        ("/sub", "/sub/"),
        ("/sub?a=%2f&b=c", "/sub/?a=%2f&b=c"),
        ("/sub?", "/sub/?"),
        ("//evil.example", "/evil.example/"),
        ("//evil.example?x", "/evil.example/?x"),
        ("/x/..//evil.example", "/evil.example/"),
        ("/%2e/sub", "/sub/"),
        ("/a%20b%25%5c%3f", "/a%20b%25%5C%3F/"),
        ("/sub?\\\\evil", "/sub/?%5C%5Cevil"),
    ] {
        let answered = get(&tree, target).await.unwrap();
        assert_eq!((answered.status, answered.field(LOCATION)), (301, location), "{target}");
        assert_eq!(answered.field(CONTENT_LENGTH), "0");
    }
    assert_eq!(status(&tree, "/%2f%2fevil.example").await, 404);
    assert_eq!(status(&tree, "/%5cevil.example").await, 404);
}

#[tokio::test]
async fn the_first_index_answers_for_its_folder() {
    let site = Site::new();
    site.write("both/index.html", "html");
    site.write("both/index.htm", "htm");
    site.write("second/index.htm", "htm");
    site.write("script/index.cgi", "#!");
    site.write("script/index.htm", "htm");
    site.write("folder/index.html/x", "x");
    site.write("folder/index.htm", "htm");
    let tree = tree_with(&site, |options| {
        options.index = ["index.html", "index.cgi", "index.htm"].map(str::to_owned).to_vec();
        options.script_suffixes = vec![".cgi".to_owned()];
    });
    assert_eq!(get(&tree, "/both/").await.unwrap().text(), "html");
    assert_eq!(get(&tree, "/second/").await.unwrap().text(), "htm");
    assert_eq!(get(&tree, "/folder/").await.unwrap().text(), "htm");
    let found = found(&tree, Method::GET, "/script/", &[]).await;
    assert!(matches!(found, Ok(Found::Index { file_name }) if file_name == "index.cgi"));
}

#[tokio::test]
async fn a_prefix_is_not_part_of_the_name() {
    let site = Site::new();
    site.write("sub/file", "x");
    let tree = site.tree();
    let headers = HeaderMap::new();
    for (target, from, wanted) in [("/files/sub/file", 6, 200), ("/files/sub", 6, 301), ("/files", 6, 301)] {
        let path = UrlPath::parse(target.as_bytes(), Escapes::Strict).unwrap();
        let request = Request { method: &Method::GET, path: &path, from, query: None, headers: &headers };
        let Ok(Found::Response(response)) = serve(&tree, request).await else { panic!("{target}") };
        assert_eq!(response.status().as_u16(), wanted, "{target}");
        if wanted == 301 {
            assert_eq!(response.headers()[LOCATION], format!("{target}/"));
        }
    }
}

#[tokio::test]
async fn an_applications_page_answers_for_its_addresses() {
    let site = Site::new();
    site.write("app.html", "app");
    site.write("real.txt", "real");
    site.write(".secret", "secret");
    let tree = tree_with(&site, |options| options.spa_fallback = Some("app.html".to_owned()));
    for (target, accept, wanted) in [
        ("/some/where", "*/*", Ok("app")),
        ("/some/where.d", "text/html", Ok("app")),
        ("/", "text/html", Ok("app")),
        ("/real.txt", "*/*", Ok("real")),
        ("/missing.js", "*/*", Err(Kind::NotFound)),
        ("/.secret", "*/*", Err(Kind::NotFound)),
    ] {
        let answered = ask(&tree, Method::GET, target, &[(ACCEPT, accept)]).await;
        assert_eq!(answered.as_ref().map(Answered::text).map_err(|kind| *kind), wanted, "{target}");
    }
}

#[tokio::test]
async fn the_site_has_its_own_page_for_what_is_missing() {
    let site = Site::new();
    let tree = site.tree();
    assert_eq!(not_found_page(&tree).await, None);
    site.write("not-found.html", "gone fishing");
    assert_eq!(not_found_page(&tree).await.unwrap(), "gone fishing");
    site.write("not-found.html", vec![b'x'; 1 << 20]);
    assert_eq!(not_found_page(&tree).await, None, "bounded");
}
