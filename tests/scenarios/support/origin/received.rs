//! A recorded request.

use http::{HeaderMap, Method};

use crate::support::wire;

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    /// The request target as sent: path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// The whole body, without chunks.
    pub(crate) body: Vec<u8>,
    /// The index of its connection, counted from 0 in the order in which they were accepted.
    pub(crate) connection: usize,
}

impl Received {
    /// Returns the first value of a header field, or `None` if the field is missing or is not text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        wire::field(&self.headers, name)
    }
}
