//! Values of a query, escaped and read as HTML forms do it, and Go's `net/url` too.

use super::spelling::{escaped_byte, is_unreserved, push_escape};

/// The text as the value of a query: a space is `+`, unreserved characters stay, all else is escaped.
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

/// The first value of this name, unescaped; a name without `=` has the empty value.
///
/// # Errors
///
/// The value has a bad escape, or is not UTF-8. What other pairs hold is of no concern.
pub(crate) fn query_value(query: Option<&str>, name: &str) -> Result<Option<String>, &'static str> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    for (key, value) in pairs {
        if unescaped(key).is_ok_and(|key| key == name.as_bytes()) {
            return String::from_utf8(unescaped(value)?).map(Some).map_err(|_| NOT_UTF8);
        }
    }
    Ok(None)
}

/// A `%` is not followed by two hexadecimal digits.
const BAD_ESCAPE: &str = "a value of the query has a bad percent-escape";

/// The bytes that the escapes stand for are not UTF-8.
const NOT_UTF8: &str = "a value of the query is not UTF-8";

fn unescaped(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    unescape(text, &mut out)?;
    Ok(out)
}

/// Adds the bytes that the text of a value stands for.
///
/// # Errors
///
/// It has a bad escape.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escaped_as_the_other_implementation_does() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/ring.json")).unwrap();
        let forms = vectors["url_forms"].as_array().unwrap();
        assert!(!forms.is_empty());
        for form in forms {
            assert_eq!(query_escape(form["hash_key"].as_str().unwrap()), form["q_escaped"].as_str().unwrap());
        }
        assert_eq!(query_escape("a b-._~"), "a+b-._~");
    }

    #[test]
    fn the_first_value_of_a_name() {
        let value = |query: &str| query_value(Some(query), "q").unwrap();
        assert_eq!(value("q=a"), Some("a".to_owned()));
        assert_eq!(value("p=b&q=a&q=c"), Some("a".to_owned()));
        assert_eq!(value("q=a=b+c%2Bd%3d"), Some("a=b c+d=".to_owned()));
        assert_eq!(value("%71=%C3%BC"), Some("ü".to_owned()));
        assert_eq!(value("q"), Some(String::new()));
        assert_eq!(value("qq=a&Q=b&"), None);
        assert_eq!(value("%zz=1&p=%&q=2"), Some("2".to_owned()));
        assert_eq!(query_value(None, "q"), Ok(None));
        assert_eq!(query_value(Some(""), "q"), Ok(None));
    }

    #[test]
    fn a_value_that_cannot_be_read() {
        for query in ["q=%", "q=%4", "q=%zz", "q=a%2", "q=%+1"] {
            assert_eq!(query_value(Some(query), "q"), Err(BAD_ESCAPE), "{query}");
        }
        assert_eq!(query_value(Some("q=%FF"), "q"), Err(NOT_UTF8));
        // The first is the value; a second one does not save it.
        assert_eq!(query_value(Some("q=%&q=a"), "q"), Err(BAD_ESCAPE));
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(name in "[^=&+%]{1,8}", value in any::<String>()) {
            let query = format!("x=1&{}={}&y", query_escape(&name), query_escape(&value));
            prop_assume!(name != "x");
            prop_assert_eq!(query_value(Some(&query), &name), Ok(Some(value)));
        }
    }
}
