//! One table of a configuration file, read key by key: each key is taken with its type, what is left is unknown.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// A table being read. Reading collects problems instead of stopping at the first.
pub(super) struct Section<'a, 't> {
    table: DeTable<'a>,
    name: String,
    asked: Vec<&'static str>,
    source: &'t Source<'t>,
    problems: &'t mut Vec<Problem>,
}

/// Where the text comes from, for `file:line`.
pub(super) struct Source<'t> {
    pub(super) file: String,
    pub(super) text: &'t str,
}

impl Source<'_> {
    pub(super) fn place(&self, offset: usize) -> String {
        let line = self.text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count() + 1;
        format!("{}:{line}", self.file)
    }
}

type Taken<'a> = Option<(Spanned<DeValue<'a>>, &'static str)>;

impl<'a, 't> Section<'a, 't> {
    pub(super) fn new(
        table: DeTable<'a>,
        name: impl Into<String>,
        source: &'t Source<'t>,
        problems: &'t mut Vec<Problem>,
    ) -> Self {
        Self { table, name: name.into(), asked: Vec::new(), source, problems }
    }

    fn take(&mut self, key: &'static str) -> Taken<'a> {
        self.asked.push(key);
        let found = self.table.keys().find(|k| k.get_ref().as_ref() == key).cloned()?;
        self.table.remove(&found).map(|value| (value, key))
    }

    fn full_key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Notes a problem with `key` at `offset` of the text.
    fn complain(&mut self, key: &str, offset: usize, what: impl Into<String>, hint: impl Into<String>) {
        let (place, key) = (self.source.place(offset), self.full_key(key));
        self.problems.push(Problem { place, key, what: what.into(), hint: hint.into() });
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let what = format!("is {}, not {wanted}", value.get_ref().type_str());
        self.complain(key, value.span().start, what, format!("write {key} = {wanted}"));
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let (value, key) = self.take(key)?;
        if let DeValue::Boolean(b) = value.get_ref() {
            return Some(*b);
        }
        self.wrong_type(key, &value, "true or false");
        None
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        let (value, key) = self.take(key)?;
        if let DeValue::String(s) = value.get_ref() {
            return Some(s.to_string());
        }
        self.wrong_type(key, &value, "\"a string\"");
        None
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }

    /// A string out of a closed set.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let (value, key) = self.take(key)?;
        let known = words.iter().map(|(w, _)| format!("\"{w}\"")).collect::<Vec<_>>().join(" or ");
        let DeValue::String(s) = value.get_ref() else {
            self.wrong_type(key, &value, &known);
            return None;
        };
        let found = words.iter().find(|(w, _)| w == s).map(|(_, t)| *t);
        if found.is_none() {
            let hint = format!("write {known}");
            self.complain(key, value.span().start, format!("\"{s}\" is not a word it knows"), hint);
        }
        found
    }

    /// `true`, `false` or a string, as text.
    pub(super) fn switch_or_string(&mut self, key: &'static str) -> Option<String> {
        let (value, key) = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(b) => Some(b.to_string()),
            DeValue::String(s) => Some(s.to_string()),
            _ => {
                self.wrong_type(key, &value, "true, false or \"a word\"");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Option<u64> {
        let (value, key) = self.take(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong_type(key, &value, "a whole number");
        }
        number
    }

    /// A whole number of octets, or a string like `"64 MiB"`.
    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.measured(key, "a size such as 65536 or \"64 MiB\"", parse_size)
    }

    /// A whole number of seconds, or a string like `"500ms"`; 0 means "no limit".
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.measured(key, "a time such as 30, \"30s\" or \"500ms\"", parse_duration)
    }

    fn measured<T>(&mut self, key: &'static str, wanted: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let (value, key) = self.take(key)?;
        let parsed = match value.get_ref() {
            DeValue::Integer(i) => parse(i.as_str()),
            DeValue::String(s) => parse(s),
            _ => None,
        };
        if parsed.is_none() {
            self.wrong_type(key, &value, wanted);
        }
        parsed
    }

