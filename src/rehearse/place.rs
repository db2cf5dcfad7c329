//! Which configuration holds for a script, and which URL means it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Flags};
use crate::route::{Pattern, Route, Target};

/// Octets that a path of a URL holds as they are.
const KEPT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The configuration for `script` and the URL's path that runs it.
///
/// # Errors
/// The configuration is not usable.
pub(crate) fn find(script: &str, mut flags: Flags) -> Result<(Config, String), String> {
    let plain = script.split('?').next().unwrap_or_default();
    let given = Path::new(plain);
    let chosen = flags.directory.is_some() || flags.config.is_some();
    let file = absolute(given);
    if !chosen && file.parent().is_some_and(Path::is_dir) {
        flags.directory = served_folder(&file);
    }
    let config = config::resolve(&flags).map_err(|problems| problems.to_string())?;
    if let Some(url) = config.routes.iter().find_map(|route| url(route, &file)) {
        return Ok((config, with_query(url, script)));
    }
    // A URL, then; or a name in the script folder.
    if !file.exists() {
        let url = if plain.contains('/') {
            format!("/{}", script.trim_start_matches('/'))
        } else {
            format!("/cgi-bin/{script}")
        };
        return Ok((config, url));
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let name = toml::Value::String(folder.to_string_lossy().into_owned());
    let text = format!("[[route]]\npath = \"/cgi-bin/\"\nscripts = {name}\n");
    let flags = Flags { directory: Some(folder.to_path_buf()), config: None, ..flags };
    let config = config::resolve_text(&flags, "the script's folder", &text).map_err(|problems| problems.to_string())?;
    let url = config.routes.iter().find_map(|route| url(route, &file));
    Ok((config, with_query(url.unwrap_or_else(|| script.to_owned()), script)))
}

fn with_query(url: String, script: &str) -> String {
    script.split_once('?').map_or(url.clone(), |(_, query)| format!("{url}?{query}"))
}

/// Links in the folders resolved, not that of the file: its own name is what the URL says.
fn absolute(file: &Path) -> PathBuf {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder =
        folder.canonicalize().or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_path_buf());
    folder.join(file.file_name().unwrap_or_default())
}

/// The folder above that has a configuration, or whose script folder this is.
fn served_folder(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find_map(|folder| {
        if folder.join("cgiserve.toml").is_file() {
            return Some(folder.to_path_buf());
        }
        let name = folder.file_name()?;
        (name == "cgi-bin" || name == "htbin").then(|| folder.parent().map(Path::to_path_buf)).flatten()
    })
}

/// The path that makes `route` run `file`.
pub(crate) fn url(route: &Route, file: &Path) -> Option<String> {
    let encode = |bytes: &[u8]| percent_encoding::percent_encode(bytes, KEPT).to_string();
    match (&route.target, &route.pattern) {
        (Target::Scripts(scripts), Pattern::Prefix(base)) => {
            let below = file.strip_prefix(&scripts.path).ok()?;
            Some(encode(&[base, below.as_os_str().as_bytes()].concat()))
        }
        (Target::Scripts(scripts), Pattern::Suffix(base, suffix)) => {
            let below = file.strip_prefix(&scripts.path).ok()?.as_os_str().as_bytes();
            below.ends_with(suffix).then(|| encode(&[base, below].concat()))
        }
        (Target::Scripts(scripts), Pattern::Exact(path)) => {
            (file == scripts.path.join(OsStr::from_bytes(path.get(1..)?))).then(|| encode(path))
        }
        (Target::Script(scripts), pattern) if scripts.path == file || file.canonicalize().ok()? == scripts.path => {
            Some(match pattern {
                Pattern::Exact(path) | Pattern::Prefix(path) => encode(path),
                Pattern::Suffix(base, suffix) => encode(&[base, &b"any"[..], suffix].concat()),
            })
        }
        _ => None,
    }
}
