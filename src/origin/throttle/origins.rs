//! The states of all origins that are in use or have a rate to remember.

use std::collections::HashMap;
use std::time::SystemTime;

use super::options::Limits;
use super::origin::OriginState;
use crate::message::url::CanonicalUrl;

/// The largest number of origins, of about 200 bytes each.
const MAX_ORIGINS: usize = 4096;

/// The state of each origin, by the URL `scheme://authority/`.
#[derive(Debug, Default)]
pub(super) struct Origins {
    by_origin: HashMap<CanonicalUrl, OriginState>,
    /// The number of origins at which idle ones are removed.
    sweep_at: usize,
}

impl Origins {
    pub(super) fn get_mut(&mut self, origin: &CanonicalUrl) -> Option<&mut OriginState> {
        self.by_origin.get_mut(origin)
    }

    /// Returns the state of this origin. `None` if all [`MAX_ORIGINS`] states are in use: an origin's limit
    /// must hold even if there are many other origins.
    pub(super) fn get_or_insert(
        &mut self,
        origin: &CanonicalUrl,
        limits: Limits,
        now: SystemTime,
    ) -> Option<&mut OriginState> {
        if !self.by_origin.contains_key(origin) {
            if self.by_origin.len() >= self.sweep_at.max(16) {
                self.by_origin.retain(|_, state| !state.is_idle(now));
                // Doubling the threshold keeps the cost of these scans constant for each new origin.
                self.sweep_at = (2 * self.by_origin.len()).min(MAX_ORIGINS);
            }
            if self.by_origin.len() >= MAX_ORIGINS && !self.evict_oldest() {
                return None;
            }
            self.by_origin.insert(origin.clone(), OriginState::new(limits, now));
        }
        self.by_origin.get_mut(origin)
    }

    /// Removes the least recently used state that is not in use, even if its bucket is not full. Returns
    /// whether there was one.
    fn evict_oldest(&mut self) -> bool {
        let unused = self.by_origin.iter().filter(|(_, state)| !state.is_in_use());
        let oldest = unused.min_by_key(|(_, state)| state.used).map(|(origin, _)| origin.clone());
        oldest.and_then(|origin| self.by_origin.remove(&origin)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::options::OriginLimits;
    use super::super::origin::Admission;
    use super::*;

    fn origin(number: usize) -> CanonicalUrl {
        CanonicalUrl::parse(&format!("http://origin-{number}.example/")).unwrap()
    }

    #[test]
    fn idle_states_are_removed_and_used_ones_kept() {
        let options = OriginLimits::new().concurrent(1).rate(1.0);
        let limits = options.limits().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut origins = Origins::default();
        let admit = |origins: &mut Origins, number: usize, now| {
            let state = origins.get_or_insert(&origin(number), limits, now);
            state.map(|state| state.admit(0, limits, &options, now))
        };
        for number in 0..MAX_ORIGINS {
            assert_eq!(admit(&mut origins, number, now), Some(Admission::Go));
        }
        // All states are in use, so none is removed for one more.
        assert_eq!(admit(&mut origins, MAX_ORIGINS, now), None);
        for number in 0..MAX_ORIGINS {
            let state = origins.get_mut(&origin(number)).unwrap();
            state.in_flight -= 1;
            // State 7 is the least recently used.
            state.used = if number == 7 { UNIX_EPOCH } else { now };
        }
        // The buckets are not full, so the states are not idle: the least recently used one is removed.
        assert_eq!(admit(&mut origins, MAX_ORIGINS, now), Some(Admission::Go));
        assert!(origins.get_mut(&origin(7)).is_none() && origins.by_origin.len() == MAX_ORIGINS);
        // A second later, all states but the one in use equal new ones.
        assert_eq!(admit(&mut origins, MAX_ORIGINS + 1, now + Duration::from_secs(1)), Some(Admission::Go));
        assert_eq!(origins.by_origin.len(), 2);
    }
}
