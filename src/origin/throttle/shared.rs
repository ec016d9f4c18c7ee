//! The state of a throttle behind its lock, and the requests that wait for a permit.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use log::debug;
use parking_lot::{Condvar, Mutex};

use super::options::{Limits, OriginLimits, Share};
use super::origin::{Admission, DEFAULT_RETRY, Ticket};
use super::origins::Origins;
use super::pauses::{Pauses, Scope};
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::header::list;
use crate::message::url::CanonicalUrl;
use crate::metrics::Stats;

/// Returns the current share of this peer. It is called before every fetch if there are limits, so it must be
/// cheap and must not block.
pub(super) type CurrentShare = Box<dyn Fn() -> Share + Send + Sync>;

/// The state that all clones share.
pub(super) struct Shared {
    options: OriginLimits,
    limits: Limits,
    clock: Arc<dyn Clock>,
    stats: Arc<Stats>,
    share: CurrentShare,
    /// The key for the digests of credentials.
    credentials: RandomState,
    tickets: AtomicU64,
    /// The largest number of waiting requests, for all origins together.
    max_waiting: AtomicUsize,
    state: Mutex<State>,
    /// Notified of every change that a waiting request may wait for.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    origins: Origins,
    pauses: Pauses,
    /// The number of waiting requests, for all origins together.
    waiting: usize,
}

/// The shortest wait, so that a manual clock that stands still causes no busy loop.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// The longest wait before a request checks again, because no notification is sent when the pool changes.
const MAX_WAIT: Duration = Duration::from_secs(1);

impl Shared {
    /// Checks the options and creates the state.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if a limit is out of range.
    pub(super) fn new(
        options: OriginLimits,
        clock: Arc<dyn Clock>,
        stats: Arc<Stats>,
        share: CurrentShare,
    ) -> Result<Self> {
        Ok(Self {
            limits: options.limits()?,
            options,
            clock,
            stats,
            share,
            credentials: RandomState::new(),
            tickets: AtomicU64::new(0),
            max_waiting: AtomicUsize::new(usize::MAX),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(super) fn options(&self) -> &OriginLimits {
        &self.options
    }

    /// Returns this peer's current share of the concurrent fetches from one origin; `None` without a limit.
    pub(super) fn concurrency_share(&self) -> Option<u32> {
        self.limits.concurrent.and_then(|_| self.current_limits().concurrent)
    }

    /// Limits the number of waiting requests, for all origins together.
    pub(super) fn set_max_waiting(&self, most: usize) {
        self.max_waiting.fetch_min(most, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self, origin: &CanonicalUrl) -> u32 {
        self.state.lock().origins.get_mut(origin).map_or(0, |state| state.in_flight)
    }

    /// Returns the limits of this peer at this moment. Computes the share only if there are limits.
    fn current_limits(&self) -> Limits {
        if self.limits.is_none() { self.limits } else { self.limits.for_share((self.share)()) }
    }

    /// Returns the scope of pauses that apply to this request.
    pub(super) fn scope(&self, target: &CanonicalUrl, headers: &HeaderMap) -> Scope {
        let credential = list::joined(headers, &AUTHORIZATION).filter(|_| !self.options.pause_origins);
        let credential = credential.map(|credential| self.credentials.hash_one(credential));
        Scope { origin: target.origin(), credential }
    }

    /// Waits for a permit, at most for `limit`, and fails early if the wait would be in vain. `None` if there
    /// are no limits and no permit is needed.
    pub(super) fn acquire(
        self: &Arc<Self>,
        scope: &Scope,
        limit: Option<Duration>,
    ) -> Result<Option<Permit>> {
        let begun = Instant::now();
        let max_wait = limit.into_iter().chain([self.options.max_wait]).min().unwrap_or_default();
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let mut waiting_request = None;
        loop {
            let (limits, now) = (self.current_limits(), self.clock.now());
            let mut state = self.state.lock();
            let State { origins, pauses, waiting } = &mut *state;
            if let Some(left) = pauses.remaining(scope, now) {
                return Err(self.refused("the origin asked for a pause", left));
            }
            if limits.is_none() {
                return Ok(None);
            }
            let reached = |after| Err(self.refused("the origin's limit is reached", after));
            let Some(origin) = origins.get_or_insert(&scope.origin, limits, now) else {
                return reached(DEFAULT_RETRY);
            };
            let again = match origin.admit(ticket, limits, &self.options, now) {
                Admission::Go => {
                    let permit = Permit { shared: Arc::clone(self), origin: scope.origin.clone() };
                    return Ok(Some(permit));
                }
                Admission::Refuse(after) => return reached(after),
                Admission::Wait(again) => again,
            };
            let left = max_wait.saturating_sub(begun.elapsed());
            let too_many_wait =
                waiting_request.is_none() && *waiting >= self.max_waiting.load(Ordering::Relaxed);
            if left.is_zero() || too_many_wait {
                origin.remove(ticket);
                return reached(origin.retry_after(now));
            }
            if waiting_request.is_none() {
                *waiting += 1;
                self.stats.count_throttle_wait();
                waiting_request = Some(WaitingRequest { shared: self, origin: &scope.origin, ticket });
            }
            let pause = again.unwrap_or(MAX_WAIT).min(left).clamp(MIN_WAIT, MAX_WAIT);
            self.changed.wait_for(&mut state, pause);
        }
    }

    fn refused(&self, text: &str, after: Duration) -> Error {
        self.stats.count_throttle_rejection();
        Error::new(ErrorKind::OriginBusy, text).with_retry_after(after)
    }

    /// Updates the pauses after a response.
    pub(super) fn note_response(&self, scope: &Scope, status: StatusCode, headers: &HeaderMap) {
        let longest = self.options.max_pause;
        if longest.is_zero() {
            return;
        }
        let now = self.clock.now();
        let pause = self.state.lock().pauses.note_response(scope, status, headers, longest, now);
        if let Some(left) = pause {
            // Waiting requests are refused now.
            self.changed.notify_all();
            debug!(
                "{} responded with {}: pausing for {} ms",
                scope.origin,
                status.as_u16(),
                left.as_millis()
            );
        }
    }

    fn return_permit(&self, origin: &CanonicalUrl) {
        if let Some(state) = self.state.lock().origins.get_mut(origin) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        self.changed.notify_all();
    }
}

/// A waiting request. Dropping it removes the request from the queue.
struct WaitingRequest<'a> {
    shared: &'a Shared,
    origin: &'a CanonicalUrl,
    ticket: Ticket,
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.waiting -= 1;
        if let Some(origin) = state.origins.get_mut(self.origin) {
            origin.remove(self.ticket);
        }
        drop(state);
        // Another request is now the first in the queue.
        self.shared.changed.notify_all();
    }
}

/// One of the concurrent fetches from an origin. Dropping it returns the permit.
pub(super) struct Permit {
    shared: Arc<Shared>,
    origin: CanonicalUrl,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.return_permit(&self.origin);
    }
}
