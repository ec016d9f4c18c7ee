//! Comma-separated lists and quoted strings (RFC 9110 sections 5.6.1 and 5.6.4).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Iterates over the members of a list in one field value: split at commas outside quoted strings, trimmed, without
/// empty members. A quoted string without an end extends to the end of the value.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Iterates over the members of a list, with quotes as ordinary characters.
pub(crate) fn members_without_quotes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Iterates over the members of a list in all lines of a field.
pub(crate) fn members_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes).flat_map(members)
}

/// Joins all lines of a field into one value (RFC 9110 section 5.3). Returns `None` if the field is absent.
pub(crate) fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    join(headers.get_all(name).into_iter().map(HeaderValue::as_bytes))
}

/// Joins lines of one field into one value (RFC 9110 section 5.3). Returns `None` if there are no lines.
pub(crate) fn join<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, [u8]>> {
    let mut lines = lines.map(<[u8]>::trim_ascii);
    let first = lines.next()?;
    let mut whole = Cow::Borrowed(first);
    for line in lines {
        let value = whole.to_mut();
        value.extend_from_slice(b", ");
        value.extend_from_slice(line);
    }
    Some(whole)
}

/// Splits a value at a delimiter outside quoted strings.
pub(crate) fn split(value: &[u8], delimiter: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let mut quoted = false;
        let mut escaped = false;
        for (at, &byte) in value.iter().enumerate() {
            if escaped {
                escaped = false;
            } else if quoted && byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                quoted = !quoted;
            } else if byte == delimiter && !quoted {
                rest = Some(&value[at + 1..]);
                return Some(&value[..at]);
            }
        }
        rest = None;
        Some(value)
    })
}

/// Returns whether the complete value is one quoted string.
pub(crate) fn is_quoted_string(value: &[u8]) -> bool {
    let Some(rest) = value.strip_prefix(b"\"") else { return false };
    let mut bytes = rest.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return bytes.next().is_none(),
            _ => {}
        }
    }
    false
}

/// Returns the value without quotes and escapes if it is a quoted string, otherwise the value unchanged.
pub(crate) fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<&str> {
        members(value.as_bytes()).map(|member| std::str::from_utf8(member).unwrap()).collect()
    }

    #[test]
    fn commas_in_quoted_strings_do_not_split() {
        assert_eq!(texts("a, b=\"c, d\" ,, e"), ["a", "b=\"c, d\"", "e"]);
        assert_eq!(texts("a=\"\\\", b\", c"), ["a=\"\\\", b\"", "c"]);
        assert_eq!(texts("a=\"never, closed"), ["a=\"never, closed"]);
        assert_eq!(texts(""), [""; 0]);
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(joined(&headers, &http::header::VARY), None);
        headers.append("vary", HeaderValue::from_static(" a"));
        assert_eq!(joined(&headers, &http::header::VARY).unwrap().as_ref(), b"a");
        headers.append("vary", HeaderValue::from_static("b, c "));
        assert_eq!(joined(&headers, &http::header::VARY).unwrap().as_ref(), b"a, b, c");
        assert_eq!(members_of(&headers, &http::header::VARY).count(), 3);
    }

    #[test]
    fn quotes_and_escapes_are_removed() {
        assert_eq!(unquoted(b"\"a \\\"b\\\"\"").as_ref(), b"a \"b\"");
        assert_eq!(unquoted(b"token").as_ref(), b"token");
        assert_eq!(unquoted(b"\"open").as_ref(), b"\"open");
        assert!(is_quoted_string(b"\"\"") && is_quoted_string(b"\"a \\\" , b\""));
        for text in [&b""[..], b"a", b"\"", b"\"a", b"\"a\"b", b"\"a\\\"", b"a\"b\""] {
            assert!(!is_quoted_string(text));
        }
    }
}
