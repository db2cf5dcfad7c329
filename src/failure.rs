//! Why a request could not be answered as asked, and the one table kind → (status, blame, slug).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::explain::Evidence;
use crate::path::PathError;

/// Who has to do something about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client: nothing is wrong here.
    Client,
    /// The script: its author reads the log.
    Script,
    /// The server or its configuration: the operator reads the log.
    Server,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $status:literal, $blame:ident, $slug:literal, $text:literal;)*) => {
        /// What went wrong with a request. A closed set: each has one status and one slug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The row of the table: status code, whose fault, slug, and the sentence the client may read.
            pub const fn row(self) -> (u16, Blame, &'static str, &'static str) {
                match self { $(Self::$kind => ($status, Blame::$blame, $slug, $text),)* }
            }
        }
    };
}

kinds! {
    /// The request target or head is malformed.
    BadRequest => 400, Client, "bad-request", "The request is malformed.";
    /// The request's body broke off: the client left, was too slow, or framed it wrongly.
    BodyBroken => 400, Client, "body-broken", "The request body did not arrive.";
    /// Credentials are missing or wrong (RFC 9110 §11.6.1).
    Unauthorized => 401, Client, "unauthorized", "This page asks for a user name and a password.";
    /// Nothing a client could do would make this allowed.
    Forbidden => 403, Client, "forbidden", "This is not for everybody.";
    /// No such file or page.
    NotFound => 404, Client, "not-found", "Nothing is here.";
    /// Below a script directory, but no such script.
    NoSuchScript => 404, Client, "no-such-script", "No such script.";
    /// The script's file is a folder, a device or something else that cannot run.
    ScriptNotAFile => 403, Server, "script-not-a-file", "This is not a program.";
    /// The script lacks the x bit.
    NotExecutable => 403, Server, "not-executable", "This program may not be run.";
    /// Group or others may write the script or its folder, so anybody could have written it (suexec's rule).
    WritableByOthers => 403, Server, "writable-by-others", "This program may not be run.";
    /// A symbolic link leaves the root under `symlinks = "beneath"`.
    SymlinkEscapes => 403, Server, "symlink-escapes", "This is not for everybody.";
    /// The method is not one this resource knows.
    MethodNotAllowed => 405, Client, "method-not-allowed", "This page does not take that method.";
    /// The request took too long to arrive.
    RequestTimeout => 408, Client, "request-timeout", "The request took too long to arrive.";
    /// A precondition does not hold (RFC 9110 §13.1.1, §13.1.4).
    PreconditionFailed => 412, Client, "precondition-failed", "This is not the version you mean.";
    /// The body is larger than `max-body`.
    BodyTooLarge => 413, Client, "body-too-large", "The request body is too large.";
    /// The request line is too long.
    TargetTooLong => 414, Client, "target-too-long", "The address is too long.";
    /// A built-in endpoint takes JSON only.
    UnsupportedMediaType => 415, Client, "unsupported-media-type", "This page takes JSON only.";
    /// No part of the range can be sent.
    RangeNotSatisfiable => 416, Client, "range-not-satisfiable", "That part of the file does not exist.";
    /// Only `Expect: 100-continue` is known (RFC 9110 §10.1.1).
    ExpectationFailed => 417, Client, "expectation-failed", "Only \"Expect: 100-continue\" is known here.";
    /// The authority is not one this server answers for.
    Misdirected => 421, Client, "misdirected", "This server does not answer for that host name.";
    /// A plain request where only a WebSocket can answer (RFC 6455 §4.4).
    UpgradeRequired => 426, Client, "upgrade-required", "This address speaks WebSocket only.";
    /// Header fields, or the environment made from them, are too large.
    HeadTooLarge => 431, Client, "head-too-large", "The request header is too large.";
    /// A fault of this server.
    Internal => 500, Server, "internal", "Something is wrong with this server.";
    /// The script could not be started: interpreter missing, wrong format, folder not searchable.
    CannotStart => 500, Script, "cannot-start", "The program could not be started.";
    /// The method is known to be unsupported here (as Python's server says it).
    NotImplemented => 501, Client, "not-implemented", "That method is not supported.";
    /// The script's answer is not CGI: its header block is malformed.
    BadScriptHead => 502, Script, "bad-script-head", "The program's answer was not understood.";
    /// The script ended without a word.
    EmptyAnswer => 502, Script, "empty-answer", "The program ended without an answer.";
    /// The script ended before its header block did.
    NoScriptHead => 502, Script, "no-script-head", "The program ended before its answer began.";
    /// The script's header block is over the limit.
    ScriptHeadTooLarge => 502, Script, "script-head-too-large", "The program's answer was not understood.";
    /// Local redirects went round in a circle (RFC 3875 §6.2.2).
    RedirectLoop => 502, Script, "redirect-loop", "The program sends the request round in circles.";
    /// The process that starts programs died.
    SpawnerDied => 502, Server, "spawner-died", "The program was lost.";
    /// No room: too many scripts run and wait.
    Busy => 503, Server, "busy", "Too many programs are running. Try again in a moment.";
    /// No descriptors, memory or processes left.
    OutOfResources => 503, Server, "out-of-resources", "This server is short of resources. Try again in a moment.";
    /// The script did not answer in time.
    ScriptTimeout => 504, Script, "script-timeout", "The program took too long.";
    /// HTTP/2 or later on an HTTP/1 request line.
    VersionNotSupported => 505, Client, "version-not-supported", "That version of HTTP is not supported here.";
    /// The disk is full while the body is spooled.
    DiskFull => 507, Server, "disk-full", "There is no room for the request body.";
}

