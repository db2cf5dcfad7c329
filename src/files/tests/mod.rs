//! Trees on a real disk, asked through [`serve`].

mod contents;
mod folders;
mod memory;
mod names;
mod secrets;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, VARY,
};
use http_body_util::BodyExt;

use super::open::Identity;
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

fn tree_with(site: &Site, change: impl FnOnce(&mut Options)) -> Tree {
    let mut options = site.options();
    change(&mut options);
    tree(options)
}

/// Asks until the answer comes from memory.
async fn remember(tree: &Tree, target: &str) {
    let name = tree.name(&[&target.as_bytes()[1..]]).unwrap();
    for _ in 0..1_000 {
        get(tree, target).await.unwrap();
        if tree.remembered(&name).is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{target} was never kept");
}

/// Waits until the clock is so far behind a file's last change that its times can be trusted.
async fn settle(path: &Path) {
    for _ in 0..1_000 {
        if Identity::of(&rustix::fs::stat(path).unwrap()).settled(SystemTime::now()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} never settled", path.display());
}

fn exchange(one: &Path, other: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}
