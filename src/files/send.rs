//! Sending a file, or the part of it that is asked for.

use bytes::Bytes;
use http::header::RANGE;
use http::{Method, Response, StatusCode};

use super::cache::{self, Answer, Entry};
use super::decide::{Decision, decide};
use super::range::{self, Selection, Span};
use super::source::Source;
use super::stream::{FileStream, Piece};
use super::tree::Tree;
use super::{File, Request, response};
use crate::body::Body;
use crate::failure::{Failure, Kind};

/// The answer from memory; `None` where octets are asked for that are not there.
pub(super) fn respond_from_memory(request: Request<'_>, entry: &Entry) -> Option<Result<Response<Body>, Failure>> {
    let Entry { identity, octets, answer, .. } = entry;
    let plan = match plan(request, answer, identity.size) {
        Ok(plan) => plan,
        Err(failure) => return Some(Err(failure)),
    };
    let (status, fields, body) = match (plan, octets) {
        (Plan::NotModified, _) => (StatusCode::NOT_MODIFIED, answer.not_modified.clone(), Body::empty()),
        (Plan::Head, _) => (StatusCode::OK, answer.fields.clone(), Body::empty()),
        (_, None) => return None,
        (Plan::Whole, Some(octets)) => (StatusCode::OK, answer.fields.clone(), Body::whole(octets.clone())),
        (Plan::Single(span), Some(octets)) => {
            let fields = answer.clone().single(span, identity.size);
            (StatusCode::PARTIAL_CONTENT, fields, Body::whole(slice(octets, span)))
        }
        (Plan::Several(spans), Some(octets)) => {
            let (fields, pieces) = answer.clone().several(&spans, identity.size);
            let mut body = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => body.extend_from_slice(&text),
                    Piece::File(span) => body.extend_from_slice(&slice(octets, span)),
                }
            }
            (StatusCode::PARTIAL_CONTENT, fields, Body::whole(body))
        }
    };
    Some(Ok(response(status, fields, body)))
}

/// The answer from an entry that has its octets.
pub(super) fn complete(request: Request<'_>, entry: &Entry) -> Result<Response<Body>, Failure> {
    respond_from_memory(request, entry)
        .unwrap_or_else(|| Err(Failure::new(Kind::Internal, "a file in memory without its octets")))
}

/// The octets of a span that [`range`] found to lie inside.
fn slice(octets: &Bytes, span: Span) -> Bytes {
    let start = usize::try_from(span.start).unwrap_or(usize::MAX).min(octets.len());
    let end = usize::try_from(span.start + span.length).unwrap_or(usize::MAX).min(octets.len());
    octets.slice(start..end)
}

/// The answer from wherever the file is.
pub(super) async fn respond(tree: &Tree, request: Request<'_>, source: Source) -> Result<File, Failure> {
    let file = match source {
        Source::Memory(entry) => return complete(request, &entry).map(File::Answer),
        Source::Folder(folder) => return Ok(File::Folder(folder)),
        Source::Disk(file) => *file,
    };
    let size = file.identity.size;
    let response = match plan(request, &file.answer, size)? {
        Plan::NotModified => {
            file.keep(tree, None);
            response(StatusCode::NOT_MODIFIED, file.answer.not_modified, Body::empty())
        }
        Plan::Head => {
            file.keep(tree, None);
            response(StatusCode::OK, file.answer.fields, Body::empty())
        }
        Plan::Whole if size <= cache::FILE_MAX => {
            let octets = file.read(tree).await?;
            response(StatusCode::OK, file.answer.fields, Body::whole(octets))
        }
        Plan::Whole => {
            let pieces = vec![Piece::File(Span { start: 0, length: size })];
            let body = Body::stream(FileStream::new(&file, tree, pieces), Some(size));
            response(StatusCode::OK, file.answer.fields, body)
        }
        Plan::Single(span) => {
            let body = Body::stream(FileStream::new(&file, tree, vec![Piece::File(span)]), Some(span.length));
            response(StatusCode::PARTIAL_CONTENT, file.answer.single(span, size), body)
        }
        Plan::Several(spans) => {
            let (fields, pieces) = file.answer.clone().several(&spans, size);
            let length = pieces.iter().map(Piece::length).sum();
            let body = Body::stream(FileStream::new(&file, tree, pieces), Some(length));
            response(StatusCode::PARTIAL_CONTENT, fields, body)
        }
    };
    Ok(File::Answer(response))
}

/// The 304 for a request whose client has it already; 412 where it means another version.
pub(super) fn not_modified(request: Request<'_>, answer: &Answer) -> Result<Option<Response<Body>>, Failure> {
    match plan(request, answer, 0)? {
        Plan::NotModified => Ok(Some(response(StatusCode::NOT_MODIFIED, answer.not_modified.clone(), Body::empty()))),
        _ => Ok(None),
    }
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
