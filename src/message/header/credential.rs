//! Which header fields may hold credentials.

use http::HeaderName;

/// Returns whether a field may hold credentials: the standard fields, and fields whose name suggests so. Their values are never
/// stored, and never follow a redirect to another origin.
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    const WORDS: [&str; 8] = ["auth", "cookie", "token", "key", "secret", "session", "signature", "password"];
    WORDS.iter().any(|word| name.as_str().contains(word))
}
