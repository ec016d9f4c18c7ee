//! A response from the pool, with the peer that sent it.

use std::time::Duration;

use http::Response;

use super::exchange::Exchange;
use super::late_peer_probes::RegisteredExchange;
use super::peers::PeerEntry;
use crate::message::body::Body;

/// A response, and the peer that sent it; `from` is `None` for the fallback.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) from: Option<AnsweredBy>,
}

/// The peer that sent a response.
pub(super) struct AnsweredBy {
    pub(super) registered: RegisteredExchange,
    /// Whether the peer had the whole body in its store when it responded.
    pub(super) is_stored: bool,
    /// How long the client waited for the beginning of the body.
    pub(super) waited: Duration,
}

impl AnsweredBy {
    pub(super) fn exchange(&self) -> &Exchange {
        &self.registered.exchange
    }

    pub(super) fn peer(&self) -> &PeerEntry {
        &self.exchange().peer
    }
}
