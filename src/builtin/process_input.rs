//! `POST /ajax/processinput`, and a JSON POST to any URL that no script answers.

use bytes::BytesMut;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::json as answer;
use crate::body::Body;
use crate::failure::{Failure, Kind};

/// Largest document, octets; 413 above.
pub const MAX_INPUT: usize = 1 << 20;

/// What was posted.
#[derive(Debug, PartialEq, Eq)]
pub struct Posted {
    /// Characters of the member `input` if the document has one, otherwise of the text.
    pub processed: usize,
    /// Octets posted.
    pub length: usize,
}

/// Whether the client says that it posts JSON (RFC 8259; `+json` is RFC 6839).
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind == "text/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Counts what is posted.
///
/// # Errors
/// 415 for anything but JSON, 413 over [`MAX_INPUT`], 400 where the body breaks off or the JSON is malformed.
pub async fn count<B>(headers: &HeaderMap, mut body: B) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if !is_json(headers) {
        return Err(Failure::new(Kind::UnsupportedMediaType, "not JSON"));
    }
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(Kind::BodyBroken, error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if text.len() + data.len() > MAX_INPUT {
            return Err(Failure::new(Kind::BodyTooLarge, "more than 1 MiB of JSON"));
        }
        text.extend_from_slice(&data);
    }
    let posted = read(&text)?;
    Ok(answer(StatusCode::OK, json!({ "processed": posted.processed, "length": posted.length }).to_string()))
}

fn read(text: &[u8]) -> Result<Posted, Failure> {
    let malformed =
        |error: String| Failure::new(Kind::BadRequest, error.clone()).with_message(format!("malformed JSON: {error}"));
    let characters = std::str::from_utf8(text).map_err(|error| malformed(error.to_string()))?.chars().count();
    let document: Value = serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    let processed = match document.get("input") {
        None => characters,
        Some(Value::String(input)) => input.chars().count(),
        Some(other) => other.to_string().chars().count(),
    };
    Ok(Posted { processed, length: text.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_octets() {
        for (text, processed, length) in [
            (r#"{"input":"hällo"}"#, 5, 18),
            (r#"{"other":1}"#, 11, 11),
            (r#""text""#, 6, 6),
            (r#"{"input":123}"#, 3, 13),
            (r#"[1,2]"#, 5, 5),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap(), Posted { processed, length }, "{text}");
        }
        for text in ["", "{", "{'a':1}", "\u{feff}{}"] {
            assert_eq!(read(text.as_bytes()).unwrap_err().kind, Kind::BadRequest, "{text}");
        }
        assert_eq!(read(b"\"\xff\"").unwrap_err().kind, Kind::BadRequest);
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes()).unwrap_err().kind, Kind::BadRequest);
    }
}
