//! What is known of a request before anybody looks at its path.

use std::any::Any;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use tokio::sync::watch;

use crate::body::Source;
use crate::edge::Exchange;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The client; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The server's end.
    pub local: Option<SocketAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
    /// It came to a port that is there to send everybody to another (`redirect-port`).
    pub elsewhere: Option<Elsewhere>,
}

/// The port that somebody is sent to.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    /// Whether it is encrypted.
    pub tls: bool,
    /// Its number.
    pub port: u16,
}

impl Elsewhere {
    /// Where `target` is there; `host` is what the client calls this machine.
    pub fn location(self, host: &str, target: &[u8]) -> Vec<u8> {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        let port = if self.port == usual { String::new() } else { format!(":{}", self.port) };
        // `*` and its like are no path.
        let target = if target.starts_with(b"/") { target } else { b"/" };
        [format!("{scheme}://{host}{port}").as_bytes(), target].concat()
    }
}

impl Connection {
    /// Whether the client is on this very machine.
    pub fn is_loopback(&self) -> bool {
        self.peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback())
    }

    /// The client's address for people; `-` on a Unix socket.
    pub fn client(&self) -> String {
        self.peer.map_or_else(|| "-".to_owned(), |peer| peer.ip().to_canonical().to_string())
    }
}

/// A connection's place in the server. Whatever keeps the connection open keeps this: hyper forgets a connection that
/// was upgraded, but it still counts, against the limits and when the server drains.
pub struct Seat {
    leaving: watch::Receiver<bool>,
    _held: Box<dyn Any + Send + Sync>,
}

impl Seat {
    /// A place for which `held` was taken; `leaving` turns true when the server begins to go.
    pub fn new(leaving: watch::Receiver<bool>, held: Box<dyn Any + Send + Sync>) -> Self {
        Self { leaving, _held: held }
    }

    /// Resolves when the server begins to go.
    pub async fn leaving(&self) {
        let mut leaving = self.leaving.clone();
        // An error means that nobody is left who could say so: the server has gone.
        let _ = leaving.wait_for(|leaving| *leaving).await;
    }
}

/// The name of a request in logs and error pages: which run of the server, and which number. Short enough to be read
/// out over a telephone, and written only where somebody wants to read it.
#[derive(Debug, Default)]
pub struct RequestId {
    run: u64,
    number: u64,
    text: OnceLock<String>,
}

impl RequestId {
    /// The request of this number in this run.
    pub const fn new(run: u64, number: u64) -> Self {
        Self { run, number, text: OnceLock::new() }
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        self.text.get_or_init(|| format!("{:x}-{:x}", self.run, self.number))
    }
}

/// A request on its way through the stations.
pub struct Arrival {
    /// Method, version, fields.
    pub parts: Parts,
    /// The body, until somebody takes it.
    pub body: Option<Source>,
    /// The target in origin form, as the client wrote it.
    pub target: Bytes,
    /// The target as the client wrote it, where that was not in origin form.
    pub other_form: Option<Bytes>,
    /// The connection.
    pub connection: Connection,
    /// The exchange on an HTTP/1 connection.
    pub exchange: Option<Exchange>,
    /// The request's id.
    pub id: RequestId,
}

impl Arrival {
    /// The host that the client asked, without its port: the target's or `:authority`, otherwise the Host field.
    pub fn host(&self) -> Option<&str> {
        let authority = self.parts.uri.authority().map(|authority| authority.as_str());
        let host = authority.or_else(|| self.parts.headers.get(HOST).and_then(|value| value.to_str().ok()));
        host.map(|host| split_port(host).0)
    }

    /// Whether whoever asks sits at this machine, and so may be told why a script failed. A proxy on this machine
    /// speaks for somebody else, and a page of another site that was bound to this address (DNS rebinding) shows
    /// itself by its Host.
    pub fn is_author(&self) -> bool {
        let headers = &self.parts.headers;
        let proxied = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
        let host = self.parts.uri.authority().map(|authority| authority.as_str());
        let host = host.or_else(|| headers.get(http::header::HOST).and_then(|host| host.to_str().ok()));
        self.connection.peer.is_some()
            && self.connection.is_loopback()
            && !proxied.iter().any(|name| headers.contains_key(*name))
            && host.is_none_or(is_here)
    }

    /// Whether JSON is what the client would rather read.
    pub fn prefers_json(&self) -> bool {
        let accept = self.parts.headers.get_all(http::header::ACCEPT);
        let ranges = accept.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut best = (0.0f32, 0.0f32);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok()).unwrap_or(0.0);
            if kind == "application/json" || kind.ends_with("+json") && kind.starts_with("application/") {
                best.0 = best.0.max(quality);
            } else if kind == "text/html" || kind == "text/*" || kind == "application/xhtml+xml" {
                best.1 = best.1.max(quality);
            }
        }
        best.0 > best.1
    }
}

/// A host, brackets and all, and the port behind it, if there is one.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether a Host is a name of this machine that needs no name server.
fn is_here(host: &str) -> bool {
    let (name, _) = split_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok()
        || bare.eq_ignore_ascii_case("localhost")
        || bare.to_ascii_lowercase().ends_with(".localhost")
}

/// The path of a target in origin form, still encoded.
pub fn path_of(target: &[u8]) -> &[u8] {
    target.split(|&b| b == b'?').next().unwrap_or_default()
}

/// What stands behind the first `?` of a target, if there is one.
pub fn query_of(target: &[u8]) -> Option<&[u8]> {
    let at = target.iter().position(|&b| b == b'?')?;
    target.get(at + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elsewhere() {
        for (tls, port, host, target, location) in [
            (true, 443, "h", "/a?b", "https://h/a?b"),
            (true, 8443, "[::1]", "/", "https://[::1]:8443/"),
            (false, 80, "h", "/", "http://h/"),
            (false, 443, "h", "*", "http://h:443/"),
        ] {
            let got = Elsewhere { tls, port }.location(host, target.as_bytes());
            assert_eq!(String::from_utf8(got).unwrap(), location);
        }
    }
}
