//! A request as it came.

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
    /// Which connection it came on, counted from 0 in the order they were accepted.
    pub(crate) connection: usize,
}

impl Received {
    /// The first value of a field, if it is there and is text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        wire::field(&self.headers, name)
    }
}
