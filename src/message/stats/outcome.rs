//! The outcome of a request.

use std::fmt;

use crate::base::named::named;

/// The outcome of a request to a cache.
///
/// [`name`](Self::name) is its text in `Cache-Status`, counters and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Served from the store, fresh.
    Hit,
    /// Served from the store, stale, because the request allows it (`max-stale`).
    StaleAccepted,
    /// Served from the store, stale, while it is refreshed, because the origin allows it (`stale-while-revalidate`).
    StaleWhileRevalidate,
    /// Served by the origin.
    Miss(Forward),
    /// Served from a fetch that another request had started.
    Collapsed(Forward),
    /// Served from the store after the origin confirmed that the stored response is still valid.
    Revalidated(Forward),
    /// Served from the store, stale, because the origin failed.
    StaleIfError(Forward),
    /// Served from the store, stale, because the origin did not answer before the soft deadline.
    StaleOnDeadline(Forward),
    /// Forwarded to the origin without using the store.
    Passed(Forward),
    /// Not served: the request allows only a stored response (`only-if-cached`), and none can be used.
    OnlyIfCached,
    /// Not served: the origin failed, and no stored response may be served instead.
    Failed(Forward),
}

named! {
    /// The reason for forwarding a request towards the origin (the `fwd` parameter of RFC 9211 section 2.2).
    #[non_exhaustive]
    pub enum Forward: pub(super) ALL {
        /// The URL or header fields of the request do not allow a response from the store.
        Bypass = "bypass",
        /// The method does not allow a response from the store.
        Method = "method",
        /// No response is stored for the URL.
        UriMiss = "uri-miss",
        /// The stored responses do not match the request's header fields (`Vary`).
        VaryMiss = "vary-miss",
        /// The stored response is fresh, but the request requires the origin to be asked.
        Request = "request",
        /// The stored response is stale.
        Stale = "stale",
        /// Only a part of the requested range is stored.
        Partial = "partial",
    }
}

impl Outcome {
    /// The names of all outcomes, in the order of their counters.
    pub const NAMES: [&'static str; 11] = [
        "hit",
        "stale-accepted",
        "stale-while-revalidate",
        "miss",
        "collapsed",
        "revalidated",
        "stale-if-error",
        "stale-on-deadline",
        "passed",
        "only-if-cached",
        "failed",
    ];

    /// Returns the name, as used in `Cache-Status`, counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Returns the reason for forwarding the request, or `None` if it was not forwarded.
    #[must_use]
    pub const fn forward(self) -> Option<Forward> {
        match self {
            Self::Hit | Self::StaleAccepted | Self::StaleWhileRevalidate | Self::OnlyIfCached => None,
            Self::Miss(forward)
            | Self::Collapsed(forward)
            | Self::Revalidated(forward)
            | Self::StaleIfError(forward)
            | Self::StaleOnDeadline(forward)
            | Self::Passed(forward)
            | Self::Failed(forward) => Some(forward),
        }
    }

    /// Returns whether the body came from the store.
    #[must_use]
    pub const fn is_from_store(self) -> bool {
        matches!(
            self,
            Self::Hit
                | Self::StaleAccepted
                | Self::StaleWhileRevalidate
                | Self::Revalidated(_)
                | Self::StaleIfError(_)
                | Self::StaleOnDeadline(_)
        )
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::StaleAccepted => 1,
            Self::StaleWhileRevalidate => 2,
            Self::Miss(_) => 3,
            Self::Collapsed(_) => 4,
            Self::Revalidated(_) => 5,
            Self::StaleIfError(_) => 6,
            Self::StaleOnDeadline(_) => 7,
            Self::Passed(_) => 8,
            Self::OnlyIfCached => 9,
            Self::Failed(_) => 10,
        }
    }

    /// Whether each outcome is a hit in the hit ratio, in the order of [`NAMES`](Self::NAMES). `None` if it counts neither as
    /// a hit nor as a miss: the cache could not be used.
    #[cfg(feature = "peer")]
    pub(crate) const IS_HIT: [Option<bool>; Self::NAMES.len()] = [
        Some(true),
        Some(true),
        Some(true),
        Some(false),
        Some(true),
        Some(false),
        Some(false),
        Some(false),
        None,
        None,
        Some(false),
    ];

    /// Returns whether the response came from the store or from a shared fetch; `None` if the cache could not be used.
    #[cfg(feature = "peer")]
    pub(crate) const fn is_hit(self) -> Option<bool> {
        Self::IS_HIT[self.index()]
    }

    /// Returns the outcome with this name. Outcomes of forwarded requests need `forward`.
    pub(super) fn from_name(name: &str, forward: Option<Forward>) -> Option<Self> {
        Some(match (name, forward) {
            ("hit", None) => Self::Hit,
            ("stale-accepted", None) => Self::StaleAccepted,
            ("stale-while-revalidate", None) => Self::StaleWhileRevalidate,
            ("only-if-cached", None) => Self::OnlyIfCached,
            ("miss", Some(forward)) => Self::Miss(forward),
            ("collapsed", Some(forward)) => Self::Collapsed(forward),
            ("revalidated", Some(forward)) => Self::Revalidated(forward),
            ("stale-if-error", Some(forward)) => Self::StaleIfError(forward),
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
