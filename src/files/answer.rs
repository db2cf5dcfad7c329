//! The header fields of a file's answers, and its parts.

use std::hash::BuildHasher;
use std::hash::{DefaultHasher, Hash, Hasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use super::cache::Answer;
use super::decide::Validators;
use super::encoding::Coding;
use super::open::Identity;
use super::range::Span;
use super::stream::Piece;
use super::tree::Tree;

/// 9999-12-31T23:59:59Z, the last second an HTTP date can name.
const LAST_SECOND: u64 = 253_402_300_799;

impl Answer {
    /// The fields for a file that is sent as it lies on the disk (`coding` says how it was compressed there).
    pub(super) fn new(
        tree: &Tree,
        identity: &Identity,
        kind: HeaderValue,
        coding: Option<Coding>,
        now: SystemTime,
    ) -> Self {
        let strong = identity.settled(now);
        let modified = identity.modified_seconds(now).filter(|&seconds| seconds <= LAST_SECOND);
        let tag = tag(identity);

        let mut not_modified = HeaderMap::with_capacity(8);
        let weakness = if strong { "" } else { "W/" };
        if let Ok(value) = HeaderValue::try_from(format!("{weakness}{tag}")) {
            not_modified.insert(ETAG, value);
        }
        let date = modified.map(|seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)));
        if let Some(value) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
            not_modified.insert(LAST_MODIFIED, value);
        }
        tree.vary(&mut not_modified, false);

        let mut fields = HeaderMap::with_capacity(16);
        fields.insert(CONTENT_TYPE, kind);
        fields.insert(CONTENT_LENGTH, identity.size.into());
        fields.extend(not_modified.clone());
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(coding) = coding {
            fields.insert(CONTENT_ENCODING, coding.value());
        }
        tree.finish(&mut fields);
        tree.finish(&mut not_modified);
        Self { fields, not_modified, tag: tag.into_bytes().into_boxed_slice(), strong, modified }
    }

    /// The fields for the same file when we compress it: another tag (RFC 9110 §8.8.3.3), a weak one, because another
    /// version of the compressor makes other octets, and no ranges. `length` where it is known.
    pub(super) fn compressed(&self, coding: Coding, length: Option<u64>) -> Self {
        let mut answer = self.clone();
        let tag = String::from_utf8_lossy(self.tag.trim_ascii()).trim_end_matches('"').to_owned();
        let tag = format!("{tag}-{}\"", coding.name());
        if let Ok(value) = HeaderValue::try_from(format!("W/{tag}")) {
            answer.fields.insert(ETAG, value.clone());
            answer.not_modified.insert(ETAG, value);
        }
        answer.fields.remove(ACCEPT_RANGES);
        answer.fields.insert(CONTENT_ENCODING, coding.value());
        match length {
            Some(length) => answer.fields.insert(CONTENT_LENGTH, length.into()),
            None => answer.fields.remove(CONTENT_LENGTH),
        };
        Self { tag: tag.into_bytes().into_boxed_slice(), strong: false, ..answer }
    }

    /// A copy that shares no octets with others, so that copies of its fields are counted by one thread alone.
    pub(super) fn detached(&self) -> Self {
        let detached = |fields: &HeaderMap| {
            let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
            fields.iter().map(|(name, value)| (name.clone(), own(value))).collect()
        };
        Self { fields: detached(&self.fields), not_modified: detached(&self.not_modified), ..self.clone() }
    }

    /// What the preconditions compare with.
    pub(super) fn validators(&self) -> Validators<'_> {
        Validators { tag: &self.tag, strong: self.strong, modified: self.modified }
    }

    /// The fields of a 206 with one part.
    pub(super) fn single(mut self, span: Span, size: u64) -> HeaderMap {
        self.fields.insert(CONTENT_LENGTH, span.length.into());
        if let Ok(value) = HeaderValue::try_from(content_range(span, size)) {
            self.fields.insert(CONTENT_RANGE, value);
        }
        self.fields
    }

    /// The fields and the pieces of a 206 with several parts (RFC 9110 §14.6).
    pub(super) fn several(mut self, spans: &[Span], size: u64) -> (HeaderMap, Vec<Piece>) {
        // Random, so that no file can hold it but by chance: 1 in 2^128.
        let random = || RandomState::new().hash_one(size);
        let boundary = format!("{:016x}{:016x}", random(), random());
        let kind = self.fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let mut pieces = Vec::with_capacity(2 * spans.len() + 1);
        let mut length = 0;
        for span in spans {
            let range = content_range(*span, size);
            let head = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
            length += head.len() as u64 + span.length;
            pieces.push(Piece::Text(head.into()));
            pieces.push(Piece::File(*span));
        }
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        length += end.len() as u64;
        pieces.push(Piece::Text(end));
        self.fields.insert(CONTENT_LENGTH, length.into());
        if let Ok(value) = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")) {
            self.fields.insert(CONTENT_TYPE, value);
        }
        (self.fields, pieces)
    }
}

fn content_range(span: Span, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.start, span.start + span.length - 1)
}

/// The entity tag: size, and a digest of what else tells versions apart. A digest, because an inode's number is
/// nobody's business (CVE-2003-1418).
fn tag(identity: &Identity) -> String {
    let mut digest = DefaultHasher::new();
    (identity.inode, identity.modified, identity.changed).hash(&mut digest);
    format!("\"{:x}-{:016x}\"", identity.size, digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_identity_but_the_device_is_in_the_tag() {
        let first = Identity { device: 1, inode: 2, size: 3, modified: 4, changed: 5 };
        let others = [
            Identity { inode: 9, ..first },
            Identity { size: 9, ..first },
            Identity { modified: 9, ..first },
            Identity { changed: 9, ..first },
        ];
        for other in others {
            assert_ne!(tag(&first), tag(&other));
        }
        assert_eq!(tag(&first), tag(&Identity { device: 9, ..first }));
        assert!(tag(&first).starts_with("\"3-"));
    }
}
