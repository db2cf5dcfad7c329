//! The opening handshake (RFC 6455 §4, RFC 8441 §5): pure, decided from the request's head.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AsHeaderName, CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use hyper::ext::Protocol;
use sha1::{Digest, Sha1};

use super::Settings;
use super::errors::PROTOCOL;
use crate::connection::split_port;
use crate::failure::{Failure, Kind};

/// What the key is hashed with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Octets of a key (RFC 6455 §4.1).
const KEY: usize = 16;

/// What the server agrees to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// `Sec-WebSocket-Accept`; HTTP/2 has none.
    pub(super) key: Option<String>,
    /// The sub-protocol chosen, of those of the route.
    pub(super) protocol: Option<String>,
    /// The console asks for standard error, and may have it.
    pub(super) errors: bool,
}

/// Whether a request asks for a WebSocket at all, well or badly.
pub fn is_asked(parts: &Parts) -> bool {
    match parts.version {
        Version::HTTP_2 => {
            let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
            parts.method == Method::CONNECT && protocol.is_some_and(|p| p.eq_ignore_ascii_case("websocket"))
        }
        // An HTTP/1.0 message cannot ask for an upgrade (RFC 9110 §7.8).
        Version::HTTP_11 => {
            has_token(&parts.headers, UPGRADE, "websocket") && has_token(&parts.headers, CONNECTION, "upgrade")
        }
        _ => false,
    }
}

/// Checks everything that a client must say. `author` is whether it sits at this machine.
pub(super) fn check(parts: &Parts, settings: &Settings, author: bool) -> Result<Accepted, Failure> {
    let headers = &parts.headers;
    let h2 = parts.version == Version::HTTP_2;
    if !is_asked(parts) {
        return Err(if matches!(parts.method, Method::GET | Method::HEAD) {
            Failure::new(Kind::UpgradeRequired, "a plain request for a WebSocket script")
        } else {
            Failure::method_not_allowed(&parts.method, "GET")
        });
    }
    if parts.method != Method::GET && !h2 {
        return Err(Failure::method_not_allowed(&parts.method, "GET"));
    }
    if only(headers, SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Failure::new(Kind::UpgradeRequired, "another version of the WebSocket protocol than 13")
            .with_message("Only version 13 of the WebSocket protocol is spoken here."));
    }
    let key = if h2 { None } else { Some(accept(headers)?) };
    let own = check_origin(headers, parts.uri.authority().map(http::uri::Authority::as_str), &settings.origins)?;
    let protocol = choose(headers, &settings.protocols);
    // Not for every page that may connect: the author's browser is on this machine, whatever page it shows.
    let errors = author && own && protocol.is_none() && tokens(headers, SEC_WEBSOCKET_PROTOCOL).any(|t| t == PROTOCOL);
    Ok(Accepted { key, protocol, errors })
}

fn accept(headers: &HeaderMap) -> Result<String, Failure> {
    let key = only(headers, SEC_WEBSOCKET_KEY);
    match key.filter(|key| STANDARD.decode(key).is_ok_and(|octets| octets.len() == KEY)) {
        Some(key) => Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())),
        None => Err(Failure::new(Kind::BadRequest, "Sec-WebSocket-Key is not 16 octets in base64")
            .with_message("Sec-WebSocket-Key is missing or malformed.")),
    }
}

/// Pages of other sites may not connect with the visitor's cookies (cross-site WebSocket hijacking). Without `Origin`
/// it is no browser that asks, and whoever writes a client can write any Origin. Tells whether it is a page of this
/// host, or none.
fn check_origin(headers: &HeaderMap, authority: Option<&str>, allowed: &[String]) -> Result<bool, Failure> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(true) };
    let origin = origin.to_str().ok().filter(|_| origins.next().is_none()).unwrap_or("null");
    let host = authority.or_else(|| only(headers, HOST)).unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(scheme, site)| same_host(scheme, site, host));
    if same || allowed.iter().any(|entry| lists(entry, origin)) {
        return Ok(same);
    }
    Err(Failure::new(Kind::Forbidden, format!("Origin {origin:?} is neither {host:?} nor among origins"))
        .with_message("Pages of that origin may not connect."))
}

/// Whether `site` of an origin is `host`; a port that is not written is the scheme's own on both sides, also where a
/// proxy before this server speaks TLS.
fn same_host(scheme: &str, site: &str, host: &str) -> bool {
    let default = default_port(scheme);
    let ((site, site_port), (host, host_port)) = (split_port(site), split_port(host));
    site.eq_ignore_ascii_case(host) && !site.is_empty() && site_port.unwrap_or(default) == host_port.unwrap_or(default)
}

/// Whether `entry` of the configuration is for `origin`: `*`, a whole origin, or a host with or without a port.
fn lists(entry: &str, origin: &str) -> bool {
    if entry == "*" || entry.eq_ignore_ascii_case(origin) {
        return true;
    }
    let Some((scheme, site)) = origin.split_once("://") else { return false };
    let entry = match entry.split_once("://") {
        Some((wanted, _)) if !wanted.eq_ignore_ascii_case(scheme) => return false,
        Some((_, rest)) => rest,
        None => entry,
    };
    let ((host, port), (site, site_port)) = (split_port(entry), split_port(site));
    host.eq_ignore_ascii_case(site) && port.is_none_or(|port| port == site_port.unwrap_or(default_port(scheme)))
}

fn default_port(scheme: &str) -> &'static str {
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") { "443" } else { "80" }
}

