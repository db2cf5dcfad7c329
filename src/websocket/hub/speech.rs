//! What a hub and the server say to each other: JSON, one object a line. Pure.
//!
//! To the hub: `{"event":"open","client":7,"env":{…}}`, `{"event":"message","client":7,"data":"text"}`,
//! `{"event":"close","client":7,"code":1000}`. From it: `{"to":7,"data":"text"}`, with `[7,8]` or `"*"` for `to` and
//! perhaps `"except":7`; `{"close":7,"code":4000,"reason":"…"}`. A client is a number, counted from 1 by each hub and
//! never used twice; a hub may write it as a string. Octets that are not text are base64, with `"binary":true`.
//! `data` that is not a string goes out as its JSON text.

use std::collections::BTreeMap;
use std::ffi::CString;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::super::framing::Data;

/// A client's number.
pub(super) type Id = u64;

/// What a hub wants done.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// Send this. One message for all: what is shared is not copied.
    Say { to: To, except: Vec<Id>, message: Message },
    /// Close these.
    Close { clients: Vec<Id>, code: u16, reason: String },
}

/// Who shall hear it.
#[derive(Debug, PartialEq)]
pub(super) enum To {
    All,
    These(Vec<Id>),
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Open {
        client: Id,
        env: BTreeMap<String, String>,
    },
    Message {
        client: Id,
        data: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        binary: bool,
    },
    Close {
        client: Id,
        code: u16,
    },
}

/// A client has come, whose request was this.
pub(super) fn open(client: Id, environment: &[CString]) -> String {
    let env = environment.iter().filter_map(|variable| {
        let text = String::from_utf8_lossy(variable.as_bytes());
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    line(&Event::Open { client, env: env.collect() })
}

/// A client has said something.
pub(super) fn message(client: Id, data: &Data) -> String {
    if let (true, Ok(text)) = (data.text, std::str::from_utf8(&data.octets)) {
        return line(&Event::Message { client, data: text, binary: false });
    }
    line(&Event::Message { client, data: &STANDARD.encode(&data.octets), binary: true })
}

/// A client has gone.
pub(super) fn close(client: Id, code: u16) -> String {
    line(&Event::Close { client, code })
}

fn line(event: &Event<'_>) -> String {
    // Strings and numbers: nothing that JSON could not hold.
    let mut line = serde_json::to_string(event).unwrap_or_default();
    line.push('\n');
    line
}

#[derive(Deserialize)]
struct Line {
    to: Option<Ids>,
    except: Option<Ids>,
    data: Option<Value>,
    #[serde(default)]
    binary: bool,
    close: Option<Ids>,
    code: Option<u16>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(Name),
    Many(Vec<Name>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Number(Id),
    Text(String),
}

impl Ids {
    /// The numbers; `None` if `"*"` is among them. What is no client's name is nobody.
    fn numbers(self) -> Option<Vec<Id>> {
        let names = match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        };
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            match name {
                Name::Number(number) => numbers.push(number),
                Name::Text(text) if text == "*" => return None,
                Name::Text(text) => numbers.extend(text.parse::<Id>()),
            }
        }
        Some(numbers)
    }
}

/// Reads a line of a hub.
pub(super) fn parse(line: &[u8]) -> Result<Order, &'static str> {
    let line: Line = serde_json::from_slice(line).map_err(|_| "not a JSON object with to and data, or close")?;
    if let Some(clients) = line.close {
        let clients = clients.numbers().ok_or("close needs the clients' numbers")?;
        return Ok(Order::Close { clients, code: line.code.unwrap_or(1000), reason: line.reason.unwrap_or_default() });
    }
    let message = match (line.data.ok_or("neither data nor close")?, line.binary) {
        (Value::String(text), false) => Message::text(text),
        (Value::String(text), true) => Message::binary(STANDARD.decode(text).map_err(|_| "data is not base64")?),
        (_, true) => return Err("data is not base64"),
        (other, false) => Message::text(other.to_string()),
    };
    let to = line.to.map_or(To::All, |to| to.numbers().map_or(To::All, To::These));
    Ok(Order::Say { to, except: line.except.and_then(Ids::numbers).unwrap_or_default(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let say = |to, except: &[Id], text: &str| {
            Ok(Order::Say { to, except: except.to_vec(), message: Message::text(text.to_owned()) })
        };
        for (line, wanted) in [
            (r#"{"to":7,"data":"a"}"#, say(To::These(vec![7]), &[], "a")),
            (r#"{"to":"7","data":"a"}"#, say(To::These(vec![7]), &[], "a")),
            (r#"{"to":[7,"8","x"],"data":"a"}"#, say(To::These(vec![7, 8]), &[], "a")),
            (r#"{"to":"*","except":7,"data":"a"}"#, say(To::All, &[7], "a")),
            (r#"{"data":{"b":[1]}}"#, say(To::All, &[], r#"{"b":[1]}"#)),
            (r#"{"to":[],"data":""}"#, say(To::These(vec![]), &[], "")),
            (
                r#"{"close":7,"code":4000,"reason":"r"}"#,
                Ok(Order::Close { clients: vec![7], code: 4000, reason: "r".into() }),
            ),
            (r#"{"close":"*"}"#, Err("close needs the clients' numbers")),
            (r#"{"to":1}"#, Err("neither data nor close")),
            (r#"{"data":"%","binary":true}"#, Err("data is not base64")),
            ("", Err("not a JSON object with to and data, or close")),
        ] {
            assert_eq!(parse(line.as_bytes()), wanted, "{line}");
        }
    }

    #[test]
    fn events() {
        let env = [CString::new("A=b=c").unwrap(), CString::new(&b"X=\xff"[..]).unwrap()];
        assert_eq!(open(1, &env), "{\"event\":\"open\",\"client\":1,\"env\":{\"A\":\"b=c\",\"X\":\"\u{fffd}\"}}\n");
        let text = Data { text: true, octets: (&b"a\n\""[..]).into() };
        assert_eq!(message(2, &text), "{\"event\":\"message\",\"client\":2,\"data\":\"a\\n\\\"\"}\n");
        let octets = Data { text: false, octets: (&b"\0\xff"[..]).into() };
        assert_eq!(message(2, &octets), "{\"event\":\"message\",\"client\":2,\"data\":\"AP8=\",\"binary\":true}\n");
        assert_eq!(close(3, 1001), "{\"event\":\"close\",\"client\":3,\"code\":1001}\n");
    }
}
