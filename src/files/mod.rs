//! Static files: from a path to an answer.
//!
//! A file is opened once and everything is asked of the open file; no name is checked first and used later. What
//! disks may have to be waited for is done on other threads; what the kernel has in memory is read on the spot.

mod answer;
mod buffers;
mod cache;
pub mod decide;
pub mod encoding;
mod folder;
mod listing;
mod name;
mod open;
pub mod range;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
pub mod types;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::failure::{Failure, Kind};
use crate::path::UrlPath;

pub use cache::Cache;
pub use tree::{Listing, Options, Symlinks, Tree};
pub use types::Types;

use cache::{Answer, Entry};
use decide::{Decision, decide};
use encoding::{Accepted, Coding};
use folder::Folder;
use name::{Name, hidden};
use open::{Identity, Opened};
use range::{Selection, Span};
use stream::{FileStream, Piece};

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
        Source::Memory(entry) => Some(entry.octets.clone()),
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
    if tree.negotiates() {
        return None; // twins have to be asked for first
    }
    let index = match below.last() {
        None if !request.path.ends_with_slash() => return None,
        None | Some(b'/') => tree.options.index.first()?.as_bytes(),
        Some(_) => b"",
    };
    let name = tree.name(&[below, index]).ok()?;
    let entry = tree.remembered(&name)?;
    Some(respond_from_memory(request, &entry))
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
            match open::open(&name, tree.options.symlinks).await {
                Ok(Opened::File(descriptor, _)) => {
                    tree.allow(descriptor.as_fd(), &name, false)?;
                    return Ok(Found::Index { file_name: index.clone() });
                }
                Ok(Opened::Folder(_)) | Err(Failure { kind: Kind::NotFound, .. }) => continue,
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
    Folder(OwnedFd),
}

/// Answers with the file called `name`, or with the best of its twins.
async fn file(tree: &Tree, request: Request<'_>, name: &Name) -> Result<File, Failure> {
    let accepted = if tree.negotiates() { encoding::accepted(request.headers) } else { Accepted::default() };
    let original = source(tree, name, name, None).await?;
    if tree.options.precompressed
        && let Some(modified) = original.modified()
    {
        for coding in accepted.iter() {
            let twin = name.with_suffix(1 + coding as u8, coding.suffix());
            // Whatever is wrong with a twin, there is still the original. A twin older than that is out of date.
            if let Ok(twin) = source(tree, &twin, name, Some(coding)).await
                && twin.modified().is_some_and(|twin| twin >= modified)
            {
                return respond(tree, request, twin).await;
            }
        }
    }
    respond(tree, request, original).await
}

/// Where a file's octets come from.
enum Source {
    Memory(Arc<Entry>),
    Disk(OnDisk),
    Folder(OwnedFd),
}

struct OnDisk {
    name: Name,
    file: Arc<OwnedFd>,
    identity: Identity,
    answer: Answer,
    opened_at: Instant,
}

impl Source {
    /// When it was last modified, in seconds: `gzip` and `brotli` give their file the time of the original, not all
    /// of them to the nanosecond.
    fn modified(&self) -> Option<i128> {
        let identity = match self {
            Self::Memory(entry) => &entry.identity,
            Self::Disk(file) => &file.identity,
            Self::Folder(_) => return None,
        };
        Some(identity.modified.div_euclid(1_000_000_000))
    }
}

/// Finds `name` in memory or on the disk. Its type is that of `original`.
async fn source(tree: &Tree, name: &Name, original: &Name, coding: Option<Coding>) -> Result<Source, Failure> {
    if let Some(entry) = tree.remembered(name) {
        return Ok(Source::Memory(entry));
    }
    let (opened_at, now) = (Instant::now(), SystemTime::now());
    match open::open(name, tree.options.symlinks).await? {
        Opened::Folder(descriptor) => {
            tree.allow(descriptor.as_fd(), name, false)?;
            Ok(Source::Folder(descriptor))
        }
        Opened::File(descriptor, identity) => {
            tree.allow(descriptor.as_fd(), original, true)?;
            let options = &tree.options;
            let kind = tree.types.of(original.last(), options.default_type.as_ref(), options.charset.as_deref());
            let answer = Answer::new(tree, &identity, kind, coding, now);
            Ok(Source::Disk(OnDisk { name: name.clone(), file: Arc::new(descriptor), identity, answer, opened_at }))
        }
    }
}

