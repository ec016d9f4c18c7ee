//! A request's way through the cache for a thread that never waits: what is stored is served, what another
//! request is fetching is shared, and everything else is handed back as work.
//!
//! It takes the same decisions as the engine, in the same order. One thing is different: the leader of a
//! flight is found here, before anybody works, so that of a burst of requests for one URL a single one
//! occupies a thread that waits.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use log::debug;
use parking_lot::Mutex;

use super::engine::{Caching, Inner, Landed, PATIENCE};
use super::forwarding::received_over;
use super::incoming::Incoming;
use super::lookup::{Lookup, Plan, lookup};
use crate::at_once::{Lane, PlainRequest, Step, Turn, Waiting, Wakes};
use crate::body::{Body, Wake};
use crate::cancellation::Cancellation;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, redacted};
use crate::fill::prepared;
use crate::flight::{Landing, Watched};
use crate::header::cache_control::RequestDirectives;
use crate::policy::{Reuse, reuse};
use crate::protocol::{self, Hop};
use crate::stats::{CacheStatus, Forward, Outcome, X_FROM_CACHE};
use crate::store::StoredResponse;
use crate::target::Target;

type Answer = Step<Result<Response<Body>>>;

impl Caching {
    /// Answers a GET or HEAD without content.
    pub(crate) fn step(&self, target: Target, request: Request<()>, wakes: Wakes<'_>) -> Answer {
        let (parts, ()) = request.into_parts();
        let mut headers = parts.headers;
        let hop = self.inner.end_to_end(&parts.method, &mut headers);
        let via = received_over(parts.version, self.inner.via.as_ref());
        let said = Deadline::of(&parts.extensions);
        let incoming = Incoming::new(parts.method, target, headers, hop, via, &self.inner.keys);
        let incoming = incoming.until(hop.until(said));
        let inner = Arc::clone(&self.inner);
        if incoming.is_for_origin() {
            return inner.work(incoming.clone(), &wakes(), move |inner| {
                inner.pass(incoming.into_passing(), Body::empty(), Forward::Bypass)
            });
        }
        inner.answer_at_once(incoming, wakes)
    }

    /// What is stored under this URL, if it answers a plain request as it is, fresh and whole. What it says
    /// of the moment is added to `lines`, as field lines.
    ///
    /// The URL need not be in its canonical form: one that is not is not found.
    pub(crate) fn hit(
        &self,
        url: &str,
        request: &PlainRequest<'_>,
        hop: Hop,
        lines: &mut String,
    ) -> Option<Arc<StoredResponse>> {
        let inner = &self.inner;
        // A key is another text where it is chosen, and behind a space there is somebody's partition.
        if inner.keys.are_chosen() || url.contains(' ') || inner.keys.are_selecting(request) {
            return None;
        }
        let variants = inner.store.at_once(url)?;
        let mut selected = None;
        for stored in variants.iter() {
            if stored.variant().matches_plainly(request)? {
                selected = Some(stored);
                break;
            }
        }
        let stored = selected.filter(|stored| is_whole(stored))?;
        let (validity, now) = (stored.validity(), inner.clock.now());
        if reuse(validity, &RequestDirectives::default(), now) != Reuse::Fresh {
            return None;
        }
        inner.count(Outcome::Hit);
        debug!("{} {}", Outcome::Hit, redacted(url));
        let status =
            CacheStatus::new(Outcome::Hit).time_to_live(validity.remaining(now), validity.staleness(now));
        // Writing to a String cannot fail.
        let _ = write!(lines, "age: {}\r\n{X_FROM_CACHE}: 1\r\ncache-status: ", validity.age(now).as_secs());
        status.write(lines);
        lines.push_str("\r\n");
        if let Some(digest) = stored.digest().filter(|_| hop.wants_digest) {
            protocol::write_digest(lines, digest);
        }
        Some(Arc::clone(stored))
    }
}

/// Whether it is the whole of a response that has a body.
fn is_whole(stored: &StoredResponse) -> bool {
    !matches!(stored.status().as_u16(), 204 | 205 | 206 | 304)
}

impl Inner {
    fn answer_at_once(self: &Arc<Self>, incoming: Incoming, wakes: Wakes<'_>) -> Answer {
        let plan = match self.look_up_at_once(&incoming) {
            None => return self.work(incoming.clone(), &wakes(), move |inner| inner.answer(&incoming)),
            Some(Lookup::Serve(stored, outcome)) => {
                return Step::Serve(Ok(self.serve(&stored, &incoming, outcome)));
            }
            Some(Lookup::Forward(plan)) => plan,
        };
        if let Some(answer) = self.without_origin(&incoming, &plan) {
            return Step::Serve(Ok(answer));
        }
        // Who wants something stale soon waits for that on a worker.
        if self.soft_patience(&incoming, &plan).is_some() {
            return self.work(incoming.clone(), &wakes(), move |inner| inner.answer(&incoming));
        }
        if !self.may_collapse(&incoming) {
            return self.work(incoming.clone(), &wakes(), move |inner| inner.forward(&incoming, &plan, None));
        }
        self.collapse_at_once(incoming, plan, &wakes())
    }

