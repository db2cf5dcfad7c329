//! Media types by file name.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use http::HeaderValue;

/// The most octets that are read of the system's `mime.types`; Debian's has 72,000.
const SYSTEM_TABLE_MAX: usize = 1024 * 1024;
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The types a tree gives its files: a few of our own, then the built-in table, then the system's.
#[derive(Debug, Default)]
pub struct Types {
    system: HashMap<Box<str>, Box<str>>,
}

impl Types {
    /// The built-in table alone.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// The built-in table, and for the names it does not know those of `/etc/mime.types` if there is one.
    pub fn with_system() -> Self {
        Self::with_table(Path::new("/etc/mime.types"))
    }

    /// The built-in table, and for the names it does not know those of `file`. A missing file is no error.
    pub fn with_table(file: &Path) -> Self {
        let text = fs::read(file).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text[..text.len().min(SYSTEM_TABLE_MAX)]))
    }

    /// Reads the format of `mime.types(5)`: a type, then its suffixes; `#` begins a comment.
    fn parse(table: &str) -> Self {
        let mut system = HashMap::new();
        for line in table.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let Some(kind) = words.next().filter(|kind| kind.contains('/')) else { continue };
            for suffix in words {
                let suffix = suffix.to_ascii_lowercase();
                if built_in(&suffix).is_none() {
                    system.entry(suffix.into_boxed_str()).or_insert_with(|| kind.into());
                }
            }
        }
        Self { system }
    }

    /// The type of a file called `name`, `default` (or `application/octet-stream`) where nothing is known. Text
    /// gets `; charset=` and the `charset`, if one is given.
    pub fn of(&self, name: &[u8], default: Option<&HeaderValue>, charset: Option<&str>) -> HeaderValue {
        let suffix = name.iter().rposition(|&b| b == b'.').map(|dot| name[dot + 1..].to_ascii_lowercase());
        let suffix = suffix.and_then(|suffix| String::from_utf8(suffix).ok()).unwrap_or_default();
        let Some(kind) = built_in(&suffix).or_else(|| self.system.get(&*suffix).map(|kind| &**kind)) else {
            return default.cloned().unwrap_or(UNKNOWN);
        };
        let value = match charset {
            Some(charset) if has_charset(kind) => HeaderValue::try_from(format!("{kind}; charset={charset}")),
            _ => HeaderValue::try_from(kind),
        };
        value.unwrap_or(UNKNOWN)
    }
}

/// Whether a file of this type is text that shrinks when compressed.
pub fn is_text(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii_end();
    has_charset_bytes(kind)
        || kind.ends_with(b"+json")
        || kind.ends_with(b"+xml")
        || matches!(
            kind,
            b"application/json" | b"application/xml" | b"application/wasm" | b"application/x-sh" | b"image/x-icon"
        )
}

/// Python's fixed four come first (`http.server`'s `extensions_map`), then what the built-in table says oddly.
fn built_in(suffix: &str) -> Option<&'static str> {
    Some(match suffix {
        "gz" => "application/gzip",
        "z" => "application/octet-stream",
        "bz2" => "application/x-bzip2",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "br" => "application/octet-stream",
        "mjs" => "text/javascript",
        _ => mime_guess::from_ext(suffix).first_raw()?,
    })
}

fn has_charset(kind: &str) -> bool {
    has_charset_bytes(kind.as_bytes())
}

fn has_charset_bytes(kind: &[u8]) -> bool {
    kind.starts_with(b"text/") || kind == b"application/javascript"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_name() {
        let types = Types::parse("# c\napplication/x-own own OWN2 # x\ntext/plain html odd\nrubbish\n");
        for (name, wanted) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.HTM", "text/html; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("a.tar.gz", "application/gzip"),
            ("a.txt.Z", "application/octet-stream"),
            ("a.bz2", "application/x-bzip2"),
            ("a.xz", "application/x-xz"),
            ("a.own", "application/x-own"),
            ("a.own2", "application/x-own"),
            ("a.odd", "text/plain; charset=utf-8"),
            ("a.unheardof", "application/octet-stream"),
            ("README", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            (".", "application/octet-stream"),
        ] {
            assert_eq!(types.of(name.as_bytes(), None, Some("utf-8")), wanted, "{name}");
        }
        let default = HeaderValue::from_static("text/x-default");
        assert_eq!(types.of(b"README", Some(&default), None), "text/x-default");
        assert_eq!(types.of(b"a.html", Some(&default), None), "text/html");
        assert_eq!(types.of(b"a.\xff", None, None), "application/octet-stream");
    }

    #[test]
    fn a_missing_system_table_is_no_error() {
        let types = Types::with_table(Path::new("/nonexistent/mime.types"));
        assert_eq!(types.of(b"a.png", None, None), "image/png");
    }

    #[test]
    fn pictures_are_not_text() {
        for (kind, wanted) in [
            ("text/html; charset=utf-8", true),
            ("application/json", true),
            ("image/svg+xml", true),
            ("image/png", false),
            ("application/gzip", false),
            ("application/octet-stream", false),
        ] {
            assert_eq!(is_text(&HeaderValue::from_static(kind)), wanted, "{kind}");
        }
    }
}