impl OnDisk {
    /// Reads a small file whole, and keeps it if it has been left alone for a while.
    async fn read(&self, tree: &Tree) -> Result<Bytes, Failure> {
        let octets = open::read_whole(&self.file, self.identity).await;
        let octets = octets.map_err(|error| open::refused(error, &self.name, tree.options.symlinks))?;
        let octets = Bytes::from(octets.ok_or_else(|| {
            Failure::new(Kind::Internal, format!("{}: became shorter while it was read", self.name.shown()))
        })?);
        // A change during the reading is in the times of the open file, or, with a coarse clock, keeps it unsettled.
        let after = rustix::fs::fstat(&self.file).map(|stat| Identity::of(&stat));
        if self.answer.strong && after == Ok(self.identity) {
            let entry = Entry { identity: self.identity, octets: octets.clone(), answer: self.answer.clone() };
            tree.cache.put(self.name.key(), Arc::new(entry), self.opened_at);
        }
        Ok(octets)
    }
}

fn respond_from_memory(request: Request<'_>, entry: &Entry) -> Result<Response<Body>, Failure> {
    let Entry { identity, octets, answer } = entry;
    match plan(request, answer, identity.size)? {
        Plan::NotModified => Ok(response(StatusCode::NOT_MODIFIED, answer.not_modified.clone(), Body::empty())),
        Plan::Head => Ok(response(StatusCode::OK, answer.fields.clone(), Body::empty())),
        Plan::Whole => Ok(response(StatusCode::OK, answer.fields.clone(), Body::whole(octets.clone()))),
        Plan::Single(span) => {
            let fields = answer.clone().single(span, identity.size);
            Ok(response(StatusCode::PARTIAL_CONTENT, fields, Body::whole(slice(octets, span))))
        }
        Plan::Several(spans) => {
            let (fields, pieces) = answer.clone().several(&spans, identity.size);
            let mut body = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => body.extend_from_slice(&text),
                    Piece::File(span) => body.extend_from_slice(&slice(octets, span)),
                }
            }
            Ok(response(StatusCode::PARTIAL_CONTENT, fields, Body::whole(body)))
        }
    }
}

/// The octets of a span that [`range`] found to lie inside.
fn slice(octets: &Bytes, span: Span) -> Bytes {
    let start = usize::try_from(span.start).unwrap_or(usize::MAX).min(octets.len());
    let end = usize::try_from(span.start + span.length).unwrap_or(usize::MAX).min(octets.len());
    octets.slice(start..end)
}

async fn respond(tree: &Tree, request: Request<'_>, source: Source) -> Result<File, Failure> {
    let file = match source {
        Source::Memory(entry) => return respond_from_memory(request, &entry).map(File::Answer),
        Source::Folder(descriptor) => return Ok(File::Folder(descriptor)),
        Source::Disk(file) => file,
    };
    let size = file.identity.size;
    let stream =
        |file: Arc<OwnedFd>, pieces: Vec<Piece>| FileStream::new(file, Arc::clone(&tree.cache.buffers), pieces);
    let response = match plan(request, &file.answer, size)? {
        Plan::NotModified => response(StatusCode::NOT_MODIFIED, file.answer.not_modified, Body::empty()),
        Plan::Head => response(StatusCode::OK, file.answer.fields, Body::empty()),
        Plan::Whole if size <= cache::FILE_MAX => {
            let octets = file.read(tree).await?;
            response(StatusCode::OK, file.answer.fields, Body::whole(octets))
        }
        Plan::Whole => {
            let pieces = vec![Piece::File(Span { start: 0, length: size })];
            response(StatusCode::OK, file.answer.fields, Body::stream(stream(file.file, pieces), Some(size)))
        }
        Plan::Single(span) => {
            let body = Body::stream(stream(file.file, vec![Piece::File(span)]), Some(span.length));
            response(StatusCode::PARTIAL_CONTENT, file.answer.single(span, size), body)
        }
        Plan::Several(spans) => {
            let (fields, pieces) = file.answer.several(&spans, size);
            let length = pieces.iter().map(Piece::length).sum();
            response(StatusCode::PARTIAL_CONTENT, fields, Body::stream(stream(file.file, pieces), Some(length)))
        }
    };
    Ok(File::Answer(response))
}

