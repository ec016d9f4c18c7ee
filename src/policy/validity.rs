//! The times and flags that later decisions about a stored response need, computed once, when it is stored.

use std::time::Duration;

use crate::base::clock::Moment;

/// The source of a freshness lifetime (RFC 9111 section 4.2.1), in the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifetimeSource {
    /// `s-maxage`, in shared mode.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires` minus `Date`.
    Expires,
    /// A heuristic: a part of the time since `Last-Modified` (section 4.2.2).
    Heuristic,
    /// A rule of the operator ([`LifetimeRule`](crate::policy::LifetimeRule)).
    Rule,
    /// A soft purge, since which the response is stale.
    Purge,
    /// No source: the response was stale on arrival, and is stored for its validator.
    None,
}

/// The times and flags of a stored response that decide on its reuse.
///
/// Ages and lifetimes are whole seconds in HTTP. The fraction of `response_time` is kept, so that an age is rounded
/// only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Validity {
    /// When the response was received (`response_time` of RFC 9111 section 4.2.3).
    pub response_time: Moment,
    /// The age of the response at that time (`corrected_initial_age`).
    pub initial_age: Duration,
    /// For how long the response is fresh after it was generated.
    pub lifetime: Duration,
    /// The source of the lifetime.
    pub lifetime_source: LifetimeSource,
    /// For how long past its freshness the response may be served while it is refreshed (RFC 5861 section 3).
    pub stale_while_revalidate: Duration,
    /// For how long past its freshness the response may be served if the origin fails (RFC 5861 section 4). `None` if
    /// the response does not specify it.
    pub stale_if_error: Option<Duration>,
    /// `no-cache`: the response is never reused without successful validation.
    pub no_cache: bool,
    /// `must-revalidate`, or a directive that implies it in shared mode: the response is never served stale.
    pub must_revalidate: bool,
    /// `immutable` (RFC 8246): while the response is fresh, a client's reload is not forwarded.
    pub immutable: bool,
}

impl Validity {
    /// Returns the validity of a response that was received at this time, is stale, and has no flags.
    #[must_use]
    pub const fn new(response_time: Moment) -> Self {
        Self {
            response_time,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            lifetime_source: LifetimeSource::None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: None,
            no_cache: false,
            must_revalidate: false,
            immutable: false,
        }
    }
}

impl Validity {
    /// Returns the `current_age` (RFC 9111 section 4.2.3). The time since arrival is the greater of the wall clock's
    /// and the monotonic clock's: the first may be set back, and the second stops while the machine sleeps.
    #[must_use]
    pub fn age(&self, now: impl Into<Moment>) -> Duration {
        self.initial_age.saturating_add(now.into().since(self.response_time))
    }

    /// Returns whether the response is fresh (RFC 9111 section 4.2): its lifetime exceeds its age.
    #[must_use]
    pub fn is_fresh(&self, now: impl Into<Moment>) -> bool {
        self.lifetime > self.age(now)
    }

    /// Returns for how long the response stays fresh; zero if it is stale.
    #[must_use]
    pub fn remaining(&self, now: impl Into<Moment>) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }

    /// Returns for how long the response has been stale; zero while it is fresh.
    #[must_use]
    pub fn staleness(&self, now: impl Into<Moment>) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }
}