/// The first of ours that the client knows; none where it knows none, and the client decides what that means.
fn choose(headers: &HeaderMap, ours: &[String]) -> Option<String> {
    let theirs: Vec<&str> = tokens(headers, SEC_WEBSOCKET_PROTOCOL).collect();
    ours.iter().find(|name| theirs.contains(&name.as_str())).cloned()
}

fn tokens(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: impl AsHeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// The value of a field that comes exactly once.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: &[(&'static str, Option<&str>)]) -> Parts {
        let mut fields = vec![
            ("host", "h:8000"),
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in change {
            fields.retain(|(other, _)| other != name);
            fields.extend(value.map(|value| (*name, value)));
        }
        let mut request = http::Request::get("/cgi-bin/ws-x");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn verdict(change: &[(&'static str, Option<&str>)], settings: &Settings) -> Result<Accepted, u16> {
        check(&request(change), settings, true).map_err(|failure| failure.status().as_u16())
    }

    #[test]
    fn the_rfcs_own_example() {
        let accepted = verdict(&[], &Settings::default()).unwrap();
        assert_eq!(
            accepted,
            Accepted { key: Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()), protocol: None, errors: false }
        );
    }

    #[test]
    fn what_is_wrong_has_its_status() {
        for (name, value, status) in [
            ("upgrade", None, 426),
            ("upgrade", Some("h2c"), 426),
            ("connection", Some("keep-alive"), 426),
            ("sec-websocket-version", None, 426),
            ("sec-websocket-version", Some("8"), 426),
            ("sec-websocket-key", None, 400),
            ("sec-websocket-key", Some("c2hvcnQ="), 400),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), 400),
            ("sec-websocket-key", Some("!"), 400),
            ("origin", Some("http://evil"), 403),
            ("origin", Some("null"), 403),
        ] {
            assert_eq!(verdict(&[(name, value)], &Settings::default()), Err(status), "{name}: {value:?}");
        }
        let mut post = request(&[]);
        post.method = Method::POST;
        assert_eq!(check(&post, &Settings::default(), true).unwrap_err().status(), 405);
        let mut old = request(&[]);
        old.version = Version::HTTP_10;
        assert_eq!(check(&old, &Settings::default(), true).unwrap_err().status(), 426);
    }

    #[test]
    fn origins() {
        for (origin, host, listed, allowed) in [
            ("http://h:8000", "h:8000", &[][..], true),
            ("http://H:8000", "h:8000", &[], true),
            ("http://h", "h", &[], true),
            ("https://h", "h", &[], true),
            ("http://h:80", "h", &[], true),
            ("http://h", "h:8000", &[], false),
            ("http://h:8001", "h:8000", &[], false),
            ("http://h.evil:8000", "h:8000", &[], false),
            ("http://[::1]:8000", "[::1]:8000", &[], true),
            ("http://", "", &[], false),
            ("null", "h", &[], false),
            ("null", "h", &["null"], true),
            ("null", "h", &["*"], true),
            ("http://a:9", "h", &["a"], true),
            ("http://a:9", "h", &["a:9"], true),
            ("http://a", "h", &["a:9"], false),
            ("https://a", "h", &["a:443"], true),
            ("http://a", "h", &["https://a"], false),
            ("https://a", "h", &["https://a"], true),
            ("http://b", "h", &["a", "*"], true),
            ("http://xa", "h", &["a"], false),
        ] {
            let settings = Settings { origins: listed.iter().map(|&s| s.to_owned()).collect(), ..Settings::default() };
            let got = verdict(&[("origin", Some(origin)), ("host", Some(host))], &settings);
            assert_eq!(got.is_ok(), allowed, "{origin} at {host}, {listed:?}");
        }
    }

    #[test]
    fn our_first_choice_is_taken() {
        let settings = Settings { protocols: vec!["b".into(), "a".into()], ..Settings::default() };
        for (offer, chosen) in [(Some("a, b"), Some("b")), (Some("a"), Some("a")), (Some("B"), None), (None, None)] {
            let accepted = verdict(&[("sec-websocket-protocol", offer)], &settings).unwrap();
            assert_eq!(accepted.protocol.as_deref(), chosen, "{offer:?}");
        }
        let none = verdict(&[("sec-websocket-protocol", Some("a"))], &Settings::default()).unwrap();
        assert_eq!(none.protocol, None, "nothing configured, nothing chosen");
    }

    #[test]
    fn standard_error_is_for_the_author_alone() {
        let open = Settings { origins: vec!["*".into()], ..Settings::default() };
        let offer = ("sec-websocket-protocol", Some(PROTOCOL));
        for (origin, author, told) in [
            (None, true, true),
            (None, false, false),
            (Some("http://h:8000"), true, true),
            (Some("http://h:8000"), false, false),
            (Some("http://evil"), true, false),
        ] {
            let asked = request(&[offer, ("origin", origin)]);
            assert_eq!(check(&asked, &open, author).unwrap().errors, told, "{origin:?} {author}");
        }
        let ours = Settings { protocols: vec!["a".into()], ..Settings::default() };
        let both = request(&[("sec-websocket-protocol", Some("stderr.cgiserve, a"))]);
        let accepted = check(&both, &ours, true).unwrap();
        assert_eq!((accepted.protocol.as_deref(), accepted.errors), (Some("a"), false));
        assert!(!check(&request(&[]), &ours, true).unwrap().errors, "nobody asked");
    }
}
