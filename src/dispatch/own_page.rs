//! The pages that a site has for its failures.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::app::App;
use crate::body::Body;
use crate::failure::{Failure, Kind};
use crate::files;
use crate::route::{Pattern, Target};

/// The site's own page for a failure, from among the files at `/`: the one that the configuration names, or the tree's
/// own for what is not there. Of a file's fields only its type is kept: conditions and ranges are not for a failure.
pub(super) async fn own_page(app: &App, failure: &Failure) -> Option<Response<Body>> {
    let tree = app.config.routes.iter().find_map(|route| match (&route.target, &route.pattern) {
        (Target::Files(files), Pattern::Prefix(prefix)) if prefix == b"/" => Some(&files.tree),
        _ => None,
    })?;
    let mut own = Response::new(Body::empty());
    if let Some((_, path)) = app.config.error_pages.iter().find(|(status, _)| *status == failure.status()) {
        let (method, headers) = (&Method::GET, &HeaderMap::new());
        let request = files::Request { method, path, from: 0, query: None, headers };
        if let Ok(files::Found::Response(page)) = files::serve(tree, request).await
            && page.status() == StatusCode::OK
        {
            let (parts, body) = page.into_parts();
            own.headers_mut().extend(parts.headers.get(CONTENT_TYPE).map(|kind| (CONTENT_TYPE, kind.clone())));
            *own.body_mut() = body;
            return Some(own);
        }
    }
    if failure.kind != Kind::NotFound {
        return None;
    }
    *own.body_mut() = Body::whole(files::not_found_page(tree).await?);
    own.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Some(own)
}
