//! The state of one origin: the running fetches, the waiting requests, and the rate.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::bucket::Bucket;
use super::options::{Limits, OriginLimits};

/// The identity of a waiting request.
pub(super) type Ticket = u64;

/// The decision on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The fetch starts, and has to return its permit.
    Go,
    /// The request waits until something changes, or for this long, if known.
    Wait(Option<Duration>),
    /// The request is refused, because it would wait too long or too many requests wait. Contains the time
    /// until a retry.
    Refuse(Duration),
}

/// The time until a retry, if it is not known.
pub(super) const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// The state of one origin.
#[derive(Debug)]
pub(super) struct OriginState {
    pub(super) in_flight: u32,
    queue: VecDeque<Ticket>,
    bucket: Option<Bucket>,
    pub(super) used: SystemTime,
}

impl OriginState {
    pub(super) fn new(limits: Limits, now: SystemTime) -> Self {
        Self { in_flight: 0, queue: VecDeque::new(), bucket: limits.rate.map(Bucket::new), used: now }
    }

    /// Decides on a new or waiting request. `limits` are the current share of this peer.
    pub(super) fn admit(
        &mut self,
        ticket: Ticket,
        limits: Limits,
        options: &OriginLimits,
        now: SystemTime,
    ) -> Admission {
        self.used = now;
        if let (Some(bucket), Some(rate)) = (&mut self.bucket, limits.rate) {
            bucket.set_rate(rate, now);
        }
        let position = self.queue.iter().position(|waiting| *waiting == ticket);
        let ahead = position.unwrap_or(self.queue.len());
        let has_room = limits.concurrent.is_none_or(|most| self.in_flight < most);
        let mut again = None;
        if ahead == 0 && has_room {
            if self.bucket.as_mut().is_none_or(|bucket| bucket.take(now)) {
                self.remove(ticket);
                self.in_flight += 1;
                return Admission::Go;
            }
            again = Some(self.rate_delay(1, now));
        }
        if position.is_none() {
            let wait = self.rate_delay(u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1), now);
            if self.queue.len() >= options.max_waiting || wait > options.max_wait {
                return Admission::Refuse(if wait.is_zero() { DEFAULT_RETRY } else { wait });
            }
            self.queue.push_back(ticket);
        }
        Admission::Wait(again)
    }

    /// Removes a request from the queue.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.queue.retain(|waiting| *waiting != ticket);
    }

    /// Returns how long the rate delays the last of this many requests.
    fn rate_delay(&self, requests: u32, now: SystemTime) -> Duration {
        self.bucket.map(|bucket| bucket.wait(requests, now)).unwrap_or_default()
    }

    /// Returns the time until a retry for a request that waited in vain.
    pub(super) fn retry_after(&self, now: SystemTime) -> Duration {
        let wait = self.rate_delay(1, now);
        if wait.is_zero() { DEFAULT_RETRY } else { wait }
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.in_flight > 0 || !self.queue.is_empty()
    }

    /// Whether this state equals a new one, so that it can be forgotten.
    pub(super) fn is_idle(&self, now: SystemTime) -> bool {
        !self.is_in_use() && self.bucket.is_none_or(|bucket| bucket.is_full(now))
    }
}
