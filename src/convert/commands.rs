//! Command lines: `websocketd …` and `python -m http.server …`, alone or within a script or a unit.

use super::draft::{Draft, Route, list, quote};
use crate::config::Flags;
use crate::websocketd;

/// The words as one line that [`read`] takes apart again.
pub(super) fn join(words: &[String]) -> String {
    words.iter().map(|word| crate::explain::shell(word)).collect::<Vec<_>>().join(" ")
}

/// The first command line in `text` that is known.
pub(super) fn read(text: &str) -> Result<String, String> {
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let words = words(line);
        if let Some(at) = words.iter().position(|word| word.rsplit('/').next() == Some("websocketd")) {
            return from_websocketd(&words[at + 1..]);
        }
        if let Some(at) = words.windows(2).position(|pair| pair[0] == "-m" && pair[1] == "http.server") {
            return from_python(&words[at + 2..]);
        }
    }
    Err("no command line of websocketd or python -m http.server".to_owned())
}

fn from_websocketd(words: &[String]) -> Result<String, String> {
    match websocketd::read(words) {
        Ok(websocketd::Meaning { text, flags }) => Ok(top(&flags) + &text),
        Err(websocketd::Refusal::Help) => Err("--help and --version are no configuration".to_owned()),
        Err(websocketd::Refusal::Wrong(why)) => Err(why),
    }
}

/// What the file can say of the flags.
fn top(flags: &Flags) -> String {
    let mut text = String::new();
    let mut key = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
    if let Some(directory) = &flags.directory {
        key("directory", quote(&directory.to_string_lossy()));
    }
    if let Some(bind) = &flags.bind {
        key("bind", list(&[bind]));
    }
    if let Some(port) = flags.port {
        key("port", port.to_string());
    }
    text
}

fn from_python(words: &[String]) -> Result<String, String> {
    let mut draft = Draft::default();
    let mut directory = ".".to_owned();
    // Python listens everywhere unless it is told.
    let mut bind = String::new();
    let mut cgi = false;
    let mut headers: Vec<String> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| words.next().cloned()).ok_or(format!("{flag} lacks its value"));
        match flag {
            "--cgi" => cgi = true,
            "-b" | "--bind" => bind = value()?,
            "-d" | "--directory" => directory = value()?,
            "-p" | "--protocol" => drop(value()?),
            "--content-type" => draft.top("content-type", quote(&value()?)),
            "--tls-cert" | "--tls-key" | "--tls-password-file" => {
                let key = flag.trim_start_matches("--tls-").to_owned();
                let value = value()?;
                draft.tls.push((key, quote(&value)));
            }
            "-H" | "--header" => {
                let (name, value) = (value()?, words.next().cloned().unwrap_or_default());
                headers.push(format!("{} = {}", quote(&name), quote(&value)));
                draft.leave(
                    &format!("-H {name} {value}"),
                    "taken over for files; the same flag of cgiserve is for scripts, too",
                );
            }
            port if port.parse::<u16>().is_ok() => draft.top("port", port.to_owned()),
            ">" | ">>" | "2>" | "2>&1" | "&" | "|" | ";" | "&&" => break,
            other => draft.leave(other, "not known"),
        }
    }
    draft.top("directory", quote(&directory));
    draft.top("document-root", quote("."));
    draft.top("bind", list(&[bind]));
    draft.top("listing", quote("python"));
    if !headers.is_empty() {
        draft.top("headers", format!("{{ {} }}", headers.join(", ")));
    }
    if cgi {
        for folder in ["cgi-bin", "htbin"] {
            draft.route(Route::new(format!("/{folder}/"), "scripts", folder));
        }
    }
    Ok(format!("# cgiserve takes the very same command line: cgiserve --cgi ...\n{}", draft.text()))
}

/// The words of a shell's line; quoting as far as people use it here.
fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted: Option<char> = None;
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        match (quoted, c) {
            (Some(q), c) if c == q => quoted = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(letters.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quoted = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => all.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    // `ExecStart=/usr/bin/websocketd`
    if let Some(first) = all.first_mut()
        && let Some((_, command)) = first.clone().split_once("ExecStart=")
    {
        command.clone_into(first);
    }
    all
}
