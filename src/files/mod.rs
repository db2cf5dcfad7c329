//! Static files: from a path to an answer.
//!
//! A file is opened once and everything is asked of the open file; no name is checked first and used later. What
//! disks may have to be waited for is done on other threads; what the kernel has in memory is read on the spot.

mod answer;
mod buffers;
mod cache;
mod compress;
pub mod decide;
mod disks;
pub mod encoding;
mod folder;
mod listing;
mod name;
mod open;
pub mod range;
mod redirect;
mod send;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
pub mod types;

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::failure::{Failure, Kind};
use crate::path::UrlPath;

pub use cache::Cache;
pub use tree::{Listing, Options, Symlinks, Tree};
pub use types::Types;

use encoding::{Accepted, Coding};
use folder::Folder;
use name::{Name, hidden};
pub use redirect::redirect;
use send::{respond, respond_from_memory};
use source::{Source, source};

/// What a tree of files can do, for `Allow`.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// The largest page for what is not found, octets.
const NOT_FOUND_PAGE_MAX: u64 = cache::FILE_MAX;
const NOT_FOUND_PAGE: &str = "not-found.html";

/// What of a request concerns files.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// GET, HEAD, OPTIONS; others are refused.
    pub method: &'a Method,
    /// The whole path.
    pub path: &'a UrlPath,
    /// How many octets of the path a route's prefix took.
    pub from: usize,
    /// The query, without `?`, for the redirect of a folder.
    pub query: Option<&'a [u8]>,
    /// Conditions, ranges, codings, `Accept`.
    pub headers: &'a HeaderMap,
}

/// What came of it.
pub enum Found {
    /// An answer.
    Response(Response<Body>),
    /// The folder's index is a script, which somebody else has to run. The path ends in `/`.
    Index {
        /// One of [`Options::index`].
        file_name: String,
    },
}

/// Answers a request for a file, a folder's index or its listing.
///
/// # Errors
/// 403, 404, 405, 412, 416, and 500 or 503 where the system refused. Only regular files are sent.
pub async fn serve(tree: &Tree, request: Request<'_>) -> Result<Found, Failure> {
    match *request.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(Found::Response(options(tree))),
        _ => return Err(Failure::method_not_allowed(request.method, METHODS)),
    }
    let below = below(tree, request)?;
    if let Some(response) = from_memory(tree, request, below) {
        return response.map(Found::Response);
    }
    // Boxed, so that the futures of all requests are as small as that of a hit.
    Box::pin(from_disk(tree, request, below)).await
}

/// The tree's own page for what is not there (`not-found.html` in its root), to be sent with a 404.
pub async fn not_found_page(tree: &Tree) -> Option<Bytes> {
    let name = tree.name(&[NOT_FOUND_PAGE.as_bytes()]).ok()?;
    match source(tree, &name, &name, None).await.ok()? {
        Source::Memory(entry) => entry.octets.clone(),
        Source::Disk(file) if file.identity.size <= NOT_FOUND_PAGE_MAX => file.read(tree).await.ok(),
        Source::Disk(_) | Source::Folder(_) => None,
    }
}

/// The path below the root, if it may name something there.
fn below<'a>(tree: &Tree, request: Request<'a>) -> Result<&'a [u8], Failure> {
    let below = request.path.relative(request.from);
    let below = below.ok_or_else(|| Failure::new(Kind::NotFound, "an encoded slash cannot choose a file"))?.as_bytes();
    if tree.options.hide_dotfiles && hidden(below) {
        return Err(Failure::new(Kind::NotFound, "names that begin with a dot are hidden"));
    }
    Ok(below)
}

/// The fast path: one lookup and one `stat`.
fn from_memory(tree: &Tree, request: Request<'_>, below: &[u8]) -> Option<Result<Response<Body>, Failure>> {
    if tree.options.precompressed {
        return None; // twins have to be asked for first
    }
    let coding = (tree.options.compress && !request.headers.contains_key(RANGE))
        .then(|| compress::coding(encoding::accepted(request.headers)))
        .flatten();
    let index = match below.last() {
        None if !request.path.ends_with_slash() => return None,
        None | Some(b'/') => tree.options.index.first()?.as_bytes(),
        Some(_) => b"",
    };
    let name = tree.variant(coding.map_or(0, Coding::made), &[below, index]).ok()?;
    let entry = tree.remembered(&name)?;
    respond_from_memory(request, &entry)
}

async fn from_disk(tree: &Tree, request: Request<'_>, below: &[u8]) -> Result<Found, Failure> {
    let found = find(tree, request, below).await;
    match (&found, &tree.options.spa_fallback) {
        (Err(Failure { kind: Kind::NotFound, .. }), Some(page)) if wants_page(request, below) => {
            match file(tree, request, &tree.name(&[page.as_bytes()])?).await? {
                File::Answer(response) => Ok(Found::Response(response)),
                File::Folder(_) => found,
            }
        }
        _ => found,
    }
}

