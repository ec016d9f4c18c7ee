//! [`ResponseContext`]: turns a result of the cache into the response of this peer.

use http::Response;
use log::warn;

use super::forms::links::View;
use super::refusal::failure;
use crate::base::error::{Error, Result};
use crate::base::redacted::redacted;
use crate::message::body::Body;
use crate::message::nonblocking::BodyOrigin;
use crate::message::url::CanonicalUrl;
use crate::pool::protocol::{self, PoolDigest};

/// Properties of a request and its peer that change the response.
#[derive(Clone, Debug)]
pub(super) struct ResponseContext {
    /// How the client sees the header fields of the origin.
    pub(super) view: View,
    /// The digest of this peer's pool, if the client knows a different pool.
    pub(super) ring_mismatch: Option<PoolDigest>,
    /// Whether this peer is leaving.
    pub(super) is_leaving: bool,
}

impl ResponseContext {
    /// Turns a result of the cache into the response of this peer.
    pub(super) fn finish(self, result: Result<Response<Body>>, target: &CanonicalUrl) -> Response<Body> {
        let mut response = match result {
            Ok(mut response) => {
                protocol::remove_failure(response.headers_mut());
                self.view.rewrite(response.headers_mut(), target);
                if response.body().as_bytes().is_none() {
                    response.extensions_mut().insert(BodyOrigin(target.origin()));
                }
                response
            }
            Err(error) => {
                log_failure(&error, target);
                failure(&error)
            }
        };
        if let Some(own) = self.ring_mismatch {
            protocol::announce_members(response.headers_mut(), own);
        }
        if self.is_leaving {
            protocol::announce_leaving(response.headers_mut());
        }
        response
    }
}

/// Logs a failed request with its URL, from which credentials are redacted.
pub(super) fn log_failure(error: &Error, target: &CanonicalUrl) {
    warn!("{} {} {}", error.kind(), redacted(target.as_str()), error.reason());
}
