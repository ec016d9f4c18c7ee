//! Shared fetches: what identifies one, and the result that its followers get.

use std::sync::{Arc, Weak};

use http::{HeaderMap, StatusCode};

use super::tombstones::Sequence;
use crate::base::error::Error;
use crate::cache::fill::Fill;
use crate::cache::singleflight::Leader;
use crate::message::pieces::Pieces;
use crate::policy::{Basis, Validity, Variant};
use crate::store::Key;

/// Identifies a shared fetch: the key and, if known, the variant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) key: Key,
    pub(super) variant: Option<Variant>,
}

/// The leader of a shared fetch.
pub(super) type FlightLeader = Leader<FlightKey, FlightResult>;

/// The result that the leader of a shared fetch gives to its followers.
#[derive(Clone)]
pub(super) enum FlightResult {
    /// A response whose body is in transit, and the sequence number of its fetch. Each follower that matches it reads
    /// it.
    Fill(Arc<Head>, Weak<Fill>, Sequence),
    /// A response was stored: look up again.
    Stored,
    /// The fetch failed.
    Failed(Arc<Error>),
    /// The origin answered with this short server error.
    Failure(Arc<Head>, Pieces),
    /// The origin answered with this server error: serve a stale response, if there is one.
    ServerError(StatusCode),
    /// The response cannot be shared: each follower fetches on its own.
    NotShared,
    /// The leader has no result: one of the followers leads a new fetch.
    GivenUp,
}

/// The head of a response whose body is in transit.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) validity: Validity,
    pub(super) variant: Variant,
    /// The URL, if the key does not contain it.
    pub(super) url: Option<Box<str>>,
    pub(super) basis: Basis,
}
