//! A tree of files: what may be seen of it, and how.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use http::header::{ACCEPT, ACCEPT_ENCODING, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustix::io::Errno;

use super::cache::{Cache, Entry};
use super::name::{Name, is_script, last};
use super::open::{self, Opened};
use super::types::Types;
use crate::failure::{Failure, Kind};

/// How often the question where an open file lies is repeated while folders above it are renamed.
const MOVE_TRIES: usize = 4;
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// How a folder without an index file is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// 404.
    #[default]
    Off,
    /// The page of Python's `http.server`, for the tools that read it.
    Python,
    /// A table with sizes, dates and a filter; JSON for those who ask for it.
    Nice,
}

/// What becomes of symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// They are followed wherever they lead: whoever can place one decides.
    #[default]
    Follow,
    /// They are followed as long as they do not leave the root (`openat2`, `RESOLVE_BENEATH`).
    Beneath,
}

/// What an operator says about a tree.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the tree begins; absolute.
    pub root: PathBuf,
    /// The files that answer for their folder, the first that exists. A name that ends in one of
    /// `script_suffixes` is left to the caller as [`Found::Index`](super::Found).
    pub index: Vec<String>,
    /// How a folder without one is answered.
    pub listing: Listing,
    /// Whether names that begin with a dot do not exist; `.well-known` does.
    pub hide_dotfiles: bool,
    /// What becomes of symbolic links.
    pub symlinks: Symlinks,
    /// The type of files whose name says nothing; `application/octet-stream` if `None`.
    pub default_type: Option<HeaderValue>,
    /// What `charset` parameter text gets, if any. A tree of old pages that name another one themselves wants `None`.
    pub charset: Option<String>,
    /// Fields for every answer, such as `Cache-Control`. They come after ours and replace them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether browsers are told to believe the type (`X-Content-Type-Options: nosniff`). Old trees with wrong types need
    /// them not to.
    pub nosniff: bool,
    /// Whether links in Python's listing write octets that are not UTF-8 as Python does, as encoded surrogates;
    /// [`Escapes::Python`](crate::path::Escapes) reads them.
    pub surrogates: bool,
    /// Whether `NAME.br`, `NAME.zst` and `NAME.gz` are sent in place of `NAME` to those who can read them, unless
    /// they are older than `NAME`.
    pub precompressed: bool,
    /// Whether text is compressed on the way out. Not for pages that hold both a secret and what a client sent
    /// (BREACH); files hold neither.
    pub compress: bool,
    /// A file, relative to the root, that answers for every page that does not exist.
    pub spa_fallback: Option<String>,
    /// Folders of which nothing is ever shown, whatever name or link inside the tree leads there. Absolute.
    pub excluded: Vec<PathBuf>,
    /// Suffixes (`.py`) of files whose text is never shown.
    pub script_suffixes: Vec<String>,
}

impl Options {
    /// What is right for most trees: `index.html` and `index.htm`, no listing, no dot-files, links followed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            index: vec!["index.html".to_owned(), "index.htm".to_owned()],
            listing: Listing::Off,
            hide_dotfiles: true,
            symlinks: Symlinks::Follow,
            default_type: None,
            charset: Some("utf-8".to_owned()),
            headers: Vec::new(),
            nosniff: true,
            surrogates: false,
            precompressed: false,
            compress: false,
            spa_fallback: None,
            excluded: Vec::new(),
            script_suffixes: Vec::new(),
        }
    }
}

/// A tree that is being served.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) options: Arc<Options>,
    pub(super) types: Arc<Types>,
    pub(super) cache: Arc<Cache>,
    number: u32,
}

impl Tree {
    /// A tree that takes its types and its memory from stores shared with others.
    pub fn new(options: Options, types: Arc<Types>, cache: Arc<Cache>) -> Self {
        let number = cache.enlist();
        Self { options: Arc::new(options), types, cache, number }
    }

    /// What the operator said.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The name of a file of this tree.
    pub(super) fn name(&self, pieces: &[&[u8]]) -> Result<Name, Failure> {
        self.variant(0, pieces)
    }

    /// The name of another form of a file; `variant` as in [`Name::new`].
    pub(super) fn variant(&self, variant: u8, pieces: &[&[u8]]) -> Result<Name, Failure> {
        Name::new(self.number, variant, &self.options.root, pieces)
            .ok_or_else(|| Failure::new(Kind::BadRequest, "a NUL in a file name"))
    }

