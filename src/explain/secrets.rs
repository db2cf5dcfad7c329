//! Which variables are secrets: their values never leave the server.

/// Words that make a variable's name suspicious.
const WORDS: [&str; 8] = ["pass", "secret", "token", "key", "auth", "cookie", "credential", "private"];
/// What stands in their place.
pub const MASK: &str = "•••";

/// The value as it may be shown.
pub fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_ascii_lowercase();
    // AUTH_TYPE says "Basic", not a secret; REMOTE_USER likewise.
    let named = WORDS.iter().any(|word| name.contains(word)) && name != "auth_type";
    // DB_PWD is one, PWD and OLDPWD are folders.
    let secret = named || name.ends_with("_pwd") || holds_credentials(value);
    if secret && !value.is_empty() { MASK } else { value }
}

/// `postgres://user:password@host/`
fn holds_credentials(value: &str) -> bool {
    let authority = value.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    authority.and_then(|authority| authority.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}
