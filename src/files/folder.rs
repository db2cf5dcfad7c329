//! What is in a folder.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::name::hidden;
use super::tree::Tree;

/// The most names one page shows; a folder with more says so.
pub(super) const ENTRIES_MAX: usize = 10_000;

/// A folder's contents.
#[derive(Debug)]
pub(super) struct Folder {
    pub entries: Vec<Entry>,
    /// Whether there were more than [`ENTRIES_MAX`].
    pub truncated: bool,
}

/// One name in a folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: OsString,
    pub kind: Kind,
    pub link: bool,
    /// Octets; of files only.
    pub size: Option<u64>,
    /// Seconds since 1970.
    pub modified: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Folder,
    File,
    Script,
}

impl Folder {
    /// Reads an open folder; waits for the disk. With `details`, sizes and dates are asked for as well.
    pub(super) fn read(folder: &OwnedFd, tree: &Tree, details: bool) -> Result<Self, Errno> {
        let mut entries = Vec::new();
        let mut truncated = false;
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (tree.options.hide_dotfiles && hidden(name)) {
                continue;
            }
            if entries.len() == ENTRIES_MAX {
                truncated = true;
                break;
            }
            let known = entry.file_type();
            let link = known == FileType::Symlink;
            // A link counts as what it leads to; a broken one as a file.
            let stat = (details || link || known == FileType::Unknown)
                .then(|| rustix::fs::statat(folder, entry.file_name(), AtFlags::empty()).ok())
                .flatten();
            let kind = match stat.map_or(known, |stat| FileType::from_raw_mode(stat.st_mode)) {
                FileType::Directory => Kind::Folder,
                _ if tree.is_script(name) => Kind::Script,
                _ => Kind::File,
            };
            let size = stat.filter(|_| kind != Kind::Folder).and_then(|stat| u64::try_from(stat.st_size).ok());
            let name = OsString::from_vec(name.to_vec());
            entries.push(Entry { name, kind, link, size, modified: stat.map(|stat| stat.st_mtime) });
        }
        entries.sort_by_cached_key(|entry| (shown(&entry.name).to_lowercase(), entry.name.clone()));
        Ok(Self { entries, truncated })
    }
}

impl Entry {
    /// The name for people; what is not UTF-8 is replaced.
    pub(super) fn shown(&self) -> String {
        shown(&self.name)
    }

    /// The name with a stand-in for every octet that is not UTF-8; see [`octets_for_stand_ins`].
    pub(super) fn stand_ins(&self) -> String {
        let mut shown = String::with_capacity(self.name.len());
        for chunk in self.name.as_bytes().utf8_chunks() {
            shown.push_str(chunk.valid());
            shown.extend(chunk.invalid().iter().filter_map(|&b| char::from_u32(STAND_IN + u32::from(b))));
        }
        shown
    }

    /// A relative reference that leads back to the very octets of the name. `./` keeps a colon from looking like a
    /// scheme (`javascript:`).
    pub(super) fn href(&self) -> String {
        let mut href = String::with_capacity(self.name.len() + 3);
        if self.name.as_bytes().contains(&b':') {
            href.push_str("./");
        }
        href.extend(percent_encoding::percent_encode(self.name.as_bytes(), SAFE));
        if self.kind == Kind::Folder {
            href.push('/');
        }
        href
    }

    /// The same with octets that are not UTF-8 as `os.fsdecode` and `errors='surrogatepass'` write them: 0xE7 becomes
    /// U+DCE7, which becomes `%ED%B3%A7`.
    pub(super) fn surrogate_href(&self) -> String {
        let mut name = Vec::with_capacity(self.name.len() + 8);
        for chunk in self.name.as_bytes().utf8_chunks() {
            name.extend_from_slice(chunk.valid().as_bytes());
            name.extend(chunk.invalid().iter().flat_map(|&b| [0xed, 0xb0 | b >> 6, 0x80 | b & 0x3f]));
        }
        Self { name: OsStr::from_bytes(&name).to_owned(), ..self.clone() }.href()
    }
}

/// Octet 0 of the stand-ins: the last private plane, which no name uses.
const STAND_IN: u32 = 0x10_fe00;

/// A page with the very octets that Python writes for names that are not UTF-8, broken text though it is.
pub(super) fn octets_for_stand_ins(page: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(page.len());
    for c in page.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(STAND_IN)) {
            Ok(octet) => octets.push(octet),
            Err(_) => octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    octets
}

/// What Python's `urllib.parse.quote` leaves alone, without the slash.
const SAFE: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