    /// The entry for `name`, if the file is still what it was when it was read.
    pub(super) fn remembered(&self, name: &Name) -> Option<Arc<Entry>> {
        let entry = self.cache.get(name.key(), Instant::now())?;
        (open::identity(name.full())? == entry.identity).then_some(entry)
    }

    /// Whether an answer depends on `Accept-Encoding`.
    pub(super) fn negotiates(&self) -> bool {
        self.options.precompressed || self.options.compress
    }

    /// Adds the fields that every answer of this tree has.
    pub(super) fn finish(&self, fields: &mut HeaderMap) {
        if self.options.nosniff {
            fields.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        }
        for (name, value) in &self.options.headers {
            fields.insert(name, value.clone());
        }
    }

    /// Says on which fields of the request the answer depends.
    pub(super) fn vary(&self, fields: &mut HeaderMap, on_accept: bool) {
        if on_accept {
            fields.append(VARY, ACCEPT.into());
        } else if self.negotiates() {
            fields.append(VARY, ACCEPT_ENCODING.into());
        }
    }

    /// Whether a file of this name is a script by its suffix.
    pub(super) fn is_script(&self, name: &[u8]) -> bool {
        is_script(name, &self.options.script_suffixes)
    }

    /// Opens `name`, unless it lies in an excluded folder, or is a script that is to be shown as text under
    /// `shown_as`. With the file comes whether it lies on a local disk (see [`Disks`](super::disks::Disks)).
    pub(super) async fn open(&self, name: &Name, shown_as: Option<&Name>) -> Result<(Opened, bool), Failure> {
        let opened = open::open(name, self.options.symlinks).await?;
        let local = self.cache.disks.local(opened.identity.device, &opened.file).await;
        let as_text = shown_as.filter(|_| !opened.folder && !self.options.script_suffixes.is_empty());
        if as_text.is_some_and(|name| self.is_script(name.last())) {
            return Err(script_text(name));
        }
        let check_suffix = as_text.is_some();
        if !check_suffix && self.options.excluded.is_empty() {
            return Ok((opened, local));
        }
        if local {
            self.allow_place(&opened.file, name, check_suffix)?;
        } else {
            let (tree, file, name) = (self.clone(), Arc::clone(&opened.file), name.clone());
            open::on_other_thread(move || tree.allow_place(&file, &name, check_suffix)).await??;
        }
        Ok((opened, local))
    }

    /// Refuses a file by the place where it lies.
    ///
    /// The folders are asked of the open file and told apart by device and inode, so that neither links, nor bind
    /// mounts, nor a file system that ignores case can rename a script folder into something harmless.
    fn allow_place(&self, file: &OwnedFd, name: &Name, check_suffix: bool) -> Result<(), Failure> {
        for _ in 0..MOVE_TRIES {
            let place = rustix::fs::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new());
            let place = place.map_err(|error| {
                Failure::new(Kind::Internal, format!("{}: cannot tell where it lies: {error}", name.shown()))
            })?;
            let place = place.as_bytes();
            let place = place.strip_suffix(b" (deleted)").unwrap_or(place);
            if check_suffix && self.is_script(last(place)) {
                return Err(script_text(name));
            }
            match self.lies_in_excluded(Path::new(std::ffi::OsStr::from_bytes(place))) {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let cause = format!("{}: lies in a folder of scripts", name.shown());
                    return Err(Failure::new(Kind::NotFound, cause));
                }
                Err(_) => {} // a folder above was renamed meanwhile
            }
        }
        Err(Failure::new(Kind::NotFound, format!("{}: moved while it was opened", name.shown())))
    }

    fn lies_in_excluded(&self, place: &Path) -> Result<bool, Errno> {
        let number = |path: &Path| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
        let excluded: Vec<_> = self.options.excluded.iter().filter_map(|path| number(path).ok()).collect();
        if excluded.is_empty() {
            return Ok(false);
        }
        for (above, folder) in place.ancestors().enumerate() {
            match number(folder) {
                Ok(number) if excluded.contains(&number) => return Ok(true),
                Ok(_) => {}
                Err(_) if above == 0 => {} // the file itself: deleted since
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn script_text(name: &Name) -> Failure {
    Failure::new(Kind::Forbidden, format!("{}: a script's text is never sent", name.shown()))
}
