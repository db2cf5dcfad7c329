//! A failure told: to the client in a page or a line of JSON, to the operator in the log.

use std::sync::Arc;

use http::{Method, Response, StatusCode};

use super::own_page::own_page;
use crate::app::App;
use crate::body::Body;
use crate::builtin;
use crate::connection::{Arrival, path_of};
use crate::edge::{Exchange, Fault};
use crate::explain;
use crate::failure::{Blame, Failure, Kind};
use crate::reply::{self, Voice};
use crate::ticket::Ticket;

/// Whose lines these are in the log: the whole module's, as those who search it know them.
const LOG: &str = "cgiserve::dispatch";

/// Of a body that broke off the edge knows more: who left, who was too slow, whose chunks were malformed.
pub(super) fn as_the_edge_saw_it(arrival: &Arrival, failure: Failure) -> Failure {
    let fault = arrival.exchange.as_ref().and_then(Exchange::fault).filter(|_| failure.kind == Kind::BodyBroken);
    let Some(reason) = fault.map(Fault::reason) else { return failure };
    let status = StatusCode::from_u16(reason.status).unwrap_or(failure.kind.status());
    Failure { refused: Some((status, reason.slug)), ..failure.with_message(reason.text) }
}

/// The answer to a failure, and its line in the log.
pub(super) async fn told_why(
    app: &Arc<App>,
    arrival: &Arrival,
    failure: &Failure,
    ticket: &mut Ticket,
) -> Response<Body> {
    let message = failure.message.as_deref().unwrap_or(failure.kind.row().3);
    ticket.set_failure(failure.slug(), python_message(failure, message));
    let told = app.config.explain && arrival.is_author();
    let story = story(app, failure, told).await;
    tell(arrival, failure, story.as_ref(), told);
    let ajax = path_of(&arrival.target).starts_with(b"/ajax/");
    let json = ajax || builtin::is_json(&arrival.parts.headers) || arrival.prefers_json();
    let voice = if json { Voice::Json } else { Voice::Html };
    if let Some(story) = story.filter(|_| told) {
        return reply::explained(failure, &story, voice, &arrival.id);
    }
    if voice == Voice::Html
        && arrival.parts.method != Method::HEAD
        && let Some(mut response) = own_page(app, failure).await
    {
        *response.status_mut() = failure.status();
        reply::advise(failure, response.headers_mut());
        return response;
    }
    reply::failure(failure, voice, &arrival.id)
}

/// The line of the log: in the words of the catalogue where it knows the cause, otherwise in those of the failure.
fn tell(arrival: &Arrival, failure: &Failure, story: Option<&explain::Story>, told: bool) {
    let (id, slug, client) = (&*arrival.id, failure.slug(), arrival.connection.client());
    let because = story.and_then(explain::Story::line);
    // How it ended, where the cause is another.
    let exit = story.and_then(|story| story.exit.as_deref());
    let exit = exit.filter(|how| because.as_ref().is_some_and(|(_, words)| !words.contains(how)));
    match (failure.kind.row().1, because) {
        (Blame::Client, Some((cause, words))) if told => {
            tracing::info!(target: LOG, id, slug, cause, client, "{words}")
        }
        (Blame::Client, _) => tracing::debug!(target: LOG, id, slug, "{}", failure.cause),
        (_, Some((cause, words))) => tracing::error!(target: LOG, id, slug, cause, exit, client, "{words}"),
        (_, None) => tracing::error!(target: LOG, id, slug, client, "{}", failure.cause),
    }
}

/// What became of the script, for its author and the log. A client's own mistake is looked into for an author only.
async fn story(app: &App, failure: &Failure, told: bool) -> Option<explain::Story> {
    let evidence = failure.evidence.clone()?;
    if let Some(witness) = app.witness.as_ref().filter(|_| evidence.run.is_none()) {
        witness.saw(evidence.clone());
    }
    if failure.kind.row().1 == Blame::Client && !told {
        return None;
    }
    let _place = app.explaining.try_acquire().ok()?;
    Some(evidence.story().await)
}

/// Python's own words for what Python's server says too, so that tools find them in the log.
fn python_message(failure: &Failure, message: &str) -> String {
    match failure.kind {
        Kind::NotFound => "File not found".to_owned(),
        _ => message.trim_end_matches('.').to_owned(),
    }
}
