//! Compressing text on the way out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::cache::{self, Answer, Entry};
use super::encoding::{Accepted, Coding};
use super::open::{Identity, on_other_thread};
use super::range::Span;
use super::source::{OnDisk, Source};
use super::stream::{FileStream, Piece};
use super::tree::Tree;
use super::types::is_text;
use super::{File, Request, response, send};
use crate::body::{Body, Stream};
use crate::failure::Failure;

/// Smaller files gain nothing: they fit into one packet, octets.
const SIZE_MIN: u64 = 1024;
/// Larger files cost more than they should be allowed to; make a twin ahead of time, octets.
const SIZE_MAX: u64 = 16 * 1024 * 1024;
/// Faster than a disk, and within a tenth of what the slow levels reach.
const GZIP_LEVEL: i32 = 5;
const BROTLI_LEVEL: i32 = 4;

/// The best coding that the client takes and we can make.
pub(super) fn coding(accepted: Accepted) -> Option<Coding> {
    accepted.iter().find(|coding| matches!(coding, Coding::Brotli | Coding::Gzip))
}

/// Answers with `original` in the best coding the client takes and we can make, or as it is.
///
/// Small files are compressed once and kept beside the original, under the same rule of never being stale; larger
/// ones while they are sent.
pub(super) async fn respond(
    tree: &Tree,
    request: Request<'_>,
    original: Source,
    accepted: Accepted,
) -> Result<File, Failure> {
    let (Some(coding), Some((identity, answer))) = (coding(accepted), facts(&original)) else {
        return send::respond(tree, request, original).await;
    };
    let compressible = (SIZE_MIN..=SIZE_MAX).contains(&identity.size)
        && answer.fields.get(CONTENT_TYPE).is_some_and(is_text)
        && !answer.fields.contains_key(CONTENT_ENCODING);
    if !compressible {
        return send::respond(tree, request, original).await;
    }
    if identity.size > cache::FILE_MAX {
        return match original {
            Source::Disk(file) => stream(tree, request, *file, coding).await,
            other => send::respond(tree, request, other).await,
        };
    }
    whole(tree, request, original, coding).await
}

fn facts(source: &Source) -> Option<(Identity, &Answer)> {
    match source {
        Source::Memory(entry) => Some((entry.identity, &entry.answer)),
        Source::Disk(file) => Some((file.identity, &file.answer)),
        Source::Folder(_) => None,
    }
}

async fn whole(tree: &Tree, request: Request<'_>, original: Source, coding: Coding) -> Result<File, Failure> {
    let name = match &original {
        Source::Memory(entry) => entry.name.with_suffix(coding.made(), ""),
        Source::Disk(file) => file.name.with_suffix(coding.made(), ""),
        Source::Folder(_) => return send::respond(tree, request, original).await,
    };
    if let Some(entry) = tree.remembered(&name).filter(|entry| entry.octets.is_some()) {
        return send::complete(request, &entry).map(File::Answer);
    }
    let Ok(permit) = Arc::clone(&tree.cache.compressors).try_acquire_owned() else {
        return send::respond(tree, request, original).await;
    };
    let (octets, identity, answer, read_at) = match original {
        Source::Memory(entry) => {
            (entry.octets.clone().unwrap_or_default(), entry.identity, entry.answer.clone(), entry.read_at)
        }
        Source::Disk(file) => (file.read(tree).await?, file.identity, file.answer, file.opened_at),
        folder @ Source::Folder(_) => return send::respond(tree, request, folder).await,
    };
    let plain = octets.clone();
    let made = on_other_thread(move || {
        let _permit = permit;
        Encoder::new(coding).finish(&plain)
    })
    .await?;
    let keep = answer.strong;
    let entry = match made {
        Ok(made) if made.len() < octets.len() => {
            let answer = answer.compressed(coding, Some(made.len() as u64));
            Entry { name, identity, octets: Some(made), answer, read_at }
        }
        // Noise that calls itself text: remembered as it is, so that nobody tries again.
        _ => Entry { name, identity, octets: Some(octets), answer, read_at },
    };
    let entry = Arc::new(entry);
    if keep {
        tree.cache.put(Arc::clone(&entry));
    }
    send::complete(request, &entry).map(File::Answer)
}