/// Whether a missing `below` is a page of an application, and not one of its parts: those have a suffix and are not
/// asked for as HTML.
fn wants_page(request: Request<'_>, below: &[u8]) -> bool {
    !name::last(below).contains(&b'.') || accepts(request.headers, "text/html")
}

async fn find(tree: &Tree, request: Request<'_>, below: &[u8]) -> Result<Found, Failure> {
    let asked_for_folder = below.last().map_or(request.path.ends_with_slash(), |&last| last == b'/');
    if !asked_for_folder {
        return match file(tree, request, &tree.name(&[below])?).await? {
            File::Answer(response) => Ok(Found::Response(response)),
            File::Folder(_) => Ok(Found::Response(redirect(tree, request)?)),
        };
    }
    for index in &tree.options.index {
        let name = tree.name(&[below, index.as_bytes()])?;
        if tree.is_script(index.as_bytes()) {
            match tree.open(&name, None).await {
                Ok((opened, _)) if !opened.folder => return Ok(Found::Index { file_name: index.clone() }),
                Ok(_) | Err(Failure { kind: Kind::NotFound, .. }) => continue,
                Err(failure) => return Err(failure),
            }
        }
        match file(tree, request, &name).await {
            Ok(File::Answer(response)) => return Ok(Found::Response(response)),
            Ok(File::Folder(_)) | Err(Failure { kind: Kind::NotFound, .. }) => {}
            Err(failure) => return Err(failure),
        }
    }
    // A file with a slash behind it ends here: the kernel says ENOTDIR.
    match file(tree, request, &tree.name(&[below])?).await? {
        File::Folder(folder) => list(tree, request, folder).await.map(Found::Response),
        File::Answer(_) => Err(Failure::new(Kind::NotFound, "not a folder")),
    }
}

/// What a name turned out to be.
enum File {
    Answer(Response<Body>),
    Folder(Arc<OwnedFd>),
}

/// Answers with the file called `name`, or with the best of its twins.
async fn file(tree: &Tree, request: Request<'_>, name: &Name) -> Result<File, Failure> {
    let accepted = if tree.negotiates() { encoding::accepted(request.headers) } else { Accepted::default() };
    let original = source(tree, name, name, None).await?;
    if tree.options.precompressed
        && let Some(modified) = original.modified()
    {
        for coding in accepted.iter() {
            let twin = name.with_suffix(coding.twin(), coding.suffix());
            // Whatever is wrong with a twin, there is still the original. A twin older than that is out of date.
            if let Ok(twin) = source(tree, &twin, name, Some(coding)).await
                && twin.modified().is_some_and(|twin| twin >= modified)
            {
                return respond(tree, request, twin).await;
            }
        }
    }
    if tree.options.compress && !request.headers.contains_key(RANGE) {
        return compress::respond(tree, request, original, accepted).await;
    }
    respond(tree, request, original).await
}

/// The page of an open folder.
async fn list(tree: &Tree, request: Request<'_>, folder: Arc<OwnedFd>) -> Result<Response<Body>, Failure> {
    let style = tree.options.listing;
    if style == Listing::Off {
        return Err(Failure::new(Kind::NotFound, "a folder without an index, and listings are off"));
    }
    let path = String::from_utf8_lossy(request.path.as_bytes()).into_owned();
    let as_json = style == Listing::Nice
        && accepts(request.headers, "application/json")
        && !accepts(request.headers, "text/html");
    // Sorting and writing a large folder is work; a crowd asking for it must not fill all memory with pages.
    let permit = tree.cache.listings.acquire().await;
    let copy = tree.clone();
    let surrogates = tree.options.surrogates;
    let made = open::on_other_thread(move || {
        let folder = Folder::read(&folder, &copy, style == Listing::Nice)?;
        Ok(match style {
            Listing::Nice if as_json => listing::json(&path, &folder),
            Listing::Nice => listing::nice(&path, &folder),
            Listing::Off | Listing::Python => listing::python(&path, &folder, surrogates),
        })
    });
    let name = tree.name(&[])?;
    let made = made.await;
    drop(permit);
    let (mut fields, page) = made?.map_err(|error| open::refused(error, &name, tree.options.symlinks))?;
    fields.insert(CONTENT_LENGTH, page.len().into());
    if style == Listing::Nice {
        tree.vary(&mut fields, true);
    }
    tree.finish(&mut fields);
    let body = if request.method == Method::HEAD { Body::empty() } else { Body::whole(page) };
    Ok(response(StatusCode::OK, fields, body))
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains(kind))
}

fn options(tree: &Tree) -> Response<Body> {
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(ALLOW, HeaderValue::from_static(METHODS));
    tree.finish(&mut fields);
    response(StatusCode::NO_CONTENT, fields, Body::empty())
}

fn response(status: StatusCode, fields: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}