impl Kind {
    /// The status code of the answer.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The word for this failure in the body, the log, the metrics and the tests.
    pub const fn slug(self) -> &'static str {
        self.row().2
    }
}

/// Why one request failed: what the client may know, and what only the log says.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Row of the table.
    pub kind: Kind,
    /// For the log (and, on loopback, the explaining page); never sent to other clients.
    pub cause: Cow<'static, str>,
    /// For the `Allow` field of a 405.
    pub allow: Option<&'static str>,
    /// For the `WWW-Authenticate` field of a 401.
    pub realm: Option<String>,
    /// For `Content-Range: bytes */N` of a 416, octets.
    pub complete_length: Option<u64>,
    /// For the `Retry-After` field of a 503.
    pub retry_after: Option<Duration>,
    /// A sentence for the client in place of the kind's own.
    pub message: Option<Cow<'static, str>>,
    /// Status and slug in place of the kind's own: of a head that was refused below HTTP's grammar, or of a script's
    /// fault where the operator wants another status.
    pub refused: Option<(StatusCode, &'static str)>,
    /// Where a script failed: what its author is told.
    pub evidence: Option<Arc<Evidence>>,
}

impl Failure {
    /// A failure with its cause for the log.
    pub fn new(kind: Kind, cause: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = matches!(kind, Kind::Busy | Kind::OutOfResources).then_some(Duration::from_secs(1));
        Self {
            kind,
            cause: cause.into(),
            allow: None,
            realm: None,
            complete_length: None,
            retry_after,
            message: None,
            refused: None,
            evidence: None,
        }
    }

    /// The status code of the answer.
    pub fn status(&self) -> StatusCode {
        self.refused.map_or_else(|| self.kind.status(), |(status, _)| status)
    }

    /// The word for this failure.
    pub fn slug(&self) -> &'static str {
        self.refused.map_or_else(|| self.kind.slug(), |(_, slug)| slug)
    }

    /// A 405 with the methods that would do (RFC 9110 §15.5.6).
    pub fn method_not_allowed(method: &Method, allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(Kind::MethodNotAllowed, format!("{method} is not among {allow}")) }
    }

    /// A 416 for a representation of `length` octets (RFC 9110 §14.4).
    pub fn range_not_satisfiable(length: u64) -> Self {
        Self { complete_length: Some(length), ..Self::new(Kind::RangeNotSatisfiable, "no part of the range exists") }
    }

    /// The same failure with another sentence for the client.
    pub fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::new(Kind::BadRequest, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_and_a_slug_of_its_own() {
        let mut slugs = std::collections::HashSet::new();
        for kind in Kind::ALL {
            let (status, _, slug, text) = kind.row();
            assert_eq!(kind.status().as_u16(), status);
            assert!(slugs.insert(slug), "{slug} stands twice");
            assert!(text.ends_with('.'));
        }
    }
}
