//! [`History`]: hits and misses of the last hour by minute.

/// The number of minutes.
const MINUTES: usize = 60;

/// The hits and misses of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::peer) struct Minute {
    pub(in crate::peer) hits: u64,
    pub(in crate::peer) misses: u64,
}

/// A ring of minutes.
#[derive(Debug)]
pub(super) struct History {
    /// Each minute with its number, at the index of that number modulo the size.
    ring: [(u64, Minute); MINUTES],
}

impl Default for History {
    fn default() -> Self {
        Self { ring: [(0, Minute::default()); MINUTES] }
    }
}

impl History {
    /// Adds `weight` requests in the minute with this number.
    pub(super) fn add(&mut self, number: u64, is_hit: bool, weight: u64) {
        let (held, minute) = &mut self.ring[index(number)];
        if *held != number {
            (*held, *minute) = (number, Minute::default());
        }
        let count = if is_hit { &mut minute.hits } else { &mut minute.misses };
        *count = count.saturating_add(weight);
    }

    /// Returns the minutes up to the one with this number, the oldest first. Minutes before the first one are empty.
    pub(super) fn last_hour(&self, number: u64) -> Vec<Minute> {
        let numbers = (0..MINUTES as u64).rev().map(|ago| number.checked_sub(ago));
        let of = |number: u64| {
            let (held, minute) = self.ring[index(number)];
            if held == number { minute } else { Minute::default() }
        };
        numbers.map(|number| number.map_or_else(Minute::default, of)).collect()
    }
}

fn index(number: u64) -> usize {
    // The remainder is below 60.
    usize::try_from(number % MINUTES as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_older_than_an_hour_are_dropped() {
        let mut history = History::default();
        history.add(0, true, 3);
        history.add(0, false, 1);
        history.add(59, true, 61);
        let hour = history.last_hour(59);
        assert_eq!((hour.len(), hour[0], hour[59].hits), (60, Minute { hits: 3, misses: 1 }, 61));
        assert_eq!(history.last_hour(60)[58].hits, 61);
        history.add(60, false, 1);
        let hour = history.last_hour(60);
        assert_eq!((hour[0], hour[59]), (Minute::default(), Minute { hits: 0, misses: 1 }));
        assert!(history.last_hour(1000).iter().all(|minute| *minute == Minute::default()));
    }

    #[test]
    fn first_minutes_have_an_empty_past() {
        let mut history = History::default();
        history.add(1, true, 1);
        let hour = history.last_hour(2);
        assert_eq!(hour.iter().position(|minute| minute.hits == 1), Some(58));
        assert_eq!(hour.iter().map(|minute| minute.hits).sum::<u64>(), 1);
    }
}
