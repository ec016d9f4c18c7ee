//! Whether lookups cost more time than their hits save, as a state machine over a given time. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many lookups are judged together.
pub(super) const LOOKUPS: usize = 16;

/// How many fetches count for the time that a hit saves.
const FETCHES: usize = 16;

/// A fetch that takes longer counts as this long, because a slow client may have delayed it.
const LONGEST_FETCH: Duration = Duration::from_secs(5);

/// The first pause. Each further one doubles, until lookups are worth their time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A lookup that a request waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    pub(super) is_hit: bool,
}

/// Decides whether responses are looked up. The last 16 lookups begin a pause if both are true:
///
/// * they took longer than the limit on average,
/// * they took longer together than fetches take from the origin, for as many responses as they found.
///
/// Of lookups at the same time, only one counts, so that one moment in which the server does not answer is one slow lookup.
#[derive(Debug, Default)]
pub(super) struct LookupCost {
    lookups: VecDeque<Lookup>,
    fetches: VecDeque<Duration>,
    paused_until: Option<Instant>,
    /// Pauses since lookups were worth their time.
    pauses: u32,
}

impl LookupCost {
    /// Whether lookups pause.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Records that a response was fetched from the origin within this time.
    pub(super) fn fetched(&mut self, took: Duration) {
        self.fetches.truncate(FETCHES - 1);
        self.fetches.push_front(took.min(LONGEST_FETCH));
    }

    /// Records a lookup. Returns how long lookups take on average if that begins a pause. `jitter` is between 0 and 1.
    pub(super) fn looked_up(&mut self, lookup: Lookup, limit: Duration, jitter: f64) -> Option<Duration> {
        let is_at_same_time = self.lookups.front().is_some_and(|last| lookup.begun < last.ended);
        if is_at_same_time || self.is_paused(lookup.ended) {
            return None;
        }
        self.lookups.truncate(LOOKUPS - 1);
        self.lookups.push_front(lookup);
        if self.lookups.len() < LOOKUPS {
            return None;
        }
        let waits = self.lookups.iter().map(|lookup| lookup.ended - lookup.begun);
        let mean = waits.sum::<Duration>() / count(LOOKUPS);
        let hits = count(self.lookups.iter().filter(|lookup| lookup.is_hit).count());
        // If nothing was fetched, a hit is worth what a lookup may take at most.
        let of_fetch = mean_of(&self.fetches).unwrap_or(limit * 2);
        if mean <= limit || mean * count(LOOKUPS) <= of_fetch * hits {
            self.pauses = 0;
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(16)).min(LONGEST_PAUSE);
        self.paused_until = Some(lookup.ended + pause.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)));
        self.pauses += 1;
        self.lookups.clear();
        Some(mean)
    }

    /// Forgets the lookups, because the server fails.
    pub(super) fn forget_lookups(&mut self) {
        self.lookups.clear();
    }
}

fn mean_of(durations: &VecDeque<Duration>) -> Option<Duration> {
    durations.iter().sum::<Duration>().checked_div(count(durations.len()))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(25);

    /// The state, and a clock.
    struct Scene {
        cost: LookupCost,
        now: Instant,
    }

    impl Scene {
        /// Every fetch takes this many milliseconds.
        fn new(fetch: u64) -> Self {
            let mut cost = LookupCost::default();
            cost.fetched(Duration::from_millis(fetch));
            Self { cost, now: Instant::now() }
        }

        /// A lookup of this many milliseconds after the last one; returns whether it begins a pause.
        fn look_up(&mut self, milliseconds: u64, is_hit: bool) -> bool {
            let begun = self.now;
            self.now += Duration::from_millis(milliseconds);
            let lookup = Lookup { begun, ended: self.now, is_hit };
            self.cost.looked_up(lookup, LIMIT, 1.0).is_some()
        }

        /// Lookups until one begins a pause; returns their number.
        fn lookups_until_pause(
            &mut self,
            milliseconds: u64,
            is_hit: impl Fn(usize) -> bool,
        ) -> Option<usize> {
            (1..200).find(|number| self.look_up(milliseconds, is_hit(*number)))
        }
    }

    #[test]
    fn slow_lookups_that_find_nothing_pause() {
        let mut scene = Scene::new(1000);
        assert_eq!(scene.lookups_until_pause(45, |_| false), Some(LOOKUPS));
        assert!(scene.cost.is_paused(scene.now + FIRST_PAUSE / 2));
        assert!(!scene.cost.is_paused(scene.now + FIRST_PAUSE));
    }

    #[test]
    fn fast_lookups_never_pause() {
        for is_hit in [true, false] {
            assert_eq!(Scene::new(1).lookups_until_pause(25, |_| is_hit), None);
        }
    }

    #[test]
    fn one_slow_lookup_does_not_pause() {
        let mut scene = Scene::new(1);
        for number in 0..200 {
            let milliseconds = if number % LOOKUPS == 0 { 100 } else { 5 };
            assert!(!scene.look_up(milliseconds, false), "{number}");
        }
    }

    #[test]
    fn lookups_at_the_same_time_count_once() {
        let mut scene = Scene::new(1);
        let begun = scene.now;
        for _ in 0..100 {
            let lookup = Lookup { begun, ended: begun + LIMIT * 2, is_hit: false };
            assert!(scene.cost.looked_up(lookup, LIMIT, 1.0).is_none());
        }
    }

    #[test]
    fn slow_lookups_whose_hits_save_more_do_not_pause() {
        let in_ten = |hits: usize| move |number: usize| number % 10 < hits;
        // A fetch takes 100 ms, so lookups of 45 ms are worth it if half of them hit.
        assert_eq!(Scene::new(100).lookups_until_pause(45, in_ten(6)), None);
        assert!(Scene::new(100).lookups_until_pause(45, in_ten(3)).is_some());
        assert!(Scene::new(10).lookups_until_pause(45, |_| true).is_some());
        let mut unknown = Scene { cost: LookupCost::default(), now: Instant::now() };
        assert_eq!(unknown.lookups_until_pause(45, |_| true), None);
    }

    #[test]
    fn a_long_fetch_counts_only_up_to_a_limit() {
        let mut scene = Scene::new(10);
        (1..FETCHES).for_each(|_| scene.cost.fetched(Duration::from_millis(10)));
        scene.cost.fetched(Duration::from_secs(100_000));
        // The mean is 322 ms.
        assert!(scene.lookups_until_pause(45, |number| number % 16 == 0).is_some());
    }

    #[test]
    fn pauses_double_up_to_a_limit_until_lookups_are_worth_their_time() {
        let mut scene = Scene::new(1);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(scene.lookups_until_pause(45, |_| false), Some(LOOKUPS), "{seconds}");
            assert!(scene.cost.is_paused(scene.now + Duration::from_secs(seconds - 1)));
            // Lookups that began before the pause.
            assert_eq!(scene.lookups_until_pause(45, |_| false), None);
            scene.now += Duration::from_secs(seconds);
            assert!(!scene.cost.is_paused(scene.now));
        }
        (0..LOOKUPS).for_each(|_| assert!(!scene.look_up(1, false)));
        scene.lookups_until_pause(45, |_| false);
        assert!(!scene.cost.is_paused(scene.now + FIRST_PAUSE));
    }

    #[test]
    fn lookups_of_a_server_that_fails_are_forgotten() {
        let mut scene = Scene::new(1);
        (1..LOOKUPS).for_each(|_| assert!(!scene.look_up(100, false)));
        scene.cost.forget_lookups();
        assert!(!scene.look_up(100, false));
    }
}
