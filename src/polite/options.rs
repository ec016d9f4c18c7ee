//! How much may be asked of one origin.

use std::time::Duration;

use super::bucket::Rate;
use crate::error::{Error, ErrorKind, Result};

/// How much may be asked of one origin: of one scheme, host and port.
///
/// | option | default |
/// |---|---|
/// | [`concurrent`](Self::concurrent) | as many as there are |
/// | [`rate`](Self::rate) | as often as there is something to ask |
/// | [`burst`](Self::burst) | what the rate allows in a second, at least 1 |
/// | [`patience`](Self::patience) | 5 s |
/// | [`max_waiting`](Self::max_waiting) | 64 requests |
/// | [`longest_pause`](Self::longest_pause) | 5 min |
///
/// The limits are those of the whole pool, so all its peers must have the same: a [`Peer`](crate::Peer) asks the one
/// that keeps the budget of an origin, which the ring gives for the text `scheme://authority/`. Where that one is away
/// or slow, each keeps to its own share, the limit over the number of peers, but at least one fetch at a time.
///
/// A request that finds no place waits. The one that has waited longest goes first. Where it would have to wait for
/// longer than [`patience`](Self::patience), or too many wait, it fails as [`ErrorKind::OriginBusy`], with
/// [`Error::retry_after`]; a cache above answers it with what is stale, where that is allowed.
///
/// ```
/// use forwardcache::{Peer, Politeness};
///
/// let politeness = Politeness::new().concurrent(4).rate(10.0);
/// let peer = Peer::builder("http://127.0.0.1:3000").politeness(politeness).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Politeness {
    concurrent: Option<u32>,
    rate: Option<f64>,
    burst: Option<u32>,
    pub(super) patience: Duration,
    pub(super) max_waiting: usize,
    pub(super) longest_pause: Duration,
}

/// What the pool may do with one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) concurrent: Option<u32>,
    pub(super) rate: Option<Rate>,
}

impl Limits {
    /// The part that one of so many may use who cannot ask each other: at least one, as an origin that nobody may ask
    /// would be one that is down.
    pub(super) fn share(self, peers: u32) -> Self {
        Self {
            concurrent: self.concurrent.map(|places| (places / peers.max(1)).max(1)),
            rate: self.rate.map(|rate| rate.share(peers)),
        }
    }

    pub(super) fn is_none(self) -> bool {
        self.concurrent.is_none() && self.rate.is_none()
    }
}

impl Politeness {
    /// The defaults: no limits, but an origin that asks for time is given it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            concurrent: None,
            rate: None,
            burst: None,
            patience: Duration::from_secs(5),
            max_waiting: 64,
            longest_pause: Duration::from_secs(5 * 60),
        }
    }

    /// How many fetches from one origin may be under way at a time; at least one. A fetch is under way until its body
    /// is at its end, or given up. Default: any number.
    #[must_use]
    pub fn concurrent(mut self, fetches: u32) -> Self {
        self.concurrent = Some(fetches);
        self
    }

    /// How many requests a second one origin may be sent, validations and unsafe methods among them: from 0.001 to
    /// 1,000,000. Default: any number.
    ///
    /// In any time of `t` seconds no more than [`burst`](Self::burst) and `t` times the rate are sent. In a pool, what
    /// is set aside for a peer may be sent up to a second later.
    #[must_use]
    pub fn rate(mut self, requests_a_second: f64) -> Self {
        self.rate = Some(requests_a_second);
        self
    }

    /// How many requests may be sent at once after a rest; at least one. It is about the [`rate`](Self::rate).
    /// Default: what that allows in a second, at least one.
    #[must_use]
    pub fn burst(mut self, requests: u32) -> Self {
        self.burst = Some(requests);
        self
    }

    /// How long a request may wait for its place. Zero: it does not wait. Default: 5 seconds.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// How many requests may wait for one origin. In a peer that is served by the bundled front, never more than half
    /// of its [workers](crate::FrontOptions::workers) wait for all origins together, so that the others go on.
    /// Default: 64.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.max_waiting = requests;
        self
    }

    /// How long an origin is left alone at most that answers 429, or 503 with `Retry-After` (RFC 9110 section 10.2.3).
    /// Until then requests for it fail as [`ErrorKind::OriginBusy`] at once. One that answers 429 without it is left
    /// alone for a second, and for twice as long each time that it says so again. Zero: it is asked again as it comes.
    /// Default: 5 minutes.
    #[must_use]
    pub fn longest_pause(mut self, time: Duration) -> Self {
        self.longest_pause = time;
        self
    }

    /// The limits, if they make sense.
    pub(super) fn limits(&self) -> Result<Limits> {
        let bad = |text: &str| Err(Error::new(ErrorKind::BadOption, text));
        if self.concurrent == Some(0) {
            return bad("an origin of which nothing may be fetched: concurrent must be at least 1");
        }
        if self.burst == Some(0) {
            return bad("an origin that may be sent no request: burst must be at least 1");
        }
        let Some(rate) = self.rate else {
            return match self.burst {
                Some(_) => bad("a burst is about a rate, and none was chosen"),
                None => Ok(Limits { concurrent: self.concurrent, rate: None }),
            };
        };
        if !(0.001..=1_000_000.0).contains(&rate) {
            return bad("a rate must be from 0.001 to 1000000 requests a second");
        }
        // A million at most, and no fraction.
        let in_a_second = (1..=1_000_000).take_while(|number| f64::from(*number) <= rate).last().unwrap_or(1);
        let burst = self.burst.unwrap_or(in_a_second);
        let rate = Rate { interval: Duration::from_secs_f64(1.0 / rate), burst };
        Ok(Limits { concurrent: self.concurrent, rate: Some(rate) })
    }
}

impl Default for Politeness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let new = Politeness::new;
        for (politeness, word) in [
            (new().concurrent(0), "concurrent"),
            (new().rate(1.0).burst(0), "burst"),
            (new().burst(5), "rate"),
            (new().rate(0.0), "0.001"),
            (new().rate(-1.0), "0.001"),
            (new().rate(f64::NAN), "0.001"),
            (new().rate(f64::INFINITY), "0.001"),
        ] {
            let error = politeness.limits().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadOption);
            assert!(error.message().contains(word), "{}", error.message());
        }
        assert!(new().limits().unwrap().is_none());
    }

    #[test]
    fn a_burst_is_a_second_unless_it_is_chosen() {
        for (rate, burst, interval) in [(0.1, 1, 10_000), (1.0, 1, 1_000), (2.5, 2, 400), (50.0, 50, 20)] {
            let limits = Politeness::new().rate(rate).limits().unwrap();
            assert_eq!(
                limits.rate,
                Some(Rate { interval: Duration::from_millis(interval), burst }),
                "{rate}"
            );
        }
        let limits = Politeness::new().rate(1.0).burst(7).limits().unwrap();
        assert_eq!(limits.rate.unwrap().burst, 7);
    }

    #[test]
    fn a_share_is_the_limit_over_the_peers_and_at_least_one() {
        let limits = Politeness::new().concurrent(7).rate(10.0).limits().unwrap();
        assert_eq!(limits.share(3).concurrent, Some(2));
        assert_eq!(limits.share(9).concurrent, Some(1));
        assert_eq!(limits.share(3).rate.unwrap().interval, Duration::from_millis(300));
    }
}
