//! The [`RoundTrip`] that stands before an origin and lets through what it may be asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response, StatusCode};
use log::debug;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::budget::Admission;
use super::budgets::Budgets;
use super::options::{Limits, Politeness};
use super::place::{Place, held};
use crate::body::Body;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::round_trip::RoundTrip;
use crate::stats::Stats;
use crate::target::Target;

/// A [`RoundTrip`] that asks no origin for more than it may, by [`Politeness`].
///
/// It belongs between a [`Caching`](crate::Caching) and what fetches; a [`Peer`](crate::Peer) has one there already.
/// It knows of no pool: its limits are those of this one.
///
/// ```
/// use forwardcache::{Body, Caching, Polite, Politeness, RoundTrip, RoundTripFn};
/// use http::{Request, Response};
///
/// let busy = RoundTripFn(|_| {
///     Ok(Response::builder().status(429).header("retry-after", "30").body(Body::empty()).unwrap())
/// });
/// let cache = Caching::builder().origin(Polite::new(busy, Politeness::new())?).build()?;
/// let fetch = || cache.round_trip(Request::get("http://example.com/").body(Body::empty()).unwrap());
/// assert_eq!(fetch()?.status(), 429);
/// let error = fetch().unwrap_err();
/// assert!(error.retry_after().is_some_and(|time| time.as_secs() >= 29));
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// Cloning it is cheap and gives the same one.
#[derive(Clone)]
pub struct Polite {
    shared: Arc<Shared>,
    next: Arc<dyn RoundTrip>,
}

/// What is known, for all who ask.
pub(super) struct Shared {
    options: Politeness,
    limits: Limits,
    clock: Arc<dyn Clock>,
    stats: Arc<Stats>,
    /// How many may wait for all origins together.
    most_waiting: AtomicUsize,
    budgets: Mutex<Budgets>,
    /// Told at every change that somebody may wait for.
    changed: Condvar,
}

impl Polite {
    /// Stands before `next`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] for a limit that makes no sense.
    pub fn new(next: impl RoundTrip + 'static, politeness: Politeness) -> Result<Self> {
        Self::made_of(Arc::new(next), politeness, Arc::new(SystemClock), Arc::default())
    }

    #[allow(clippy::needless_pass_by_value, reason = "it becomes a part of this")]
    pub(crate) fn made_of(
        next: Arc<dyn RoundTrip>,
        politeness: Politeness,
        clock: Arc<dyn Clock>,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let limits = politeness.limits()?;
        let shared = Shared {
            options: politeness,
            limits,
            clock,
            stats,
            most_waiting: AtomicUsize::new(usize::MAX),
            budgets: Mutex::default(),
            changed: Condvar::new(),
        };
        Ok(Self { shared: Arc::new(shared), next })
    }

    /// Lets no more than this many wait, for all origins together.
    pub(crate) fn limit_waiting(&self, most: usize) {
        self.shared.most_waiting.fetch_min(most, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.budgets.lock().waiting
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self, origin: &str) -> u32 {
        self.shared.budgets.lock().find(origin).map_or(0, |budget| budget.in_flight)
    }
}

impl RoundTrip for Polite {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = Target::parse(&request.uri().to_string())?;
        let origin = origin_of(&target);
        let place = self.shared.enter(origin).map_err(|error| error.with_url(&target))?;
        let response = self.next.round_trip(request)?;
        self.shared.answered(&place.origin, response.status(), response.headers());
        Ok(response.map(|body| held(body, place)))
    }
}

/// What has one budget: the URL of the origin itself.
fn origin_of(target: &Target) -> String {
    let scheme = if target.is_https() { "https" } else { "http" };
    format!("{scheme}://{}/", target.authority())
}

impl Shared {
    /// Waits for a place, as long as that is worth it.
    fn enter(self: &Arc<Self>, origin: String) -> Result<Place> {
        let begun = Instant::now();
        let mut budgets = self.budgets.lock();
        let ticket = budgets.ticket();
        let mut is_waiting = false;
        loop {
            let now = self.clock.now();
            let may_wait = budgets.waiting < self.most_waiting.load(Ordering::Relaxed);
            let Some(budget) = budgets.of(&origin, &self.options, self.limits, now) else {
                return Err(self.refused(budgets, Admission::Full(Duration::from_secs(1))));
            };
            let admission = budget.admit(ticket, &self.options, may_wait, now);
            let left = self.options.patience.saturating_sub(begun.elapsed());
            let admission = match admission {
                Admission::Wait(_) if left.is_zero() => Admission::Full(budget.again(now)),
                admission => admission,
            };
            match admission {
                Admission::Wait(again) => {
                    if !is_waiting {
                        is_waiting = true;
                        budgets.waiting += 1;
                        self.stats.count_origin_wait();
                    }
                    // A clock that stands still is not asked without end.
                    let pause = again.map_or(left, |again| again.clamp(SHORTEST, left.max(SHORTEST)));
                    self.changed.wait_for(&mut budgets, pause);
                }
                Admission::Go | Admission::Full(_) | Admission::Paused(_) => {
                    budget.leave(ticket);
                    if is_waiting {
                        budgets.waiting -= 1;
                        // The next one is the first now.
                        self.changed.notify_all();
                    }
                    if admission == Admission::Go {
                        drop(budgets);
                        return Ok(Place { shared: Arc::clone(self), origin });
                    }
                    return Err(self.refused(budgets, admission));
                }
            }
        }
    }

    fn refused(&self, budgets: MutexGuard<'_, Budgets>, admission: Admission) -> Error {
        drop(budgets);
        self.stats.count_origin_refusal();
        let (after, says) = match admission {
            Admission::Paused(left) => (left, "the origin asked to be left alone for a while"),
            Admission::Full(after) => (after, "the origin's limit is reached"),
            Admission::Go | Admission::Wait(_) => (Duration::ZERO, "the origin's limit is reached"),
        };
        Error::new(ErrorKind::Unavailable, says).with_retry_after(after)
    }

    /// What an answer of the origin says to all who would ask it.
    fn answered(&self, origin: &str, status: StatusCode, headers: &HeaderMap) {
        let now = self.clock.now();
        let mut budgets = self.budgets.lock();
        let Some(budget) = budgets.find(origin) else { return };
        if budget.pause.answered(status, headers, self.options.longest_pause, now) {
            let left = budget.pause.left(now).unwrap_or_default();
            drop(budgets);
            // Whoever waits need not wait any longer.
            self.changed.notify_all();
            debug!("{origin} answered {status} and is left alone for {} ms", left.as_millis());
        }
    }

    pub(super) fn give_back(&self, origin: &str) {
        if let Some(budget) = self.budgets.lock().find(origin) {
            budget.in_flight = budget.in_flight.saturating_sub(1);
        }
        self.changed.notify_all();
    }
}

/// How long is waited at least before a clock is asked again.
const SHORTEST: Duration = Duration::from_millis(1);

impl fmt::Debug for Polite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polite").field("politeness", &self.shared.options).finish_non_exhaustive()
    }
}
