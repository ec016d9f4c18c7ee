//! What happened to a request.

use std::fmt;

use http::HeaderMap;

use super::cache_status;
use crate::base::named::named;

/// What happened to a request that a cache answered.
///
/// [`name`](Self::name) is the one text of it, in `Cache-Status`, in counters and in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered from the store, fresh.
    Hit,
    /// Answered from the store, stale, as the request allowed (`max-stale`).
    StaleAccepted,
    /// Answered from the store, stale, as the origin allows while it is refreshed.
    StaleWhileRevalidate,
    /// The origin answered.
    Miss(Forward),
    /// Answered with what another request was fetching at that moment.
    Collapsed(Forward),
    /// Answered from the store after the origin confirmed that it still holds.
    Revalidated(Forward),
    /// Answered from the store, stale, because the origin failed.
    StaleOnError(Forward),
    /// Answered from the store, stale, because the origin had not answered by the soft deadline.
    StaleOnDeadline(Forward),
    /// Passed on to the origin past the store.
    Passed(Forward),
    /// Not answered: the request wanted nothing but what is stored, and nothing is.
    OnlyIfCached,
    /// Not answered: the origin failed, and nothing stored may take its place.
    Failed(Forward),
}

named! {
    /// Why a request went on towards the origin (the `fwd` parameter of RFC 9211 section 2.2).
    #[non_exhaustive]
    pub enum Forward: pub(super) ALL {
        /// Its URL or its fields forbid an answer from the store.
        Bypass = "bypass",
        /// Its method does.
        Method = "method",
        /// Nothing is stored under its URL.
        UriMiss = "uri-miss",
        /// What is stored was selected by other request fields.
        VaryMiss = "vary-miss",
        /// What is stored is fresh, but the request wants the origin asked.
        Request = "request",
        /// What is stored is stale.
        Stale = "stale",
        /// Only a part of what it asks for is stored.
        Partial = "partial",
    }
}

impl Outcome {
    /// The names of all outcomes, in the order in which they are counted and shown.
    pub const NAMES: [&'static str; 11] = [
        "hit",
        "stale-accepted",
        "stale-while-revalidate",
        "miss",
        "collapsed",
        "revalidated",
        "stale-on-error",
        "stale-on-deadline",
        "passed",
        "only-if-cached",
        "failed",
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Why the request went on towards the origin; `None` where it did not.
    #[must_use]
    pub const fn forward(self) -> Option<Forward> {
        match self {
            Self::Hit | Self::StaleAccepted | Self::StaleWhileRevalidate | Self::OnlyIfCached => None,
            Self::Miss(forward)
            | Self::Collapsed(forward)
            | Self::Revalidated(forward)
            | Self::StaleOnError(forward)
            | Self::StaleOnDeadline(forward)
            | Self::Passed(forward)
            | Self::Failed(forward) => Some(forward),
        }
    }

    /// Whether the body came out of the store.
    #[must_use]
    pub const fn is_from_store(self) -> bool {
        matches!(
            self,
            Self::Hit
                | Self::StaleAccepted
                | Self::StaleWhileRevalidate
                | Self::Revalidated(_)
                | Self::StaleOnError(_)
                | Self::StaleOnDeadline(_)
        )
    }

    /// What the cache nearest to the client says in `Cache-Status`, where it is one of ours.
    ///
    /// ```
    /// use forwardcache::{Forward, Outcome};
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("cache-status", "forwardcache; fwd=uri-miss; stored".parse().unwrap());
    /// assert_eq!(Outcome::of(&headers), Some(Outcome::Miss(Forward::UriMiss)));
    /// ```
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        cache_status::outcome(headers)
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::StaleAccepted => 1,
            Self::StaleWhileRevalidate => 2,
            Self::Miss(_) => 3,
            Self::Collapsed(_) => 4,
            Self::Revalidated(_) => 5,
            Self::StaleOnError(_) => 6,
            Self::StaleOnDeadline(_) => 7,
            Self::Passed(_) => 8,
            Self::OnlyIfCached => 9,
            Self::Failed(_) => 10,
        }
    }

    /// The outcome of this name; one that was forwarded needs to know why.
    pub(super) fn from_name(name: &str, forward: Option<Forward>) -> Option<Self> {
        Some(match (name, forward) {
            ("hit", None) => Self::Hit,
            ("stale-accepted", None) => Self::StaleAccepted,
            ("stale-while-revalidate", None) => Self::StaleWhileRevalidate,
            ("only-if-cached", None) => Self::OnlyIfCached,
            ("miss", Some(forward)) => Self::Miss(forward),
            ("collapsed", Some(forward)) => Self::Collapsed(forward),
            ("revalidated", Some(forward)) => Self::Revalidated(forward),
            ("stale-on-error", Some(forward)) => Self::StaleOnError(forward),
            ("stale-on-deadline", Some(forward)) => Self::StaleOnDeadline(forward),
            ("passed", Some(forward)) => Self::Passed(forward),
            ("failed", Some(forward)) => Self::Failed(forward),
            _ => return None,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
