use bytes::Bytes;

/// Why a head is not taken: what the client is told, and the word that log, metrics and tests share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The status of the answer.
    pub status: u16,
    /// One word for the kind of fault.
    pub slug: &'static str,
    /// One sentence for the client.
    pub text: &'static str,
}

/// A request that never became one. The connection closes after its answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The request line as far as it came, at most [`Refusal::LINE_MAX`] bytes, for the log. Raw: escape it.
    pub line: Bytes,
}

impl Refusal {
    /// Bytes of a refused request line that are kept for the log.
    pub const LINE_MAX: usize = 1024;

    pub(crate) fn new(reason: Reason, head: &[u8]) -> Refusal {
        let start = head.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let head = &head[start..];
        let end = head.iter().take(Self::LINE_MAX).position(|b| matches!(b, b'\r' | b'\n'));
        let end = end.unwrap_or(head.len().min(Self::LINE_MAX));
        Refusal { reason, line: Bytes::copy_from_slice(&head[..end]) }
    }
}

const fn bad(slug: &'static str, text: &'static str) -> Reason {
    Reason { status: 400, slug, text }
}

const fn with(status: u16, slug: &'static str, text: &'static str) -> Reason {
    Reason { status, slug, text }
}

pub(crate) const BAD_REQUEST_LINE: Reason =
    bad("bad-request-line", "The request line is not METHOD SP TARGET SP VERSION.");
pub(crate) const BAD_LINE_END: Reason = bad("bad-line-end", "A line of the head does not end with CR LF.");
pub(crate) const BAD_METHOD: Reason = bad("bad-method", "The method is not a token.");
pub(crate) const LONG_METHOD: Reason = with(501, "unknown-method", "The method is longer than any known one.");
pub(crate) const METHOD_REFUSED: Reason = with(405, "method-not-allowed", "CONNECT and TRACE are not served here.");
pub(crate) const BAD_TARGET: Reason = bad("bad-target", "The request target is malformed.");
pub(crate) const LONG_TARGET: Reason = with(414, "target-too-long", "The request line is too long.");
pub(crate) const BAD_VERSION: Reason = bad("bad-version", "The HTTP version is malformed or older than 1.0.");
pub(crate) const UNKNOWN_VERSION: Reason =
    with(505, "unknown-version", "Only HTTP/1.0 and HTTP/1.1 may stand on a request line.");
pub(crate) const BAD_FIELD: Reason = bad("bad-header", "A header line is malformed.");
pub(crate) const FOLDED_FIELD: Reason = bad("folded-header", "Folded header lines are obsolete and not accepted.");
pub(crate) const LARGE_HEAD: Reason = with(431, "header-too-large", "The request header is too large.");
pub(crate) const MANY_FIELDS: Reason = with(431, "too-many-headers", "The request has too many header fields.");
pub(crate) const NO_HOST: Reason = bad("missing-host", "An HTTP/1.1 request needs a Host header.");
pub(crate) const BAD_HOST: Reason = bad("bad-host", "The Host header or the authority is malformed or repeated.");
pub(crate) const TWO_TYPES: Reason = bad("repeated-content-type", "A request has one Content-Type.");
pub(crate) const BAD_LENGTH: Reason = bad("bad-content-length", "Content-Length is malformed or repeated.");
pub(crate) const TWO_LENGTHS: Reason =
    bad("conflicting-length", "Content-Length and Transfer-Encoding exclude each other.");
pub(crate) const BAD_ENCODING: Reason =
    bad("bad-transfer-encoding", "Transfer-Encoding must be exactly chunked, once, and in HTTP/1.1.");
pub(crate) const UNKNOWN_ENCODING: Reason =
    with(501, "unknown-transfer-encoding", "Only the transfer coding chunked is known.");
pub(crate) const BAD_EXPECT: Reason = with(417, "bad-expectation", "Only Expect: 100-continue can be met.");
pub(crate) const SLOW_HEAD: Reason = with(408, "slow-head", "The request header took too long.");
pub(crate) const BAD_CHUNK: Reason = bad("bad-chunk", "The chunked request body is malformed.");
pub(crate) const SLOW_BODY: Reason = with(408, "slow-body", "The request body came too slowly.");
pub(crate) const CLIENT_GONE: Reason = with(499, "client-gone", "The client left.");
pub(crate) const SLOW_READER: Reason = with(499, "slow-reader", "The client stopped reading the answer.");
pub(crate) const OUT_OF_STEP: Reason = with(500, "out-of-step", "A request was not announced by the edge.");
