//! The meta-variables of RFC 3875 §4.1 and those that everybody expects beside them.
//!
//! One ordered walk describes a request; each backend encodes it in its own way. Nothing comes from anywhere but the
//! request, the route and an allow-list.

use std::ffi::CString;
use std::net::SocketAddr;

use http::HeaderMap;
use http::header::{self, HeaderName};

/// What Python's server sets in any case.
const PYTHON_ALWAYS: [(HeaderName, &[u8]); 4] = [
    (header::ACCEPT, b"HTTP_ACCEPT"),
    (header::COOKIE, b"HTTP_COOKIE"),
    (header::REFERER, b"HTTP_REFERER"),
    (header::USER_AGENT, b"HTTP_USER_AGENT"),
];

/// What the server knows about a request, for a script. All octets as the client sent them unless said otherwise.
#[derive(Debug)]
pub struct MetaVars<'a> {
    /// REQUEST_METHOD, case kept (§4.1.12).
    pub method: &'a str,
    /// REQUEST_URI: the raw target in origin form, with its query.
    pub request_uri: &'a [u8],
    /// QUERY_STRING: raw, empty when there is none (§4.1.7).
    pub query: &'a [u8],
    /// SCRIPT_NAME: the decoded part of the path that chose the script (§4.1.13).
    pub script_name: &'a [u8],
    /// PATH_INFO: the decoded rest (§4.1.5).
    pub path_info: &'a [u8],
    /// PATH_TRANSLATED, where PATH_INFO is not empty (§4.1.6).
    pub path_translated: Option<&'a [u8]>,
    /// SCRIPT_FILENAME: the absolute path of the file.
    pub script_filename: &'a [u8],
    /// DOCUMENT_ROOT: absolute.
    pub document_root: &'a [u8],
    /// SERVER_PROTOCOL: the client's version (§4.1.16).
    pub protocol: &'a str,
    /// SERVER_NAME: without a port, IPv6 in brackets (§4.1.14).
    pub server_name: &'a str,
    /// SERVER_SOFTWARE: what the `Server` field says.
    pub software: &'a str,
    /// REMOTE_ADDR and REMOTE_PORT; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// SERVER_ADDR and SERVER_PORT.
    pub local: Option<SocketAddr>,
    /// HTTPS=on, REQUEST_SCHEME=https.
    pub https: bool,
    /// CONTENT_LENGTH, where the request has a body.
    pub content_length: Option<u64>,
    /// AUTH_TYPE and REMOTE_USER, where this server checked the credentials (§4.1.1, §4.1.11).
    pub user: Option<(&'a str, &'a [u8])>,
    /// UNIQUE_ID: the request's id, as it stands in the log.
    pub id: &'a str,
    /// REDIRECT_URL and REDIRECT_QUERY_STRING after a local redirect, as Apache names them.
    pub redirected_from: Option<(&'a [u8], &'a [u8])>,
    /// The request's header fields.
    pub headers: &'a HeaderMap,
    /// Whether Authorization is passed.
    pub pass_authorization: bool,
    /// Whether the body was unframed before the script sees it, so that Transfer-Encoding must be absent (§4.2).
    pub upgrade: bool,
    /// Whether an empty PATH_INFO is there.
    pub empty_path_info: bool,
    /// Python's habits: some variables are there, empty, whatever the request says, and Accept is joined by `,`.
    pub python: bool,
}

