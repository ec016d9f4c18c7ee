//! What a decision about a stored response needs, computed once, when it is stored.

use std::time::Duration;

use crate::base::clock::Moment;

/// Which field gave a response its freshness lifetime (RFC 9111 section 4.2.1), in the order in
/// which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifetimeSource {
    /// `s-maxage`, in shared mode.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires` less `Date`.
    Expires,
    /// A share of the time since `Last-Modified` (section 4.2.2).
    Heuristic,
    /// A rule of the operator ([`LifetimeRule`](crate::LifetimeRule)).
    Rule,
    /// Nothing: it is stale from the start, and worth keeping for its validator.
    None,
}

/// The times and flags of a stored response, all that the reuse decision asks.
///
/// Ages and lifetimes are whole seconds in HTTP; the fraction of `response_time` is kept, so that an
/// age rounds once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When the response was received (`response_time` of RFC 9111 section 4.2.3).
    pub response_time: Moment,
    /// `corrected_initial_age`: how old it was then.
    pub initial_age: Duration,
    /// For how long since its generation it is fresh.
    pub lifetime: Duration,
    /// Who says so.
    pub lifetime_source: LifetimeSource,
    /// For how long past that it may be served while it is refreshed (RFC 5861 section 3).
    pub stale_while_revalidate: Duration,
    /// For how long past that it may be served when the origin fails (RFC 5861 section 4), where
    /// the response says so itself.
    pub stale_if_error: Option<Duration>,
    /// `no-cache`: never reused without successful validation.
    pub no_cache: bool,
    /// `must-revalidate`, or in shared mode what implies it: never served stale.
    pub must_revalidate: bool,
    /// `immutable` (RFC 8246): while it is fresh, a reload by the client is not passed on.
    pub immutable: bool,
}

impl Validity {
    /// `current_age` (RFC 9111 section 4.2.3). Of the time since it came, the greater of what the two clocks say counts:
    /// one may be set back, and the other stops while the machine sleeps.
    #[must_use]
    pub fn age(&self, now: impl Into<Moment>) -> Duration {
        self.initial_age.saturating_add(now.into().since(self.response_time))
    }

    /// Whether it is fresh (RFC 9111 section 4.2): its lifetime is longer than its age.
    #[must_use]
    pub fn is_fresh(&self, now: impl Into<Moment>) -> bool {
        self.lifetime > self.age(now)
    }

    /// For how long it stays fresh; zero when it is stale.
    #[must_use]
    pub fn remaining(&self, now: impl Into<Moment>) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }

    /// For how long it has been stale; zero while it is fresh.
    #[must_use]
    pub fn staleness(&self, now: impl Into<Moment>) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }
}
