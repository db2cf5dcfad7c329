//! What a script's answer becomes: ours, or the word that somebody else answers.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::ext::ReasonPhrase;

use super::Outcome;
use crate::body::Body;
use crate::connection::Arrival;
use crate::failure::Failure;
use crate::gateway::{self, Answer, Output, Settled};

/// Whose lines these are in the log: the whole module's, as those who search it know them.
const LOG: &str = "cgiserve::scripts";
/// How long an answer whose end is not in sight yet is held back so that it may go out whole; then it streams.
const PATIENCE: Duration = Duration::from_millis(1);
/// The same for a redirect: its body is seldom more than nothing, and there are clients that wait for the end of one
/// without a length.
const PATIENCE_WITH_REDIRECT: Duration = Duration::from_secs(1);
/// Largest answer that goes out whole, octets.
const WHOLE: usize = 256 << 10;

/// The answer to the client, which HEAD and some statuses leave without its body.
pub(super) async fn reply(
    answer: Answer,
    settings: &gateway::Settings,
    method: &Method,
    arrival: &Arrival,
) -> Result<Outcome, Failure> {
    let Answer { head, output } = answer;
    for remark in &head.remarks {
        tracing::warn!(target: LOG, id = &*arrival.id, "{remark}");
    }
    if settings.local_redirect
        && let Some(target) = head.local_redirect()
    {
        output.discard();
        return Ok(Outcome::Redirect(target.to_vec()));
    }
    if let (Some(_), Some(file)) = (&settings.sendfile_root, &head.sendfile) {
        output.discard();
        return Ok(Outcome::Sendfile(file.clone(), head.fields));
    }
    let status = StatusCode::from_u16(head.final_status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let no_body = *method == Method::HEAD || matches!(status.as_u16(), 204 | 304);
    let body = if no_body {
        output.discard();
        Body::empty()
    } else {
        let patience = if status.is_redirection() { PATIENCE_WITH_REDIRECT } else { PATIENCE };
        body(output, head.content_length.filter(|_| !head.chunked), patience).await
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = head.fields;
    if let Some(location) = head.location.as_deref().and_then(|l| HeaderValue::from_bytes(l).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    // What GET would have said; a 204 must not say it (RFC 9110 §8.6).
    if let (true, Some(length)) = (no_body && status != StatusCode::NO_CONTENT, head.content_length) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if let Some(reason) = head.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    Ok(Outcome::Response(response))
}

async fn body(output: Output, length: Option<u64>, patience: Duration) -> Body {
    // A length that the script gave needs no look ahead, unless the answer is short enough to be here already.
    match output.settle(patience, WHOLE).await {
        Settled::Whole(bytes) => Body::whole(bytes),
        Settled::Stream(output) => Body::stream(*output, length),
    }
}

/// A header block in words, for whoever looks at it.
pub(super) fn understood(head: &gateway::Head) -> Vec<String> {
    let mut lines = vec![format!("Status: {}", head.final_status())];
    lines.extend(head.location.iter().map(|location| format!("Location: {}", location.escape_ascii())));
    lines.extend(head.content_length.map(|length| format!("Content-Length: {length}")));
    lines.extend(head.fields.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())));
    lines.extend(head.remarks.iter().map(|remark| format!("({remark})")));
    lines
}
