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
mod tests;
