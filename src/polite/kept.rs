//! The budget of an origin, as the one keeps it who may give all of it away.
//!
//! Its own fetches count as they are. What it lends counts as used from the moment at which it is lent: places until
//! the lease has run out, or the borrower says that it needs fewer; requests for good. So whoever dies with a lease
//! costs the others no more than its time, and never puts the pool past the limit.

use std::time::{Duration, SystemTime};

use super::bucket::{Bucket, HORIZON, Reserved};
use super::lease::{Ask, Grant, LEASE, is_ahead};
use super::leased::AWAY;
use super::options::Limits;

/// What may be had of an origin at the moment.
#[derive(Debug)]
pub(super) struct Kept {
    limits: Limits,
    /// While others may go by their shares, not knowing yet that it is kept here, nobody is given more than a share.
    settling: Option<(Limits, SystemTime)>,
    bucket: Option<Bucket>,
    borrowers: Vec<Borrower>,
    /// Since when the keeper's own requests wait, in the order of turns.
    own_turn: Option<u64>,
    turns: u64,
}

/// A peer that asked within the time of a lease.
#[derive(Debug)]
struct Borrower {
    peer: String,
    places: u32,
    until: SystemTime,
    /// Since when it has waited for what it did not get.
    turn: Option<u64>,
}

/// How long a new keeper gives nobody more than a share: until all have asked it again, and nothing is lent that
/// another had.
pub(super) const SETTLING: Duration = AWAY.saturating_add(LEASE);

/// How soon a borrower asks again that did not get all it wants: not for each request.
const RETRY: Duration = Duration::from_millis(100);

impl Kept {
    /// A budget of which nothing is used. Where it may have been another peer's until lately, `settling` is a share of
    /// it, and when all others have heard of this one.
    pub(super) fn new(limits: Limits, settling: Option<(Limits, SystemTime)>, now: SystemTime) -> Self {
        let bucket = limits.rate.map(|rate| match settling.and_then(|(share, _)| share.rate) {
            Some(share) => Bucket::holding(rate, share.burst, now),
            None => Bucket::full(rate),
        });
        Self { limits, settling, bucket, borrowers: Vec::new(), own_turn: None, turns: 0 }
    }

    /// Forgets the leases that have run out. A clock that went back makes none longer.
    fn forget(&mut self, now: SystemTime) {
        self.borrowers.retain(|borrower| is_ahead(borrower.until, now, LEASE));
        self.settling = self.settling.filter(|(_, end)| is_ahead(*end, now, SETTLING));
    }

    /// The places that are not there for one who comes after so many.
    fn taken(&self, in_flight: u32, claims: u32) -> u32 {
        let lent = self.borrowers.iter().map(|borrower| borrower.places);
        lent.fold(in_flight.saturating_add(claims), u32::saturating_add)
    }

    /// The most that one may have under way.
    fn most(&self) -> u32 {
        let share = self.settling.and_then(|(share, _)| share.concurrent);
        share.or(self.limits.concurrent).unwrap_or(u32::MAX)
    }

