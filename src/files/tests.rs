//! Trees on a real disk, asked through [`serve`].

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, VARY,
};
use http_body_util::BodyExt;

use super::*;
use crate::path::Escapes;

/// A folder of its own for a test; its `Drop` removes it.
struct Site {
    folder: PathBuf,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Site {
    fn new() -> Self {
        let name = format!("cgiserve-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("root")).unwrap();
        Self { folder }
    }

    /// A path beside the root.
    fn outside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("root").join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn options(&self) -> Options {
        Options::new(self.path("").parent().unwrap().join("root"))
    }

    fn tree(&self) -> Tree {
        tree(self.options())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn tree(options: Options) -> Tree {
    Tree::new(options, Arc::new(Types::built_in()), Arc::new(Cache::default()))
}

/// An answer read to its end.
#[derive(Debug)]
struct Answered {
    status: u16,
    fields: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn field(&self, name: HeaderName) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn found(tree: &Tree, method: Method, target: &str, fields: &[(HeaderName, &str)]) -> Result<Found, Failure> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = UrlPath::parse(path.as_bytes(), Escapes::Strict)?;
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value.parse().unwrap());
    }
    let query = query.map(str::as_bytes);
    serve(tree, Request { method: &method, path: &path, from: 0, query, headers: &headers }).await
}

async fn ask(tree: &Tree, method: Method, target: &str, fields: &[(HeaderName, &str)]) -> Result<Answered, Kind> {
    match found(tree, method.clone(), target, fields).await {
        Ok(Found::Response(response)) => {
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|_| Kind::Internal)?.to_bytes().to_vec();
            let answered = Answered { status: head.status.as_u16(), fields: head.headers, body };
            if method == Method::GET && answered.status != 304 {
                assert_eq!(answered.field(CONTENT_LENGTH), answered.body.len().to_string(), "{target}");
            }
            Ok(answered)
        }
        Ok(Found::Index { file_name }) => panic!("the index of {target} is the script {file_name}"),
        Err(failure) => Err(failure.kind),
    }
}

async fn get(tree: &Tree, target: &str) -> Result<Answered, Kind> {
    ask(tree, Method::GET, target, &[]).await
}

async fn status(tree: &Tree, target: &str) -> u16 {
    get(tree, target).await.map_or_else(|kind| kind.status().as_u16(), |answered| answered.status)
}

#[tokio::test]
async fn a_file_is_served_with_its_fields() {
    let site = Site::new();
    site.write("a b.html", "<p>ä</p>");
    let answered = get(&site.tree(), "/a%20b.html").await.unwrap();
    assert_eq!((answered.status, answered.text()), (200, "<p>ä</p>"));
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "9"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answered.fields[name], value);
    }
    assert!(answered.field(LAST_MODIFIED).ends_with(" GMT"));
    assert!(answered.field(ETAG).ends_with('"'));
    let head = ask(&site.tree(), Method::HEAD, "/a%20b.html", &[]).await.unwrap();
    assert_eq!((head.field(CONTENT_LENGTH), head.body.len()), ("9", 0));
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let site = Site::new();
    site.write("a", "a");
    let tree = site.tree();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE, Method::PATCH] {
        let failure = found(&tree, method, "/a", &[]).await.err().unwrap();
        assert_eq!((failure.kind, failure.allow), (Kind::MethodNotAllowed, Some("GET, HEAD, OPTIONS")));
    }
    let answered = ask(&tree, Method::OPTIONS, "/a", &[]).await.unwrap();
    assert_eq!((answered.status, answered.field(ALLOW)), (204, "GET, HEAD, OPTIONS"));
}

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

fn tree_with(site: &Site, change: impl FnOnce(&mut Options)) -> Tree {
    let mut options = site.options();
    change(&mut options);
    tree(options)
}
