//! Escaping of query values as in HTML forms and Go's `net/url`.

use super::normalization::{escaped_byte, is_unreserved, push_escape};

/// Escapes `text` for use as a query value: a space becomes `+`, unreserved characters stay, other bytes are escaped.
pub(crate) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            _ if is_unreserved(byte) => out.push(char::from(byte)),
            _ => push_escape(&mut out, byte),
        }
    }
    out
}

/// Returns the first value of the parameter `name`, unescaped. A parameter without `=` has an empty value.
///
/// # Errors
///
/// Fails if the value has an invalid escape or is not UTF-8. Other parameters are not checked.
pub(crate) fn query_value(query: Option<&str>, name: &str) -> Result<Option<String>, &'static str> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    for (key, value) in pairs {
        if unescaped(key).is_ok_and(|key| key == name.as_bytes()) {
            return String::from_utf8(unescaped(value)?).map(Some).map_err(|_| NOT_UTF8);
        }
    }
    Ok(None)
}

const BAD_ESCAPE: &str = "a query parameter has an invalid percent-escape";

const NOT_UTF8: &str = "a query parameter is not UTF-8";

fn unescaped(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    unescape(text, &mut out)?;
    Ok(out)
}

/// Appends the unescaped bytes of a query value.
///
/// # Errors
///
/// Fails if the text has an invalid escape.
pub(crate) fn unescape(text: &str, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                out.push(escaped_byte(&bytes[at..]).ok_or(BAD_ESCAPE)?);
                at += 3;
                continue;
            }
            b'+' => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