/// What a request gets of a file.
enum Plan {
    NotModified,
    Head,
    Whole,
    Single(Span),
    Several(Vec<Span>),
}

fn plan(request: Request<'_>, answer: &Answer, size: u64) -> Result<Plan, Failure> {
    let ranges = match decide(request.headers, answer.validators()) {
        Decision::NotModified => return Ok(Plan::NotModified),
        Decision::Failed => return Err(Failure::new(Kind::PreconditionFailed, "another version than the client's")),
        Decision::Send { ranges } => ranges,
    };
    if request.method == Method::HEAD {
        return Ok(Plan::Head); // RFC 9110 §14.2: a Range counts with GET only
    }
    if !ranges || !request.headers.contains_key(RANGE) {
        return Ok(Plan::Whole);
    }
    match range::select(request.headers, size) {
        Selection::Whole => Ok(Plan::Whole),
        Selection::Single(span) => Ok(Plan::Single(span)),
        Selection::Several(spans) => Ok(Plan::Several(spans)),
        Selection::Unsatisfiable => Err(Failure::range_not_satisfiable(size)),
    }
}

/// The page of an open folder.
async fn list(tree: &Tree, request: Request<'_>, folder: OwnedFd) -> Result<Response<Body>, Failure> {
    let style = tree.options.listing;
    if style == Listing::Off {
        return Err(Failure::new(Kind::NotFound, "a folder without an index, and listings are off"));
    }
    let path = String::from_utf8_lossy(request.path.as_bytes()).into_owned();
    let as_json = style == Listing::Nice
        && accepts(request.headers, "application/json")
        && !accepts(request.headers, "text/html");
    let copy = tree.clone();
    let made = open::on_other_thread(move || {
        let folder = Folder::read(&folder, &copy, style == Listing::Nice)?;
        Ok(match style {
            Listing::Nice if as_json => listing::json(&path, &folder),
            Listing::Nice => listing::nice(&path, &folder),
            Listing::Off | Listing::Python => listing::python(&path, &folder),
        })
    });
    let name = tree.name(&[])?;
    let (mut fields, page) = made.await?.map_err(|error| open::refused(error, &name, tree.options.symlinks))?;
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

/// 301 to the same path with a slash. Made from the decoded path, which has no empty segments: it cannot begin with
/// `//` and name a host (CVE-2021-28861), and a backslash, which browsers take for a slash, is escaped.
fn redirect(tree: &Tree, request: Request<'_>) -> Result<Response<Body>, Failure> {
    let mut location = String::new();
    location.extend(percent_encoding::percent_encode(request.path.as_bytes(), IN_PATH));
    location.push('/');
    if let Some(query) = request.query {
        location.push('?');
        location.extend(percent_encoding::percent_encode(query, IN_QUERY));
    }
    let location = HeaderValue::try_from(location)
        .map_err(|error| Failure::new(Kind::BadRequest, format!("no address can be made of it: {error}")))?;
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(LOCATION, location);
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    tree.finish(&mut fields);
    Ok(response(StatusCode::MOVED_PERMANENTLY, fields, Body::empty()))
}

/// All that RFC 3986 §3.3 does not allow in a path.
const IN_PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// A query keeps its escapes.
const IN_QUERY: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\');

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
