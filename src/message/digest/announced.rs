//! The digests that a message announces in its header fields (RFC 9530).

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::checked::{Algorithm, Expected};
use crate::message::header::list;
use crate::message::header::structured::{Value, dictionary};

pub(crate) static CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
pub(crate) static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Returns the digests that the content of a response must have according to its header fields.
///
/// `Content-Digest` applies to the content itself. `Repr-Digest` applies to the complete representation, which is the
/// content only in a response to GET that is neither partial nor 304. Unknown algorithms and broken ones (section 5)
/// are ignored.
pub(crate) fn announced(method: &Method, status: StatusCode, headers: &HeaderMap) -> Vec<Expected> {
    let has_content = *method != Method::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_content {
        return Vec::new();
    }
    let mut expected = digests(headers, &CONTENT_DIGEST);
    // With these status codes the content is partial, or represents something other than the resource.
    let is_other_representation = matches!(
        status,
        StatusCode::PARTIAL_CONTENT
            | StatusCode::IM_USED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
    );
    if *method == Method::GET && !is_other_representation {
        expected.extend(expected_representation_digests(headers));
    }
    expected.dedup();
    expected
}

/// Returns the digests of the complete representation, from the header fields of a partial response.
pub(crate) fn expected_representation_digests(headers: &HeaderMap) -> Vec<Expected> {
    digests(headers, &REPR_DIGEST)
}

fn digests(headers: &HeaderMap, name: &HeaderName) -> Vec<Expected> {
    let Some(field) = list::joined(headers, name) else { return Vec::new() };
    let members = dictionary(&field).unwrap_or_default();
    let known = members.into_iter().filter_map(|(algorithm, value)| {
        let algorithm = Algorithm::of_name(algorithm)?;
        // A digest of the wrong length is invalid.
        match value {
            Value::ByteSequence(sum) if sum.len() == algorithm.length() => Some(Expected { algorithm, sum }),
            _ => None,
        }
    });
    known.collect()
}

#[cfg(test)]
mod tests;
