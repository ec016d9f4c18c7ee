//! What a peer asks of the one that keeps the budget of an origin, and what it is told: a line for each number.
//!
//! ```text
//! POST /proxy/lease?q=http%3A%2F%2Forigin.example%2F      the budget of this origin
//!
//! from http://10.0.0.2:3000      busy 2      waiting 3      places 5      requests 8      pause 0
//!
//! places 4      at-once 2      later 5      first 40000      spacing 100000      again 0      pause 0
//! ```
//!
//! Times are in microseconds from the moment at which the answer is read, so that no clocks have to agree. A lease
//! lasts for [`LEASE`] from the moment at which it was asked for, which is before the keeper begins to count. What is
//! not understood is passed over: it is of a newer release.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// How long a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// Whether a moment has not come yet. One that is further ahead than it can be is of a clock that went back.
pub(super) fn is_ahead(moment: SystemTime, now: SystemTime, most: Duration) -> bool {
    moment.duration_since(now).is_ok_and(|left| !left.is_zero() && left <= most)
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    /// How many fetches it has under way.
    pub(super) busy: u32,
    /// How many requests wait there.
    pub(super) waiting: u32,
    /// How many places it could use, those that are busy among them.
    pub(super) places: u32,
    /// How many requests it would send.
    pub(super) requests: u32,
    /// For how long the origin asked it to be left alone.
    pub(super) pause: Duration,
}

/// What it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    /// How many fetches it may have under way.
    pub(super) places: u32,
    /// How many requests it may send at once,
    pub(super) at_once: u32,
    /// and how many after that, one after `first`, and each `spacing` after the one before.
    pub(super) later: u32,
    pub(super) first: Duration,
    pub(super) spacing: Duration,
    /// It should not ask again before then.
    pub(super) again: Duration,
    /// For how long the origin is to be left alone.
    pub(super) pause: Duration,
}

/// The longest text that is read, in bytes. The name of a peer is the only part that has no bound of its own.
pub(super) const LONGEST: u64 = 9 << 10;

impl Ask {
    /// The text, with the base URL of the one who asks.
    pub(super) fn text(&self, from: &str) -> String {
        let mut text = format!("from {from}\n");
        line(&mut text, "busy", self.busy);
        line(&mut text, "waiting", self.waiting);
        line(&mut text, "places", self.places);
        line(&mut text, "requests", self.requests);
        line(&mut text, "pause", micros(self.pause));
        text
    }

    pub(super) fn parse(text: &str) -> Option<(&str, Self)> {
        let from = values(text).find(|(name, _)| *name == "from")?.1;
        let ask = Self {
            busy: count(text, "busy")?,
            waiting: count(text, "waiting")?,
            places: count(text, "places")?,
            requests: count(text, "requests")?,
            pause: time(text, "pause")?,
        };
        Some((from, ask))
    }
}

impl Grant {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        line(&mut text, "places", self.places);
        line(&mut text, "at-once", self.at_once);
        line(&mut text, "later", self.later);
        line(&mut text, "first", micros(self.first));
        line(&mut text, "spacing", micros(self.spacing));
        line(&mut text, "again", micros(self.again));
        line(&mut text, "pause", micros(self.pause));
        text
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(Self {
            places: count(text, "places")?,
            at_once: count(text, "at-once")?,
            later: count(text, "later")?,
            first: time(text, "first")?,
            spacing: time(text, "spacing")?,
            again: time(text, "again")?,
            pause: time(text, "pause")?,
        })
    }
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name} {value}");
}

/// Rounded up: nothing is done before its time.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(' '))
}

fn count<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    values(text).find(|(found, _)| *found == name)?.1.parse().ok()
}

fn time(text: &str, name: &str) -> Option<Duration> {
    count(text, name).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_read() {
        let ask = Ask { busy: 1, waiting: 2, places: u32::MAX, requests: 4, pause: Duration::from_secs(5) };
        let text = ask.text("http://10.0.0.2:3000");
        assert_eq!(Ask::parse(&text), Some(("http://10.0.0.2:3000", ask)));
        assert_eq!(Ask::parse(&(text.clone() + "of-tomorrow 5\nwords\n")).map(|(_, ask)| ask), Some(ask));
        let grant = Grant {
            places: 1,
            at_once: u32::MAX,
            later: 3,
            first: Duration::from_micros(4),
            spacing: Duration::from_nanos(4_001),
            again: Duration::from_millis(6),
            pause: Duration::ZERO,
        };
        let read = Grant { spacing: Duration::from_micros(5), ..grant };
        assert_eq!(Grant::parse(&grant.text()), Some(read));
        assert!(u64::try_from(text.len()).unwrap() < LONGEST);
    }

    #[test]
    fn what_is_missing_or_no_number_is_no_lease() {
        let ask = Ask::default().text("http://a");
        for text in ["", "<html>", &ask.replace("busy 0\n", ""), &ask.replace("busy 0", "busy -1"), &ask[9..]]
        {
            assert_eq!(Ask::parse(text), None, "{text}");
        }
        let grant = Grant::default().text();
        for text in ["", &grant.replace("later 0", "later many"), &grant.replace("pause 0\n", "")] {
            assert_eq!(Grant::parse(text), None, "{text}");
        }
    }
}
