//! The [`RoundTrip`] in front of an origin that delays or refuses requests.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};

use super::options::{OriginLimits, Share};
use super::permit::with_permit;
use super::shared::{CurrentShare, Shared};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::Result;
use crate::message::body::Body;
use crate::message::deadline::Deadline;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::metrics::Stats;

/// A [`RoundTrip`] that limits the requests to each origin by [`OriginLimits`].
///
/// It belongs between an [`HttpCache`](crate::HttpCache) and the [`Origin`](crate::Origin). A
/// [`Peer`](crate::Peer) contains one that uses the peer's share of the pool's limits. A `Throttle` that you
/// create is not part of a pool and uses the whole limits.
///
/// ```
/// use forwardcache::origin::{OriginLimits, Throttle};
/// use forwardcache::{Body, HttpCache, RoundTrip, RoundTripFn};
/// use http::{Request, Response};
///
/// let busy = RoundTripFn(|_| {
///     Ok(Response::builder().status(429).header("retry-after", "30").body(Body::empty()).unwrap())
/// });
/// let cache = HttpCache::builder().origin(Throttle::new(busy, OriginLimits::new())?).build()?;
/// let fetch = || cache.round_trip(Request::get("http://example.com/").body(Body::empty()).unwrap());
/// assert_eq!(fetch()?.status(), 429);
/// let error = fetch().unwrap_err();
/// assert!(error.retry_after().is_some_and(|time| time.as_secs() >= 29));
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Cloning is cheap, and clones share their limits.
#[derive(Clone)]
pub struct Throttle {
    shared: Arc<Shared>,
    next: Arc<dyn RoundTrip>,
}

impl Throttle {
    /// Creates a throttle in front of `next`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`](crate::ErrorKind::BadOption) if a limit is out of range.
    pub fn new(next: impl RoundTrip + 'static, origin_limits: OriginLimits) -> Result<Self> {
        let (clock, whole) = (Arc::new(SystemClock), Box::new(|| Share::WHOLE));
        Self::made_of(Arc::new(next), origin_limits, clock, Arc::default(), whole)
    }

    pub(crate) fn made_of(
        next: Arc<dyn RoundTrip>,
        options: OriginLimits,
        clock: Arc<dyn Clock>,
        stats: Arc<Stats>,
        share: CurrentShare,
    ) -> Result<Self> {
        let shared = Shared::new(options, clock, stats, share)?;
        Ok(Self { shared: Arc::new(shared), next })
    }

    /// Returns how many fetches from this origin may run at the same time: this peer's current share of
    /// [`OriginLimits::concurrent`], at least 1. `None` without a limit.
    ///
    /// A scheduler that never starts more fetches never blocks a thread on a permit. The call is cheap and
    /// never blocks. Currently, the result is the same for all origins.
    #[must_use]
    pub fn concurrency_share(&self, _origin: &CanonicalUrl) -> Option<u32> {
        self.shared.concurrency_share()
    }

    /// Limits the number of waiting requests, for all origins together.
    pub(crate) fn set_max_waiting(&self, most: usize) {
        self.shared.set_max_waiting(most);
    }

    /// Creates a throttle with this clock and without a pool, for tests of other modules.
    #[cfg(test)]
    pub(crate) fn alone(
        next: impl RoundTrip + 'static,
        origin_limits: OriginLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::made_of(Arc::new(next), origin_limits, clock, Arc::default(), Box::new(|| Share::WHOLE))
            .unwrap()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self, origin: &str) -> u32 {
        let origin = CanonicalUrl::parse(origin).unwrap();
        self.shared.in_flight(&origin)
    }
}

impl RoundTrip for Throttle {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        let limit =
            Deadline::of(request.extensions()).and_then(|deadline| deadline.remaining(Instant::now()));
        let scope = self.shared.scope(&target, request.headers());
        let permit = self.shared.acquire(&scope, limit).map_err(|error| error.with_url(&target))?;
        let response = self.next.round_trip(request)?;
        self.shared.note_response(&scope, response.status(), response.headers());
        Ok(match permit {
            Some(permit) => response.map(|body| with_permit(body, permit)),
            None => response,
        })
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("origin_limits", self.shared.options()).finish_non_exhaustive()
    }
}