    /// Leads, or waits for who does.
    fn collapse_at_once(self: &Arc<Self>, incoming: Incoming, plan: Plan, wake: &Wake) -> Answer {
        let landed = Arc::new(Mutex::new(None));
        loop {
            let told = || -> Box<dyn FnOnce(Landing<Landed>) + Send> {
                let (landed, wake) = (Arc::clone(&landed), Arc::clone(wake));
                Box::new(move |landing| {
                    *landed.lock() = Some(landing);
                    wake();
                })
            };
            match self.flights.watch(&incoming.key, told) {
                Some(Watched::Landed(landed)) => return self.follow_at_once(&incoming, &plan, landed, wake),
                Some(Watched::Later) => {
                    let (inner, wake) = (Arc::clone(self), Arc::clone(wake));
                    let again = Box::new(move || {
                        let landing = landed.lock().take();
                        match landing {
                            Some(Landing::With(landed)) => {
                                inner.follow_at_once(&incoming, &plan, landed, &wake)
                            }
                            _ => inner.look_again_at_once(&incoming, &wake),
                        }
                    });
                    return Step::Wait(Waiting { again, until: Instant::now().checked_add(PATIENCE) });
                }
                None => {}
            }
            if let Some(leader) = self.flights.lead(&incoming.key) {
                // What was being fetched when we looked may have been stored since.
                return match self.look_up_at_once(&incoming) {
                    Some(Lookup::Serve(stored, outcome)) => {
                        leader.land(Landed::Stored);
                        Step::Serve(Ok(self.serve(&stored, &incoming, outcome)))
                    }
                    Some(Lookup::Forward(plan)) => self.work(incoming.clone(), wake, move |inner| {
                        inner.forward(&incoming, &plan, Some(leader))
                    }),
                    None => self.work(incoming.clone(), wake, move |inner| {
                        inner.forward(&incoming, &plan, Some(leader))
                    }),
                };
            }
        }
    }

    fn follow_at_once(
        self: &Arc<Self>,
        incoming: &Incoming,
        plan: &Plan,
        landed: Landed,
        wake: &Wake,
    ) -> Answer {
        if matches!(landed, Landed::GivenUp) {
            let incoming = incoming.clone();
            return self.work(incoming.clone(), wake, move |inner| inner.answer(&incoming));
        }
        match self.shared(incoming, plan, landed) {
            Some(answer) => Step::Serve(answer),
            None => self.look_again_at_once(incoming, wake),
        }
    }

    /// What was waited for may be stored by now. If not, nobody waits a second time.
    fn look_again_at_once(self: &Arc<Self>, incoming: &Incoming, wake: &Wake) -> Answer {
        match self.look_up_at_once(incoming) {
            Some(Lookup::Serve(stored, outcome)) => Step::Serve(Ok(self.serve(&stored, incoming, outcome))),
            Some(Lookup::Forward(plan)) => {
                let incoming = incoming.clone();
                self.work(incoming.clone(), wake, move |inner| inner.forward(&incoming, &plan, None))
            }
            None => {
                let incoming = incoming.clone();
                self.work(incoming.clone(), wake, move |inner| inner.answer(&incoming))
            }
        }
    }

    /// `None` where the store would have to be waited for.
    fn look_up_at_once(&self, incoming: &Incoming) -> Option<Lookup> {
        let purges = self.store.purges().count();
        let variants = self.store.at_once(incoming.key.as_str())?;
        Some(lookup(&variants, incoming, &self.digest, self.clock.now()).found_after(purges))
    }

    fn work(
        self: &Arc<Self>,
        incoming: Incoming,
        wake: &Wake,
        work: impl FnOnce(&Self) -> Result<Response<Body>> + Send + 'static,
    ) -> Answer {
        let inner = Arc::clone(self);
        let (cancellation, lane) = (Cancellation::new(), Lane::Origin(incoming.target.origin()));
        let token = cancellation.clone();
        Step::fetch(lane, cancellation, Arc::clone(wake), move |turn| match turn {
            Turn::Refused(refused) => (Err(Error::new(ErrorKind::Unavailable, refused.reason())), None),
            Turn::Pool | Turn::Caller => {
                let response = work(&inner)
                    .and_then(|response| prepared(response, &incoming.method, &inner.ledger, &token));
                match response {
                    Ok((response, driver)) => (Ok(response), driver),
                    Err(error) => (Err(error), None),
                }
            }
        })
    }
}
