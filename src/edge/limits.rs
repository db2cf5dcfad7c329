use std::time::Duration;

/// How much, and how long, the edge waits for a client. Everything a client can make grow has a bound here.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the request line with its CRLF; more is 414.
    pub request_line: usize,
    /// Bytes of one header line with its CRLF; more is 431.
    pub field_line: usize,
    /// Bytes of the whole head; more is 431.
    pub head: usize,
    /// Header fields in one head; more is 431. hyper's own default is 100 too: raise both or neither.
    pub fields: usize,
    /// From the first byte of a head to its last (for the first head: from accept); longer is 408. Total, not per read,
    /// because a slowloris client sends one byte just before any per-read deadline.
    pub head_time: Duration,
    /// How long a connection may sit between two exchanges before it is closed without a word.
    pub idle_time: Duration,
    /// Bytes per second that a request body must come in at, on average over the time the server waited for it.
    pub body_rate: u32,
    /// How long the server waits for a body in all before `body_rate` counts.
    pub body_rate_after: Duration,
    /// How long a body may stand still.
    pub body_idle: Duration,
    /// How long the socket may take no byte of an answer.
    pub write_idle: Duration,
    /// After the answer to a request that was not read to its end: how long to wait for the next bytes to discard …
    pub linger_idle: Duration,
    /// … how long in all …
    pub linger_time: Duration,
    /// … and how many bytes.
    pub linger_bytes: u64,
    /// Bytes kept of what a client sends ahead of the answer. Beyond it the socket is not read until the exchange is
    /// over, so that a hang-up behind more than this is not seen before the answer is written.
    pub ahead: usize,
    /// What a client's half-close (FIN) in mid-exchange means. `false`: the client has left; hyper is told, and drops the
    /// service's future (after it was polled once, so that an answer that is ready at once still goes out). `true`: hyper
    /// is not told and the answer goes out to whoever still reads; [`Exchange::gone`](super::Exchange::gone) resolves in
    /// both cases, and whoever runs something costly must race it.
    pub half_close: bool,
    /// Put a `/` before a request target that lacks it, as Python's http.server does, instead of answering 400.
    pub add_slash: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_line: 8 * 1024,
            field_line: 8 * 1024,
            head: 64 * 1024,
            fields: 100,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(15),
            body_rate: 500,
            body_rate_after: Duration::from_secs(20),
            body_idle: Duration::from_secs(30),
            write_idle: Duration::from_secs(60),
            linger_idle: Duration::from_secs(2),
            linger_time: Duration::from_secs(30),
            linger_bytes: 256 * 1024 * 1024,
            ahead: 64 * 1024,
            half_close: false,
            add_slash: false,
        }
    }
}
