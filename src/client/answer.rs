//! A response from the pool, with the peer that sent it.

use std::time::Duration;

use http::Response;

use super::exchange::Exchange;
use super::liveness::Listed;
use super::peers::PeerEntry;
use crate::message::body::Body;

/// A response, and who gave it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) from: Option<AnsweredBy>,
}

/// The peer that gave a response.
pub(super) struct AnsweredBy {
    pub(super) listed: Listed,
    /// Whether the peer had the body in its store when it answered.
    pub(super) is_stored: bool,
    /// How long its beginning has been waited for.
    pub(super) waited: Duration,
}

impl AnsweredBy {
    pub(super) fn exchange(&self) -> &Exchange {
        &self.listed.exchange
    }

    pub(super) fn peer(&self) -> &PeerEntry {
        &self.exchange().peer
    }
}
