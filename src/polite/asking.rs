//! The [`RoundTrip`] that stands before an origin and lets through what it may be asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response, StatusCode};
use log::debug;
use parking_lot::{Condvar, Mutex};

use super::budget::Admission;
use super::budgets::Budgets;
use super::keepers::{Alone, Keepers};
use super::lease::{Ask, LONGEST};
use super::options::{Limits, Politeness};
use super::place::{Place, held};
use super::steward::stir;
use crate::body::Body;
use crate::clock::{Clock, SystemClock};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::peer_url::PeerUrl;
use crate::round_trip::RoundTrip;
use crate::stats::Stats;
use crate::target::Target;

/// A [`RoundTrip`] that asks no origin for more than it may, by [`Politeness`].
///
/// It belongs between a [`Caching`](crate::Caching) and what fetches; a [`Peer`](crate::Peer) has one there already,
/// which shares its limits with the pool. This one knows of no pool: its limits are its own.
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
    pub(super) options: Politeness,
    limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    stats: Arc<Stats>,
    pub(super) keepers: Box<dyn Keepers>,
    /// How many may wait for all origins together.
    most_waiting: AtomicUsize,
    pub(super) budgets: Mutex<Budgets>,
    /// Told at every change that somebody may wait for.
    pub(super) changed: Condvar,
    /// Told when there is a keeper to ask.
    pub(super) to_ask: Condvar,
}

/// How long is waited at least before a clock is asked again.
const SHORTEST: Duration = Duration::from_millis(1);

impl Polite {
    /// Stands before `next`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] for a limit that makes no sense.
    pub fn new(next: impl RoundTrip + 'static, politeness: Politeness) -> Result<Self> {
        Self::made_of(Arc::new(next), politeness, Arc::new(SystemClock), Arc::default(), Box::new(Alone))
    }

    pub(crate) fn made_of(
        next: Arc<dyn RoundTrip>,
        politeness: Politeness,
        clock: Arc<dyn Clock>,
        stats: Arc<Stats>,
        keepers: Box<dyn Keepers>,
    ) -> Result<Self> {
        let limits = politeness.limits()?;
        let budgets = Mutex::new(Budgets::new(clock.now()));
        let shared = Shared {
            options: politeness,
            limits,
            clock,
            stats,
            keepers,
            most_waiting: AtomicUsize::new(usize::MAX),
            budgets,
            changed: Condvar::new(),
            to_ask: Condvar::new(),
        };
        Ok(Self { shared: Arc::new(shared), next })
    }

    /// Lets no more than this many wait, for all origins together.
    pub(crate) fn limit_waiting(&self, most: usize) {
        self.shared.most_waiting.fetch_min(most, Ordering::Relaxed);
    }

    /// Answers a peer that asks for a part of an origin's budget: the text that it gets, or why it gets none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadRequest`] for what is no such text, and [`ErrorKind::BadPeer`] where the budget is not kept
    /// here, or not for the one who asks.
    pub(crate) fn lend(&self, target: &Target, asked: Body) -> Result<String> {
        let bad = |kind, text| Error::new(kind, text).with_url(target);
        let asked = asked.into_bytes_limited(LONGEST)?;
        let parsed = std::str::from_utf8(&asked).ok().and_then(Ask::parse);
        let (from, ask) = parsed.ok_or_else(|| bad(ErrorKind::BadRequest, "this asks for no lease"))?;
        let shared = &self.shared;
        // There are as many who borrow as there are peers.
        if !shared.keepers.is_peer(from) || from == shared.keepers.own_url() {
            return Err(bad(ErrorKind::BadPeer, "who asks is no other peer of this pool"));
        }
        let elsewhere = || bad(ErrorKind::BadPeer, "the budget of this origin is not kept here");
        let origin = target.origin();
        if shared.limits.is_none() {
            return Err(elsewhere());
        }
        let (keeper, peers) = shared.pool(&origin);
        let now = shared.clock.now();
        let mut budgets = shared.budgets.lock();
        let terms = budgets.terms(shared.limits, keeper, peers, now);
        let budget = budgets.of(&origin, &shared.options, &terms, now);
        let grant = budget.and_then(|budget| budget.lend(from, &ask, shared.options.longest_pause, now));
        drop(budgets);
        // What it has given back may be what somebody waits for here.
        shared.changed.notify_all();
        grant.map(|grant| grant.text()).ok_or_else(elsewhere)
    }

    /// One with this clock, for tests elsewhere.
    #[cfg(test)]
    pub(crate) fn alone(
        next: impl RoundTrip + 'static,
        politeness: Politeness,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::made_of(Arc::new(next), politeness, clock, Arc::default(), Box::new(Alone)).unwrap()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.budgets.lock().waiting
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self, origin: &str) -> u32 {
        let origin = Target::parse(origin).unwrap();
        self.shared.budgets.lock().find(&origin).map_or(0, |budget| budget.in_flight)
    }
}

