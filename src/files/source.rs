//! Where the octets of an answer come from.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::cache::{Answer, Entry};
use super::encoding::Coding;
use super::name::Name;
use super::open::{self, Identity, Opened};
use super::tree::Tree;
use crate::failure::{Failure, Kind};

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Source {
    Memory(Arc<Entry>),
    Disk(Box<OnDisk>),
    Folder(Arc<OwnedFd>),
}

/// A file that was opened for this request.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub name: Name,
    pub file: Arc<OwnedFd>,
    pub identity: Identity,
    pub answer: Answer,
    /// See [`Disks`](super::disks::Disks).
    pub local: bool,
    /// Before the opening; an entry made of this file ages from here.
    pub opened_at: Instant,
}

impl Source {
    /// When it was last modified, in seconds: `gzip` and `brotli` give their file the time of the original, not all
    /// of them to the nanosecond.
    pub(super) fn modified(&self) -> Option<i128> {
        let identity = match self {
            Self::Memory(entry) => &entry.identity,
            Self::Disk(file) => &file.identity,
            Self::Folder(_) => return None,
        };
        Some(identity.modified.div_euclid(1_000_000_000))
    }
}

/// Finds `name` in memory or on the disk. Its type is that of `original`.
pub(super) async fn source(
    tree: &Tree,
    name: &Name,
    original: &Name,
    coding: Option<Coding>,
) -> Result<Source, Failure> {
    if let Some(entry) = tree.remembered(name).filter(|entry| entry.octets.is_some()) {
        return Ok(Source::Memory(entry));
    }
    let (opened_at, now) = (Instant::now(), SystemTime::now());
    let (Opened { file, identity, folder }, local) = tree.open(name, Some(original)).await?;
    if folder {
        return Ok(Source::Folder(file));
    }
    let options = &tree.options;
    let kind = tree.types.of(original.last(), options.default_type.as_ref(), options.charset.as_deref());
    let answer = Answer::new(tree, &identity, kind, coding, now);
    Ok(Source::Disk(Box::new(OnDisk { name: name.clone(), file, identity, answer, local, opened_at })))
}

impl OnDisk {
    /// Reads a small file whole, and keeps it if it has been left alone for a while.
    pub(super) async fn read(&self, tree: &Tree) -> Result<Bytes, Failure> {
        let octets = open::read_whole(&self.file, self.identity, self.local).await;
        let octets = octets.map_err(|error| open::refused(error, &self.name, tree.options.symlinks))?;
        let octets = Bytes::from(octets.ok_or_else(|| {
            Failure::new(Kind::Internal, format!("{}: became shorter while it was read", self.name.shown()))
        })?);
        // A change during the reading is in the times of the open file, or, with a coarse clock, keeps it unsettled.
        let after = rustix::fs::fstat(&self.file).map(|stat| Identity::of(&stat));
        if after == Ok(self.identity) {
            self.keep(tree, Some(octets.clone()));
        }
        Ok(octets)
    }

    /// Keeps what is known of the file, if it has been left alone for a while.
    pub(super) fn keep(&self, tree: &Tree, octets: Option<Bytes>) {
        if self.answer.strong && self.local {
            tree.cache.put(Arc::new(Entry {
                name: self.name.clone(),
                identity: self.identity,
                octets,
                answer: self.answer.detached(),
                read_at: self.opened_at,
            }));
        }
    }
}
