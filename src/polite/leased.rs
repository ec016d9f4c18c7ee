//! The budget of an origin that another peer keeps: what it lent, and what may be done without it.
//!
//! A keeper that is away, slow or of another make costs nothing: this peer goes on with its own share. While it has not
//! failed, its answer is waited for, for [`SLOW`] at most.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::bucket::Bucket;
use super::lease::{Ask, Grant, LEASE, is_ahead};
use super::options::Limits;
use crate::peer_url::PeerUrl;

/// How long a keeper may take to answer.
pub(super) const SLOW: Duration = Duration::from_millis(200);

/// How long a keeper that failed is not asked again.
pub(super) const AWAY: Duration = Duration::from_secs(2);

/// What is lent of an origin's budget.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) keeper: PeerUrl,
    places: u32,
    until: Option<SystemTime>,
    batches: VecDeque<Batch>,
    asked: Option<SystemTime>,
    again: Option<SystemTime>,
    is_failing: bool,
    /// What may be done without it: so many at a time, and as often.
    share_places: Option<u32>,
    share_bucket: Option<Bucket>,
    /// Sent since it was asked last.
    used: u32,
    /// The most that were under way since then.
    peak: u32,
    /// The origin asked for time, and the keeper has not been told.
    pub(super) has_news: bool,
}

/// Requests that may be sent.
#[derive(Debug)]
struct Batch {
    left: u32,
    next: SystemTime,
    spacing: Duration,
    until: SystemTime,
}

impl Leased {
    /// Nothing is lent yet. `away` says until when the keeper is not asked, where it failed lately.
    pub(super) fn new(keeper: PeerUrl, share: Limits, away: Option<SystemTime>) -> Self {
        Self {
            keeper,
            places: 0,
            until: None,
            batches: VecDeque::new(),
            asked: None,
            again: away,
            is_failing: away.is_some(),
            share_places: share.concurrent,
            share_bucket: share.rate.map(Bucket::full),
            used: 0,
            peak: 0,
            has_news: false,
        }
    }

    /// Lets one through, or says when it is worth asking again.
    pub(super) fn admit(&mut self, in_flight: u32, now: SystemTime) -> Result<(), Option<Duration>> {
        self.batches.retain(|batch| batch.left > 0 && is_ahead(batch.until, now, LEASE));
        if self.is_live(now) && in_flight < self.places {
            if self.take(now) {
                self.used = self.used.saturating_add(1);
                self.peak = self.peak.max(in_flight.saturating_add(1));
                return Ok(());
            }
            let next = self.batches.iter().filter_map(|batch| batch.next.duration_since(now).ok()).min();
            if next.is_some() {
                return Err(next);
            }
        }
        if !self.is_failing {
            // Nobody has asked yet, or the answer is on its way.
            let waited = self.asked.map_or(Duration::ZERO, |asked| now.duration_since(asked).unwrap_or(SLOW));
            let left = SLOW.saturating_sub(waited);
            if !left.is_zero() {
                return Err(Some(left));
            }
        }
        if self.share_places.is_some_and(|places| in_flight >= places) {
            return Err(None);
        }
        let Some(bucket) = &mut self.share_bucket else { return Ok(()) };
        if bucket.take(now) { Ok(()) } else { Err(Some(bucket.wait(1, now))) }
    }

    /// Whether the keeper is being asked, or is about to be, and has not said yet that there is nothing more.
    pub(super) fn is_asking(&self, now: SystemTime) -> bool {
        !self.is_failing && !self.again.is_some_and(|again| is_ahead(again, now, LEASE))
    }

    fn is_live(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| is_ahead(until, now, LEASE))
    }

    /// Whether requests are counted too: of a rate, there is a share.
    fn has_rate(&self) -> bool {
        self.share_bucket.is_some()
    }

    fn take(&mut self, now: SystemTime) -> bool {
        if !self.has_rate() {
            return true;
        }
        let Some(batch) = self.batches.iter_mut().find(|batch| batch.next <= now) else { return false };
        batch.left -= 1;
        batch.next += batch.spacing;
        true
    }

    /// In what time the keeper has to be asked; `None` where there is no need to.
    pub(super) fn due(&self, in_flight: u32, waiting: usize, now: SystemTime) -> Option<Duration> {
        if self.asked.is_some() || (in_flight == 0 && waiting == 0 && !self.has_news) {
            return None;
        }
        let not_before = self.again.and_then(|again| again.duration_since(now).ok()).unwrap_or_default();
        let not_before = not_before.min(AWAY);
        let is_live = self.is_live(now);
        let has_some = is_live
            && in_flight < self.places
            && (!self.has_rate()
                || self.batches.iter().any(|batch| is_ahead(batch.until, now, LEASE) && batch.left > 0));
        if self.has_news && !self.is_failing {
            return Some(Duration::ZERO);
        }
        if !is_live || (waiting > 0 && !has_some) {
            return Some(not_before);
        }
        let left = self.until.and_then(|until| until.duration_since(now).ok()).unwrap_or_default();
        Some(not_before.max(left.saturating_sub(LEASE / 2)))
    }

    /// What is asked for at this moment: what is needed, and what is likely to be, so that there is one question for
    /// many requests.
    pub(super) fn ask(&mut self, in_flight: u32, waiting: usize, pause: Duration, now: SystemTime) -> Ask {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let ask = Ask {
            busy: in_flight,
            waiting,
            places: in_flight.saturating_add(waiting).max(self.peak),
            requests: waiting.saturating_add(self.used.saturating_mul(2)),
            pause,
        };
        (self.used, self.peak, self.asked, self.has_news) = (0, in_flight, Some(now), false);
        ask
    }

    /// The answer.
    pub(super) fn granted(&mut self, grant: &Grant, now: SystemTime) {
        let Some(asked) = self.asked.take() else { return };
        let until = asked + LEASE;
        (self.places, self.until, self.is_failing) = (grant.places, Some(until), false);
        self.again = (!grant.again.is_zero()).then(|| now + grant.again.min(LEASE));
        let batches = [
            (grant.at_once, now, Duration::ZERO),
            (grant.later, now + grant.first.min(LEASE), grant.spacing),
        ];
        for (left, next, spacing) in batches {
            if left > 0 {
                self.batches.push_back(Batch { left, next, spacing, until });
            }
        }
    }

    /// There was none, or none that could be read.
    pub(super) fn failed(&mut self, now: SystemTime) {
        (self.asked, self.is_failing, self.again) = (None, true, Some(now + AWAY));
    }

    /// How long the last of so many who wait waits at least, as far as that is known.
    pub(super) fn wait(&self, waiting: u32, now: SystemTime) -> Duration {
        let bucket = self.share_bucket.as_ref().filter(|_| self.is_failing);
        bucket.map(|bucket| bucket.wait(waiting, now)).unwrap_or_default()
    }

    /// Whether nothing of it has to be remembered.
    pub(super) fn is_spent(&self, now: SystemTime) -> bool {
        self.asked.is_none()
            && !self.is_live(now)
            && self.share_bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}
