//! Names of files and lines of scripts within sentences and commands.

use std::path::Path;

/// Fills `{name}` in `template` with the fact of that name, each written by `write`.
pub(super) fn fill(template: &str, facts: &[(&str, &str)], write: fn(&str) -> String) -> String {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let Some(length) = rest[at..].find('}') else { break };
        let name = &rest[at + 1..at + length];
        text.push_str(&rest[..at]);
        match facts.iter().find(|(known, _)| *known == name) {
            // A command that is a fact itself, and what stands within quotes already, is not quoted again.
            Some((_, value)) if matches!(name, "install" | "better" | "more" | "print") => text.push_str(&shown(value)),
            Some((_, value)) => text.push_str(&write(value)),
            None => text.push_str(&rest[at..=at + length]),
        }
        rest = &rest[at + length + 1..];
    }
    text.push_str(rest);
    text
}

/// As it is, but for control characters: a terminal or a log may show it (CVE-2009-4496).
pub fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// One word for a POSIX shell.
pub fn shell(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:,=@%".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The path as text.
pub(super) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Octets of a script as text, control characters and broken UTF-8 escaped, at most `most` octets.
pub(super) fn octets(bytes: &[u8], most: usize) -> String {
    let cut = &bytes[..bytes.len().min(most)];
    let mut text = String::new();
    for chunk in cut.utf8_chunks() {
        text.push_str(&shown(chunk.valid()));
        text.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    if bytes.len() > most {
        text.push('…');
    }
    text
}