    /// How many have waited for longer than one whose turn this is, each of whom is left one place and one request.
    fn claims(&self, turn: Option<u64>) -> u32 {
        let turns = self.borrowers.iter().map(|borrower| borrower.turn).chain([self.own_turn]).flatten();
        let earlier = turns.filter(|other| turn.is_none_or(|turn| *other < turn)).count();
        u32::try_from(earlier).unwrap_or(u32::MAX)
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Lets one request of the keeper's own through, or says for how long there is none to be had, as far as that is
    /// known.
    pub(super) fn admit(&mut self, in_flight: u32, now: SystemTime) -> Result<(), Option<Duration>> {
        self.forget(now);
        let claims = self.claims(self.own_turn);
        let taken = self.taken(in_flight, claims);
        let again =
            if in_flight >= self.most() || self.limits.concurrent.is_some_and(|places| taken >= places) {
                let ends = self.borrowers.iter().map(|borrower| borrower.until);
                let ends = ends.chain(self.settling.map(|(_, end)| end));
                Some(ends.filter_map(|end| end.duration_since(now).ok()).min())
            } else {
                match &mut self.bucket {
                    Some(bucket) => {
                        let wait = bucket.wait(claims.saturating_add(1), now);
                        (!wait.is_zero() || !bucket.take(now)).then_some(Some(wait))
                    }
                    None => None,
                }
            };
        match again {
            None => {
                self.own_turn = None;
                Ok(())
            }
            Some(again) => {
                if self.own_turn.is_none() {
                    self.own_turn = Some(self.next_turn());
                }
                Err(again)
            }
        }
    }

    /// Of the keeper's own, nobody waits.
    pub(super) fn nobody_waits(&mut self) {
        self.own_turn = None;
    }

    /// Lends what a peer asks for, as far as it is there. Where nobody else waits it may be all; where somebody does,
    /// no more than its part.
    pub(super) fn lend(&mut self, peer: &str, ask: &Ask, own_in_flight: u32, now: SystemTime) -> Grant {
        self.forget(now);
        let before = self.borrowers.iter().position(|borrower| borrower.peer == peer);
        let before = before.map(|index| self.borrowers.swap_remove(index));
        let turn = before.and_then(|borrower| borrower.turn);
        let claims = self.claims(turn);
        let is_contested = self.claims(None) > 0;
        let own = u32::from(own_in_flight > 0 || self.own_turn.is_some());
        let parties = u32::try_from(self.borrowers.len()).unwrap_or(u32::MAX).saturating_add(own + 1);
        let part = |all: u32| if is_contested { all.div_ceil(parties) } else { all };

        let most = self.most();
        let places = self.limits.concurrent.map_or(u32::MAX, |all| {
            let taken = self.taken(own_in_flight, claims);
            ask.places.min(all.saturating_sub(taken)).min(part(all)).min(most)
        });
        let (reserved, spacing) = match &mut self.bucket {
            Some(bucket) if places > 0 => {
                let rate = bucket.rate();
                let there = bucket.within(HORIZON, now).saturating_sub(claims);
                let all = Bucket::full(rate).within(HORIZON, now);
                (bucket.reserve(ask.requests.min(there).min(part(all)), now), rate.interval)
            }
            Some(_) => (Reserved::default(), Duration::ZERO),
            None => (Reserved { at_once: u32::MAX, ..Reserved::default() }, Duration::ZERO),
        };
        let Reserved { at_once, later, first } = reserved;
        let is_short_of_places = places < ask.places;
        let is_short_of_requests = self.bucket.is_some() && at_once.saturating_add(later) < ask.requests;
        let waits = ask.waiting > 0 && (places <= ask.busy || (is_short_of_requests && at_once + later == 0));
        let turn = if waits { Some(turn.unwrap_or_else(|| self.next_turn())) } else { None };
        // When what it has is used up, or its turn may have come.
        let used_up = match &self.bucket {
            Some(bucket) if is_short_of_requests && later == 0 => bucket.wait(claims.saturating_add(1), now),
            _ => first + spacing * later.saturating_sub(1),
        };
        let again = if is_short_of_requests {
            used_up.clamp(RETRY, LEASE)
        } else if is_short_of_places {
            RETRY
        } else {
            Duration::ZERO
        };
        self.borrowers.push(Borrower {
            peer: peer.to_owned(),
            // What is under way is under way.
            places: if self.limits.concurrent.is_some() { places.max(ask.busy) } else { 0 },
            until: now + LEASE,
            turn,
        });
        Grant { places, at_once, later, first, spacing, again, pause: Duration::ZERO }
    }

    /// How long the last of so many who wait waits at least.
    pub(super) fn wait(&self, waiting: u32, now: SystemTime) -> Duration {
        self.bucket.as_ref().map(|bucket| bucket.wait(waiting, now)).unwrap_or_default()
    }

    /// Whether nothing of it has to be remembered.
    pub(super) fn is_whole(&self, now: SystemTime) -> bool {
        let is_lent = self.borrowers.iter().any(|borrower| borrower.until > now);
        !is_lent && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}
