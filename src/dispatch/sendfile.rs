//! A file that a script names in place of its own body.

use std::sync::Arc;

use http::{HeaderMap, Response};

use super::percent_encode;
use crate::app::App;
use crate::body::Body;
use crate::connection::Arrival;
use crate::failure::{Failure, Kind};
use crate::files;
use crate::path::UrlPath;
use crate::route::{Match, Target};

/// A file in place of the script's own body, from below the folder that the route allows and nowhere else.
pub(super) async fn sendfile(
    app: &Arc<App>,
    arrival: &Arrival,
    found: &Match<'_>,
    file: &[u8],
    fields: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let (Target::Scripts(programs) | Target::Script(programs)) = &found.route.target else {
        return Err(Failure::new(Kind::Internal, "X-Sendfile from something that is no script"));
    };
    let root = programs.settings.sendfile_root.clone().unwrap_or_default();
    let bad = || Failure::new(Kind::BadScriptHead, "X-Sendfile names a file outside its folder");
    let below = file.strip_prefix(root.as_os_str().as_encoded_bytes()).ok_or_else(bad)?;
    let path = UrlPath::parse(&percent_encode(below), app.config.escapes).map_err(|_| bad())?;
    let options = files::Options { symlinks: files::Symlinks::Beneath, ..files::Options::new(root) };
    let tree = files::Tree::new(options, app.types.clone(), app.files.clone());
    let request = files::Request {
        method: &arrival.parts.method,
        path: &path,
        from: 0,
        query: None,
        headers: &arrival.parts.headers,
    };
    match files::serve(&tree, request).await? {
        files::Found::Response(mut response) => {
            for (name, value) in &fields {
                response.headers_mut().insert(name.clone(), value.clone());
            }
            Ok(response)
        }
        files::Found::Index { .. } => Err(bad()),
    }
}