    /// A list of strings; one string alone counts as a list of one.
    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        let (value, key) = self.take(key)?;
        let list = match value.get_ref() {
            DeValue::String(s) => Some(vec![s.to_string()]),
            DeValue::Array(items) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(s) => Some(s.to_string()),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        if list.is_none() {
            self.wrong_type(key, &value, "[\"a\", \"list\"]");
        }
        list
    }

    /// A table of strings, in the order written.
    pub(super) fn pairs(&mut self, key: &'static str) -> Option<Vec<(String, String)>> {
        let (value, key) = self.take(key)?;
        let start = value.span().start;
        let pairs = match value.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .map(|(k, v)| match v.get_ref() {
                    DeValue::String(s) => Some((k.get_ref().to_string(), s.to_string())),
                    DeValue::Integer(i) => Some((k.get_ref().to_string(), i.as_str().to_owned())),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        if pairs.is_none() {
            self.complain(key, start, "is not a table of strings", format!("write {key} = {{ NAME = \"value\" }}"));
        }
        pairs
    }

    /// A table within this one, read by `read`.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, '_>) -> T) -> Option<T> {
        let (value, key) = self.take(key)?;
        let name = self.full_key(key);
        let start = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => {
                let mut section = Section::new(table, name, self.source, self.problems);
                let result = read(&mut section);
                section.finish();
                Some(result)
            }
            other => {
                let what = format!("is {}, not a table", other.type_str());
                self.complain(key, start, what, format!("write [{name}]"));
                None
            }
        }
    }

    /// An array of tables, each read by `read`, which is told `file:line` of the table.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_, '_>, String) -> T,
    ) -> Vec<T> {
        let Some((value, key)) = self.take(key) else { return Vec::new() };
        let start = value.span().start;
        let mut all = Vec::new();
        if let DeValue::Array(items) = value.into_inner() {
            for (n, item) in items.into_iter().enumerate() {
                let place = self.source.place(item.span().start);
                let start = item.span().start;
                if let DeValue::Table(table) = item.into_inner() {
                    let name = format!("{}[{}]", self.full_key(key), n + 1);
                    let mut section = Section::new(table, name, self.source, self.problems);
                    all.push(read(&mut section, place));
                    section.finish();
                } else {
                    self.complain(key, start, "is not a table", format!("write [[{key}]]"));
                }
            }
        } else {
            self.complain(key, start, "is not a list of tables", format!("write [[{key}]]"));
        }
        all
    }

    /// Everything that nobody asked for is a problem, with the nearest known key as a hint.
    pub(super) fn finish(self) {
        for (key, _) in &self.table {
            let name = key.get_ref().to_string();
            let nearest = self.asked.iter().map(|known| (distance(&name, known), known)).min();
            let hint = match nearest {
                Some((d, known)) if d <= 3 => format!("did you mean \"{known}\"?"),
                _ => format!("known here: {}", self.asked.join(", ")),
            };
            self.problems.push(Problem {
                place: self.source.place(key.span().start),
                key: if self.name.is_empty() { name } else { format!("{}.{name}", self.name) },
                what: "unknown key".to_owned(),
                hint,
            });
        }
    }
}

/// Octets from `65536`, `"64k"`, `"1 MiB"`, `"2GB"` (powers of 1024 all).
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = split_number(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.checked_mul(1 << shift)
}

/// A time from `30` (seconds), `"500ms"`, `"2m"`, `"1h"`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    match unit {
        "" | "s" => Some(Duration::from_secs(number)),
        "ms" => Some(Duration::from_millis(number)),
        "m" | "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// Levenshtein's distance, for the hints.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(parse_size("64 MiB"), Some(64 << 20));
        assert_eq!(parse_size("17"), Some(17));
        assert_eq!(parse_size("99999999999g"), None);
        assert_eq!(parse_size("-1"), None);
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("30"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("2 parsecs"), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("timeuot", "timeout"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
