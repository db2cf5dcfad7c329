//! The site's own pages for failures.

use super::draft::{Draft, quote};

/// A page as it was written.
#[derive(Debug)]
pub(super) struct Page {
    /// The status.
    pub(super) status: String,
    /// The path of its URL.
    pub(super) path: String,
    /// The line that says so.
    pub(super) line: String,
}

/// Takes over each that is a file of the site; what is elsewhere, or runs, cannot be one.
pub(super) fn name(draft: &mut Draft) {
    let mut named: Vec<(String, String)> = Vec::new();
    for page in std::mem::take(&mut draft.pages) {
        let failure = matches!(page.status.parse(), Ok(400..=599));
        let plain = page.path.starts_with('/') && !page.path.contains('?');
        let elsewhere = draft.routes.iter().any(|route| match route.suffix() {
            Some(suffix) => page.path.starts_with(route.base()) && page.path.ends_with(suffix),
            None => route.path != "/" && page.path.starts_with(&route.path),
        });
        if !failure || !plain || elsewhere || draft.root.is_none() {
            draft.leave(&page.line, "only a file below the document root can be the page for a failure: error-pages");
        } else {
            named.retain(|(status, _)| *status != page.status);
            named.push((page.status, page.path));
        }
    }
    if !named.is_empty() {
        let pairs: Vec<String> = named.iter().map(|(s, path)| format!("{} = {}", quote(s), quote(path))).collect();
        draft.top("error-pages", format!("{{ {} }}", pairs.join(", ")));
    }
}