async fn stream(tree: &Tree, request: Request<'_>, file: OnDisk, coding: Coding) -> Result<File, Failure> {
    let Ok(permit) = Arc::clone(&tree.cache.compressors).try_acquire_owned() else {
        return send::respond(tree, request, Source::Disk(Box::new(file))).await;
    };
    let answer = file.answer.compressed(coding, None);
    if let Some(response) = send::not_modified(request, &answer)? {
        return Ok(File::Answer(response));
    }
    let body = if request.method == Method::HEAD {
        Body::empty()
    } else {
        let span = Span { start: 0, length: file.identity.size };
        let source = FileStream::new(&file, tree, vec![Piece::File(span)]);
        Body::stream(Compressed { source, state: State::Idle(Encoder::new(coding)), _permit: permit }, None)
    };
    Ok(File::Answer(response(StatusCode::OK, answer.fields, body)))
}

/// A file that is compressed while it is sent, a buffer at a time, on a thread of its own kind: compressing takes
/// longer than a reactor may wait.
struct Compressed {
    source: FileStream,
    state: State,
    _permit: OwnedSemaphorePermit,
}

enum State {
    Idle(Encoder),
    Working(JoinHandle<io::Result<(Bytes, Option<Encoder>)>>),
    Ended,
}

impl Stream for Compressed {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(encoder) => match Pin::new(&mut this.source).poll_next(context) {
                    Poll::Pending => {
                        this.state = State::Idle(encoder);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(Some(Ok(piece))) => {
                        this.state = State::Working(tokio::task::spawn_blocking(move || encoder.more(&piece)));
                    }
                    Poll::Ready(None) => {
                        let work = move || Ok((encoder.finish(&[])?, None));
                        this.state = State::Working(tokio::task::spawn_blocking(work));
                    }
                },
                State::Working(mut work) => {
                    let polled = Pin::new(&mut work).poll(context);
                    if polled.is_pending() {
                        this.state = State::Working(work);
                    }
                    let (octets, encoder) = ready!(polled).map_err(io::Error::other)??;
                    this.state = encoder.map_or(State::Ended, State::Idle);
                    if !octets.is_empty() {
                        return Poll::Ready(Some(Ok(octets)));
                    }
                }
            }
        }
    }
}

/// A compressor that writes into memory, so that its futures never wait.
enum Encoder {
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Gzip(Box<GzipEncoder<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Brotli => {
                let level = Level::Precise(BROTLI_LEVEL);
                Self::Brotli(Box::new(BrotliEncoder::with_quality(Vec::new(), level)))
            }
            Coding::Gzip | Coding::Zstd => {
                Self::Gzip(Box::new(GzipEncoder::with_quality(Vec::new(), Level::Precise(GZIP_LEVEL))))
            }
        }
    }

    /// Takes `piece` and gives what is ready.
    fn more(mut self, piece: &[u8]) -> io::Result<(Bytes, Option<Self>)> {
        let octets = match &mut self {
            Self::Brotli(encoder) => {
                at_once(encoder.write_all(piece))?;
                std::mem::take(encoder.get_mut())
            }
            Self::Gzip(encoder) => {
                at_once(encoder.write_all(piece))?;
                std::mem::take(encoder.get_mut())
            }
        };
        Ok((octets.into(), Some(self)))
    }

    /// Takes the last `piece` and gives the rest.
    fn finish(self, piece: &[u8]) -> io::Result<Bytes> {
        let octets = match self {
            Self::Brotli(mut encoder) => {
                at_once(encoder.write_all(piece))?;
                at_once(encoder.shutdown())?;
                encoder.into_inner()
            }
            Self::Gzip(mut encoder) => {
                at_once(encoder.write_all(piece))?;
                at_once(encoder.shutdown())?;
                encoder.into_inner()
            }
        };
        Ok(octets.into())
    }
}

fn at_once(future: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    future.now_or_never().unwrap_or_else(|| Err(io::Error::other("a compressor waited for memory")))
}
