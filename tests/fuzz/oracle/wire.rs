//! What must hold for any bytes that reach the spawner's wire format. Shared by the fuzz target and the unit tests;
//! the includer provides `Notice` and `Request`.

use super::{Notice, Request};

/// Reads the bytes as either side would.
///
/// # Panics
/// If something is read of which these bytes are not the one encoding, or which reads back as something else.
pub(super) fn check(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        let mut again = Vec::new();
        request.encode(&mut again).expect("what came in fits");
        assert_eq!(again, bytes, "one encoding only");
        assert_eq!(Request::decode(&again), Ok(request), "and it reads back");
    }
    let mut rest = bytes;
    let mut again = Vec::new();
    while let Ok(Some(notice)) = Notice::decode(&mut rest) {
        notice.encode(&mut again);
    }
    assert_eq!(again.len() + rest.len(), bytes.len(), "a failed read takes nothing");
    assert_eq!(again, bytes[..again.len()], "one encoding only");
}
