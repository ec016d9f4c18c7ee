//! The limits for one origin, and the share of one peer.

use std::time::Duration;

use super::bucket::Rate;
use crate::base::error::{Error, ErrorKind, Result};

/// Limits on the requests to one origin, that is, one scheme, host and port.
///
/// | option | default |
/// |---|---|
/// | [`concurrent`](Self::concurrent) | no limit |
/// | [`rate`](Self::rate) | no limit |
/// | [`burst`](Self::burst) | the requests of one second at that rate, at least 1 |
/// | [`max_wait`](Self::max_wait) | 5 s |
/// | [`max_waiting`](Self::max_waiting) | 64 requests |
/// | [`max_pause`](Self::max_pause) | 5 min |
/// | [`pause_origins`](Self::pause_origins) | `false` |
///
/// The limits are those of the whole pool, so all peers must have the same ones. Each [`Peer`](crate::Peer)
/// uses its share: the limit times its weight over the weights of all members that are not known to be away,
/// but at least one concurrent fetch. When the pool changes, the shares change at once. A peer cannot use the
/// unused share of another peer.
///
/// The pool exceeds a limit if there are more peers than allowed fetches, and while peers do not see each
/// other or know different members. Each peer then counts fewer members and may use up to the whole limit.
///
/// A request over the limit waits; requests are served in the order of arrival. If the request would wait
/// longer than [`max_wait`](Self::max_wait), or too many requests wait, it fails with
/// [`ErrorKind::OriginBusy`] and [`Error::retry_after`]. A cache above then serves a stale response, if that
/// is allowed.
///
/// After a 429, or a 503 with `Retry-After`, no more requests with the same `Authorization` are sent to the
/// origin until the given time has passed. If the request had no `Authorization`, this applies to requests
/// without it. They fail with [`ErrorKind::OriginBusy`]. Other requests are still sent, unless
/// [`pause_origins`](Self::pause_origins) is set.
///
/// ```
/// use forwardcache::origin::OriginLimits;
/// use forwardcache::Peer;
///
/// let origin_limits = OriginLimits::new().concurrent(4).rate(10.0);
/// let peer = Peer::builder("http://127.0.0.1:3000").origin_limits(origin_limits).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OriginLimits {
    concurrent: Option<u32>,
    rate: Option<f64>,
    burst: Option<u32>,
    pub(super) max_wait: Duration,
    pub(super) max_waiting: usize,
    pub(super) max_pause: Duration,
    pub(super) pause_origins: bool,
}

/// The checked limits of one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) concurrent: Option<u32>,
    pub(super) rate: Option<Rate>,
}

/// The share of one peer in the pool's limits: its own weight over the weights of all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) weight: u32,
    pub(crate) total: u32,
}

impl Share {
    /// The share outside a pool.
    pub(super) const WHOLE: Self = Self { weight: 1, total: 1 };

    /// Returns this share of a limit, rounded down, but at least one. With zero, no peer could fetch from the
    /// origin.
    fn part_of(self, limit: u32) -> u32 {
        let part = u64::from(limit) * u64::from(self.weight) / u64::from(self.total.max(1));
        u32::try_from(part).unwrap_or(limit).clamp(1, limit.max(1))
    }
}

impl Limits {
    /// Returns the limits of one peer.
    pub(super) fn for_share(self, share: Share) -> Self {
        let rate = |rate: Rate| Rate {
            interval: rate.interval.saturating_mul(share.total.max(1)) / share.weight.max(1),
            burst: share.part_of(rate.burst),
        };
        Self { concurrent: self.concurrent.map(|most| share.part_of(most)), rate: self.rate.map(rate) }
    }

    pub(super) fn is_none(self) -> bool {
        self.concurrent.is_none() && self.rate.is_none()
    }
}

impl OriginLimits {
    /// Creates the default options: no limits, and pauses if an origin asks for them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            concurrent: None,
            rate: None,
            burst: None,
            max_wait: Duration::from_secs(5),
            max_waiting: 64,
            max_pause: Duration::from_secs(5 * 60),
            pause_origins: false,
        }
    }

    /// Sets the number of concurrent fetches from one origin; at least one. A fetch runs until its body ends
    /// or is dropped. Default: no limit.
    #[must_use]
    pub fn concurrent(mut self, fetches: u32) -> Self {
        self.concurrent = Some(fetches);
        self
    }

    /// Sets the number of requests to one origin per second, including validations and unsafe methods: from
    /// 0.001 to 1,000,000. Default: no limit.
    ///
    /// In any period of `t` seconds, at most [`burst`](Self::burst) plus `t` times the rate requests are
    /// sent.
    #[must_use]
    pub fn rate(mut self, requests_per_second: f64) -> Self {
        self.rate = Some(requests_per_second);
        self
    }

    /// Sets the number of requests that may be sent at once after an idle period; at least one. Requires a
    /// [`rate`](Self::rate). Default: the requests of one second at that rate, at least one.
    #[must_use]
    pub fn burst(mut self, requests: u32) -> Self {
        self.burst = Some(requests);
        self
    }

    /// Sets how long a request may wait for its turn. With zero, requests do not wait. Default: 5 seconds.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// Sets how many requests may wait for one origin. In a peer behind the bundled server, at most half of
    /// the [workers](crate::server::ServerConfig::workers) wait for all origins together, so that the other workers
    /// stay available. Default: 64.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.max_waiting = requests;
        self
    }

    /// Sets the longest pause for an origin that responds with 429, or with 503 and `Retry-After` (RFC 9110
    /// section 10.2.3). Longer values of `Retry-After` are cut to this limit.
    ///
    /// A 429 without `Retry-After` causes a pause of one second, doubled with each such response in a row. At
    /// most 4,096 pauses are remembered. Zero disables pauses. Default: 5 minutes.
    #[must_use]
    pub fn max_pause(mut self, time: Duration) -> Self {
        self.max_pause = time;
        self
    }

    /// Sets whether a pause holds back all requests to the origin, of all clients and methods, instead of
    /// only those with the same `Authorization`. Default: `false`, so that a response to one client does not
    /// hold back other clients.
    #[must_use]
    pub fn pause_origins(mut self, yes: bool) -> Self {
        self.pause_origins = yes;
        self
    }

    /// Checks the options and returns the limits.
    pub(super) fn limits(&self) -> Result<Limits> {
        let bad = |text: &str| Err(Error::new(ErrorKind::BadOption, text));
        if self.concurrent == Some(0) {
            return bad("the limit concurrent must be at least 1");
        }
        if self.burst == Some(0) {
            return bad("the limit burst must be at least 1");
        }
        let Some(rate) = self.rate else {
            return match self.burst {
                Some(_) => bad("a burst requires a rate"),
                None => Ok(Limits { concurrent: self.concurrent, rate: None }),
            };
        };
        if !(0.001..=1_000_000.0).contains(&rate) {
            return bad("a rate must be from 0.001 to 1000000 requests per second");
        }
        // The number of whole requests in one second, at most a million.
        let in_a_second = (1..=1_000_000).take_while(|number| f64::from(*number) <= rate).last().unwrap_or(1);
        let burst = self.burst.unwrap_or(in_a_second);
        let rate = Rate { interval: Duration::from_secs_f64(1.0 / rate), burst };
        Ok(Limits { concurrent: self.concurrent, rate: Some(rate) })
    }
}

impl Default for OriginLimits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
