//! Which of the stored responses of one URL answers a request (RFC 9111 section 4.1).

use bytes::Bytes;
use http::header::HeaderName;

/// The request fields that selected a stored response: what its `Vary` names, each with the
/// normalised value that the request had. Sorted by name, so that equal sets are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    pub(crate) fields: Box<[(HeaderName, Option<Bytes>)]>,
}
