//! Which variables are secrets: their values never leave the server.

/// Words that make a variable's name suspicious.
const WORDS: [&str; 6] = ["pass", "secret", "token", "key", "auth", "cookie"];
/// What stands in their place.
pub const MASK: &str = "•••";

/// The value as it may be shown.
pub fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_ascii_lowercase();
    // AUTH_TYPE says "Basic", not a secret; REMOTE_USER likewise.
    let secret = WORDS.iter().any(|word| name.contains(word)) && name != "auth_type";
    if secret && !value.is_empty() { MASK } else { value }
}