impl MetaVars<'_> {
    /// Calls `each` for every variable, name and value apart, in a fixed order. A name never comes twice.
    pub fn walk(&self, mut each: impl FnMut(&[u8], &[u8])) {
        // CONTENT_LENGTH first: SCGI wants it there.
        match self.content_length {
            Some(length) => each(b"CONTENT_LENGTH", length.to_string().as_bytes()),
            None if self.python => each(b"CONTENT_LENGTH", b""),
            None => {}
        }
        each(b"GATEWAY_INTERFACE", b"CGI/1.1");
        each(b"SERVER_SOFTWARE", self.software.as_bytes());
        each(b"SERVER_PROTOCOL", self.protocol.as_bytes());
        each(b"SERVER_NAME", self.server_name.as_bytes());
        each(b"REQUEST_METHOD", self.method.as_bytes());
        each(b"REQUEST_URI", self.request_uri);
        each(b"REQUEST_SCHEME", if self.https { b"https" } else { b"http" });
        if self.https {
            each(b"HTTPS", b"on");
        }
        each(b"QUERY_STRING", self.query);
        each(b"SCRIPT_NAME", self.script_name);
        each(b"SCRIPT_FILENAME", self.script_filename);
        each(b"DOCUMENT_ROOT", self.document_root);
        // Empty rather than absent by default: the RFC says the two mean the same, and `set -u` scripts live longer.
        if self.empty_path_info || !self.path_info.is_empty() {
            each(b"PATH_INFO", self.path_info);
        }
        if let Some(translated) = self.path_translated {
            each(b"PATH_TRANSLATED", translated);
        }
        // php-cgi built with force-redirect prints a "Security Alert" otherwise.
        each(b"REDIRECT_STATUS", b"200");
        each(b"UNIQUE_ID", self.id.as_bytes());
        match self.local {
            Some(local) => {
                each(b"SERVER_ADDR", local.ip().to_canonical().to_string().as_bytes());
                each(b"SERVER_PORT", local.port().to_string().as_bytes());
            }
            None => each(b"SERVER_PORT", if self.https { b"443" } else { b"80" }),
        }
        match self.peer {
            Some(peer) => {
                let address = peer.ip().to_canonical().to_string();
                each(b"REMOTE_ADDR", address.as_bytes());
                each(b"REMOTE_HOST", if self.python { b"" } else { address.as_bytes() });
                each(b"REMOTE_PORT", peer.port().to_string().as_bytes());
            }
            None => each(b"REMOTE_ADDR", b"127.0.0.1"),
        }
        if let Some((scheme, user)) = self.user {
            each(b"AUTH_TYPE", scheme.as_bytes());
            each(b"REMOTE_USER", user);
        }
        match self.headers.get(header::CONTENT_TYPE) {
            Some(kind) => each(b"CONTENT_TYPE", kind.as_bytes()),
            None if self.python => each(b"CONTENT_TYPE", b"text/plain"),
            None => {}
        }
        if self.python {
            for (field, variable) in PYTHON_ALWAYS {
                if !self.headers.contains_key(field) {
                    each(variable, b"");
                }
            }
        }
        if let Some((url, query)) = self.redirected_from {
            each(b"REDIRECT_URL", url);
            each(b"REDIRECT_QUERY_STRING", query);
        }
        self.walk_fields(each);
    }

    /// `HTTP_*`: every other header field that may have one (§4.1.18).
    fn walk_fields(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let mut variable = Vec::with_capacity(40);
        let mut joined = Vec::new();
        for name in self.headers.keys() {
            if !self.may_pass(name) {
                continue;
            }
            variable.clear();
            variable.extend_from_slice(b"HTTP_");
            variable.extend(name.as_str().bytes().map(|b| if b == b'-' { b'_' } else { b.to_ascii_uppercase() }));
            let mut values = self.headers.get_all(name).iter();
            let Some(first) = values.next() else { continue };
            if values.size_hint().1 == Some(0) {
                each(&variable, first.as_bytes());
                continue;
            }
            // Cookie crumbs are joined by "; " (RFC 9113 §8.2.3), everything else by ", " (RFC 9110 §5.3).
            let separator: &[u8] = match *name {
                header::COOKIE if !self.python => b"; ",
                header::ACCEPT if self.python => b",",
                _ => b", ",
            };
            joined.clear();
            joined.extend_from_slice(first.as_bytes());
            for value in values {
                joined.extend_from_slice(separator);
                joined.extend_from_slice(value.as_bytes());
            }
            each(&variable, &joined);
        }
    }

    /// Whether a header field becomes a variable. Names with anything but letters, digits and `-` do not: `X_Foo`
    /// would shadow `X-Foo`. `Proxy` never does (CVE-2016-5385, "httpoxy").
    fn may_pass(&self, name: &HeaderName) -> bool {
        if !name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            tracing::debug!(field = name.as_str(), "header field not passed to the script: its name is not plain");
            return false;
        }
        match *name {
            header::CONTENT_LENGTH | header::CONTENT_TYPE => false,
            header::AUTHORIZATION => self.pass_authorization,
            header::PROXY_AUTHORIZATION | header::TRANSFER_ENCODING | header::TE | header::TRAILER => false,
            header::CONNECTION | header::UPGRADE => self.upgrade,
            _ => !matches!(name.as_str(), "proxy" | "keep-alive" | "proxy-connection" | "http2-settings"),
        }
    }

    /// `NAME=VALUE` strings for `execve`, those of `fixed` behind them. A value with NUL cannot arrive here: the
    /// path and header parsers refuse it; should one do so all the same, the variable is left out.
    pub fn environment(&self, fixed: &[CString]) -> Vec<CString> {
        let mut all = Vec::with_capacity(40 + fixed.len());
        self.walk(|name, value| {
            let mut variable = Vec::with_capacity(name.len() + value.len() + 2);
            variable.extend_from_slice(name);
            variable.push(b'=');
            variable.extend_from_slice(value);
            all.extend(CString::new(variable));
        });
        all.extend_from_slice(fixed);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::collections::HashMap;

    fn walk(headers: &HeaderMap) -> HashMap<String, String> {
        let vars = MetaVars {
            method: "GET",
            request_uri: b"/cgi-bin/x/y%2Fz?a=1",
            query: b"a=1",
            script_name: b"/cgi-bin/x",
            path_info: b"/y/z",
            path_translated: Some(b"/srv/htdocs/y/z"),
            script_filename: b"/srv/cgi-bin/x",
            document_root: b"/srv/htdocs",
            protocol: "HTTP/1.1",
            server_name: "[::1]",
            software: "cgiserve",
            peer: Some("[::ffff:127.0.0.1]:5555".parse().unwrap()),
            local: Some("[::1]:8000".parse().unwrap()),
            https: false,
            content_length: None,
            user: None,
            id: "1",
            redirected_from: None,
            headers,
            pass_authorization: false,
            upgrade: false,
            empty_path_info: true,
            python: false,
        };
        let mut all = HashMap::new();
        vars.walk(|name, value| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let twin = all.insert(name.clone(), String::from_utf8_lossy(value).into_owned());
            assert_eq!(twin, None, "{name} came twice");
        });
        all
    }

    #[test]
    fn fields_become_variables_or_do_not() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "h:8000"),
            ("x-h2", "two"),
            ("x_foo", "shadow"),
            ("proxy", "http://evil"),
            ("authorization", "Basic eDp5"),
            ("content-length", "99"),
            ("content_length", "98"),
            ("content-type", "text/plain"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("remote-user", "root"),
            ("https", "on"),
            ("git-protocol", "version=2"),
            ("content-encoding", "gzip"),
            ("x-empty", ""),
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("foo.bar", "dot"),
        ] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
        }
        let vars = walk(&headers);
        for (name, value) in [
            ("HTTP_HOST", Some("h:8000")),
            ("HTTP_X_H2", Some("two")),
            ("HTTP_X_FOO", None),
            ("HTTP_PROXY", None),
            ("HTTP_AUTHORIZATION", None),
            ("HTTP_CONTENT_LENGTH", None),
            ("HTTP_CONTENT_TYPE", None),
            ("CONTENT_TYPE", Some("text/plain")),
            ("CONTENT_LENGTH", None),
            ("HTTP_TRANSFER_ENCODING", None),
            ("HTTP_CONNECTION", None),
            ("HTTP_REMOTE_USER", Some("root")),
            ("REMOTE_USER", None),
            ("HTTPS", None),
            ("HTTP_HTTPS", Some("on")),
            ("HTTP_GIT_PROTOCOL", Some("version=2")),
            ("HTTP_CONTENT_ENCODING", Some("gzip")),
            ("HTTP_X_EMPTY", Some("")),
            ("HTTP_ACCEPT", Some("a, b")),
            ("HTTP_COOKIE", Some("a=1; b=2")),
            ("HTTP_FOO.BAR", None),
            ("REMOTE_ADDR", Some("127.0.0.1")),
            ("REMOTE_PORT", Some("5555")),
            ("SERVER_ADDR", Some("::1")),
            ("SERVER_PORT", Some("8000")),
            ("SERVER_NAME", Some("[::1]")),
        ] {
            assert_eq!(vars.get(name).map(String::as_str), value, "{name}");
        }
    }
}
