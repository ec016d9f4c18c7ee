//! Refreshes in the background (RFC 5861 section 3).
//!
//! A stale response that may be served during its refresh is served immediately, and its refresh is queued. The
//! threads of the cache or the caller of [`maintain`](super::HttpCache::maintain) run the queue. After a failed
//! refresh, the same key is not refreshed for a pause, which doubles with each failure.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::Method;
use http::header::{CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, PRAGMA, RANGE};
use log::debug;

use super::engine::Inner;
use super::fetching::Exchange;
use super::flight::FlightKey;
use super::incoming::Incoming;
use super::lookup::{Found, Lookup, Plan, lookup};
use crate::base::cancellation::Cancellation;
use crate::base::redacted::redacted;
use crate::cache::singleflight::Role;
use crate::message::body::{Body, Wake};
use crate::message::nonblocking::{Job, Lane, RunMode};
use crate::message::stats::{Forward, Outcome};
use crate::store::Key;

/// Turns a client's request into the refresh: a GET for the whole, without the client's own directives and
/// conditions.
pub(super) fn of_the_whole(incoming: &Incoming, early_refresh: u8) -> Incoming {
    let mut headers = incoming.headers.clone();
    for name in [CACHE_CONTROL, PRAGMA, RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        headers.remove(name);
    }
    Incoming {
        method: Method::GET,
        headers,
        directives: Default::default(),
        is_refresh: true,
        early_refresh,
        // The client already has its response.
        deadline: None,
        on_interim: None,
        ..incoming.clone()
    }
}

impl Inner {
    /// Queues a refresh of the response that this request got, unless the queue refuses the key.
    pub(super) fn offer_refresh(self: &Arc<Self>, incoming: &Incoming) {
        if !self.refreshes.claim(&incoming.key, self.clock.now()) {
            return;
        }
        let incoming = of_the_whole(incoming, self.rules.early_refresh);
        if !self.refreshes.has_threads() {
            return self.refreshes.push(incoming);
        }
        let claim = Claim { cache: Arc::downgrade(self), key: incoming.key.clone() };
        let (lane, cancellation) = (Lane::Refresh(incoming.target.origin()), Cancellation::new());
        let (weak, token) = (Arc::downgrade(self), cancellation.clone());
        let job = Job::new(lane, cancellation, move |mode| {
            if mode == RunMode::Worker
                && let Some(cache) = weak.upgrade()
                && !cache.refreshes.is_closed()
            {
                cache.refresh(incoming, &token);
            }
            drop(claim);
        });
        // If no thread takes the job, the next request for the key queues the refresh again.
        drop(self.refreshes.spawn(job));
    }

    /// Runs waiting refreshes until none waits or the budget is spent; returns their number.
    pub(super) fn maintain(self: &Arc<Self>, budget: Duration) -> usize {
        // A budget beyond the range of the clock has no end.
        let deadline = Instant::now().checked_add(budget);
        let mut refreshed = 0;
        while deadline.is_none_or(|deadline| Instant::now() < deadline)
            && let Some(incoming) = self.refreshes.next()
        {
            let claim = Claim { cache: Arc::downgrade(self), key: incoming.key.clone() };
            self.refresh(incoming, &Cancellation::new());
            drop(claim);
            refreshed += 1;
        }
        refreshed
    }

    fn refresh(self: &Arc<Self>, incoming: Incoming, token: &Cancellation) {
        let incoming = Arc::new(incoming);
        let Found { variants, .. } = self.find_in_tiers(&incoming);
        let now = self.clock.moment();
        if matches!(lookup(&variants, &incoming, &self.digest, now), Lookup::Serve(..)) {
            // Another process or request has refreshed it.
            return self.refreshes.note_result(&incoming.key, false, now.wall());
        }
        let fetch = self.begin(&incoming.key);
        let flight = FlightKey { key: incoming.key.clone(), variant: self.variant_by(&variants, &incoming) };
        let wake: Wake = Arc::new(|| ());
        let is_joinable = |sequence| self.store.is_joinable(&*incoming, sequence);
        // A follower has nothing to do: another request fetches already.
        if let Role::Lead(leader, waiter) = self.flights.join(flight, fetch.sequence(), is_joinable, &wake) {
            let cancellation = leader.cancellation().clone();
            let flight = cancellation.clone();
            let hook = token.on_cancel(move || flight.cancel());
            let exchange = Exchange { fetch, mode: RunMode::Worker, cancellation };
            let read = self
                .fetched(&incoming, &Plan::without_store(Forward::Stale), Some(leader), exchange)
                .and_then(|response| {
                    let outcome = Outcome::of(response.headers());
                    let is_failure = response.status().is_server_error()
                        || matches!(outcome, Some(Outcome::StaleIfError(_)));
                    // A body that is being stored is read to its end; any other body is dropped.
                    if let Ok((stream, length)) = response.into_body().into_poll_body() {
                        io::copy(&mut Body::from_boxed_poll_body(stream, length), &mut io::sink())?;
                    }
                    Ok(is_failure)
                });
            drop((waiter, hook));
            if let Err(error) = &read {
                let url = redacted(incoming.target.as_str());
                debug!("refresh failed: {url} {}", error.reason());
            }
            let has_failed = !matches!(read, Ok(false));
            self.refreshes.note_result(&incoming.key, has_failed, self.clock.now());
        }
    }
}

/// The claim of a running refresh on its key, which is released on drop, however the refresh ends.
struct Claim {
    cache: Weak<Inner>,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.upgrade() {
            cache.refreshes.release(&self.key);
        }
    }
}
