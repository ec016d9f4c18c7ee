//! What a message says of its content (RFC 9530).

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::checked::{Algorithm, Expected};
use crate::message::header::list;
use crate::message::header::structured::{Value, dictionary};

pub(crate) static CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
pub(crate) static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The digests that the content of this response has to have, where its fields tell.
///
/// `Content-Digest` is about the content as it is. `Repr-Digest` is about the whole of what the URL named, which is
/// the content of an answer to GET that is no part and no confirmation. Algorithms that are not known, and those
/// that are broken (section 5), say nothing.
pub(crate) fn announced(method: &Method, status: StatusCode, headers: &HeaderMap) -> Vec<Expected> {
    let has_content = *method != Method::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_content {
        return Vec::new();
    }
    let mut expected = digests(headers, &CONTENT_DIGEST);
    // Of these the content is no representation of what the URL names, or no whole one.
    let is_of_another = matches!(
        status,
        StatusCode::PARTIAL_CONTENT
            | StatusCode::IM_USED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
    );
    if *method == Method::GET && !is_of_another {
        expected.extend(announced_of_whole(headers));
    }
    expected.dedup();
    expected
}

/// The same of the whole of which a part has these fields.
pub(crate) fn announced_of_whole(headers: &HeaderMap) -> Vec<Expected> {
    digests(headers, &REPR_DIGEST)
}

fn digests(headers: &HeaderMap, name: &HeaderName) -> Vec<Expected> {
    let Some(field) = list::joined(headers, name) else { return Vec::new() };
    let members = dictionary(&field).unwrap_or_default();
    let known = members.into_iter().filter_map(|(algorithm, value)| {
        let algorithm = Algorithm::of_name(algorithm)?;
        // Of another length it is none.
        match value {
            Value::ByteSequence(sum) if sum.len() == algorithm.length() => Some(Expected { algorithm, sum }),
            _ => None,
        }
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

    fn count(method: &str, status: u16, fields: &[(&'static str, &str)]) -> usize {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        announced(&method.parse().unwrap(), StatusCode::from_u16(status).unwrap(), &headers).len()
    }

    #[test]
    fn each_field_is_about_what_it_is_about() {
        for (method, status, content, representation) in [
            ("GET", 200, 1, 1),
            ("GET", 404, 1, 1),
            ("GET", 206, 1, 0),
            ("GET", 226, 1, 0),
            ("GET", 416, 1, 0),
            ("GET", 304, 0, 0),
            ("GET", 204, 0, 0),
            ("GET", 205, 0, 0),
            ("HEAD", 200, 0, 0),
            ("POST", 200, 1, 0),
        ] {
            assert_eq!(count(method, status, &[("content-digest", HELLO)]), content, "{method} {status}");
            assert_eq!(count(method, status, &[("repr-digest", HELLO)]), representation, "{method} {status}");
        }
        assert_eq!(count("GET", 200, &[("repr-digest", HELLO), ("content-digest", HELLO)]), 1);
    }

    #[test]
    fn what_cannot_be_checked_says_nothing() {
        for field in [
            "md5=:XUFAKrxLKna5cZ2REBfFkg==:",
            "sha-256=:YWJj:",
            "sha-256=token",
            "sha-3=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
            "\"",
        ] {
            assert_eq!(count("GET", 200, &[("repr-digest", field)]), 0, "{field}");
        }
        let both = format!("{HELLO}, md5=:XUFAKrxLKna5cZ2REBfFkg==:");
        assert_eq!(count("GET", 200, &[("repr-digest", &both)]), 1);
        let lines = [("repr-digest", "unixsum=:AAA=:"), ("repr-digest", HELLO)];
        assert_eq!(count("GET", 200, &lines), 1);
    }
}