impl RoundTrip for Polite {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = Target::parse(&request.uri().to_string())?;
        let limit =
            Deadline::of(request.extensions()).and_then(|deadline| deadline.remaining(Instant::now()));
        let place = self.shared.enter(target.origin(), limit).map_err(|error| error.with_url(&target))?;
        let response = self.next.round_trip(request)?;
        self.shared.answered(&place.origin, response.status(), response.headers());
        Ok(response.map(|body| held(body, place)))
    }
}

impl Shared {
    /// Who keeps the budget of this origin at the moment, and in a pool of how many. Where there are no limits, there
    /// is nothing to share.
    fn pool(&self, origin: &Target) -> (Option<PeerUrl>, u32) {
        if self.limits.is_none() {
            return (None, 1);
        }
        (self.keepers.keeper(origin), self.keepers.peers())
    }

    /// Waits for a place, as long as that is worth it, and no longer than this limit.
    fn enter(self: &Arc<Self>, origin: Target, limit: Option<Duration>) -> Result<Place> {
        let begun = Instant::now();
        let patience = limit.into_iter().chain([self.options.patience]).min().unwrap_or_default();
        let (keeper, peers) = self.pool(&origin);
        let mut budgets = self.budgets.lock();
        let ticket = budgets.ticket();
        let terms = budgets.terms(self.limits, keeper, peers, self.clock.now());
        let (mut is_known, mut is_waiting) = (false, false);
        let admission = loop {
            let now = self.clock.now();
            let (others_waiting, most_waiting) = (budgets.waiting, self.most_waiting.load(Ordering::Relaxed));
            // Whoever waits knows the pool as it was, and takes the budget as it finds it.
            let budget = if is_known {
                budgets.find(&origin)
            } else {
                budgets.of(&origin, &self.options, &terms, now)
            };
            let Some(budget) = budget else { break Admission::Full(Duration::from_secs(1)) };
            let mut admission = budget.admit(ticket, &self.options, now);
            let left = patience.saturating_sub(begun.elapsed());
            if matches!(admission, Admission::Wait(_)) && left.is_zero() {
                admission = Admission::Full(budget.again(now));
            }
            let (is_leased, is_asking) = (budget.is_leased(), budget.is_asking(now));
            // Who waits to hear what there is occupies a thread for a moment, and is not counted.
            let is_one_more = !is_waiting && !is_asking && matches!(admission, Admission::Wait(_));
            if is_one_more && most_waiting <= others_waiting {
                admission = Admission::Full(budget.again(now));
            }
            let Admission::Wait(again) = admission else {
                budget.leave(ticket);
                if is_leased && !budgets.has_steward {
                    // What is under way is prolonged by it.
                    stir(self, &mut budgets);
                }
                break admission;
            };
            is_known = true;
            if is_one_more {
                is_waiting = true;
                budgets.waiting += 1;
                self.stats.count_origin_wait();
            }
            if is_leased {
                stir(self, &mut budgets);
            }
            // A clock that stands still is not asked without end.
            let pause = again.map_or(left, |again| again.clamp(SHORTEST, left.max(SHORTEST)));
            self.changed.wait_for(&mut budgets, pause);
        };
        if is_waiting {
            budgets.waiting -= 1;
        }
        drop(budgets);
        if is_known {
            // The next one is the first now.
            self.changed.notify_all();
        }
        let (after, says) = match admission {
            Admission::Go => return Ok(Place { shared: Arc::clone(self), origin }),
            Admission::Paused(left) => (left, "the origin asked to be left alone for a while"),
            Admission::Full(after) => (after, "the origin's limit is reached"),
            Admission::Wait(_) => (SHORTEST, "the origin's limit is reached"),
        };
        self.stats.count_origin_refusal();
        Err(Error::new(ErrorKind::OriginBusy, says).with_retry_after(after))
    }

    /// What an answer of the origin says to all who would ask it.
    fn answered(&self, origin: &Target, status: StatusCode, headers: &HeaderMap) {
        let now = self.clock.now();
        let mut budgets = self.budgets.lock();
        let Some(budget) = budgets.find(origin) else { return };
        if budget.pause.answered(status, headers, self.options.longest_pause, now) {
            let left = budget.pause.left(now).unwrap_or_default();
            budget.has_paused();
            drop(budgets);
            // Whoever waits need not wait any longer, and the pool is to know.
            self.changed.notify_all();
            self.to_ask.notify_one();
            debug!("{origin} answered {} and is left alone for {} ms", status.as_u16(), left.as_millis());
        }
    }

    pub(super) fn give_back(&self, origin: &Target) {
        if let Some(budget) = self.budgets.lock().find(origin) {
            budget.in_flight = budget.in_flight.saturating_sub(1);
        }
        self.changed.notify_all();
    }
}

impl fmt::Debug for Polite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polite").field("politeness", &self.shared.options).finish_non_exhaustive()
    }
}
