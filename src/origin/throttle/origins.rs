//! The origins of which something has to be remembered.

use std::collections::HashMap;
use std::time::SystemTime;

use super::options::Limits;
use super::origin::OriginState;
use crate::message::url::CanonicalUrl;

/// The greatest number of origins, of some 200 bytes each.
const MOST: usize = 4096;

/// The state of each origin, by the URL `scheme://authority/`.
#[derive(Debug, Default)]
pub(super) struct Origins {
    by_origin: HashMap<CanonicalUrl, OriginState>,
    /// At this number of origins, idle ones are removed.
    enough: usize,
}

impl Origins {
    pub(super) fn find(&mut self, origin: &CanonicalUrl) -> Option<&mut OriginState> {
        self.by_origin.get_mut(origin)
    }

    /// The state of this origin. `None` where all [`MOST`] states are in use: the limit of one origin is not exceeded
    /// because there are many others.
    pub(super) fn of(
        &mut self,
        origin: &CanonicalUrl,
        limits: Limits,
        now: SystemTime,
    ) -> Option<&mut OriginState> {
        if !self.by_origin.contains_key(origin) {
            if self.by_origin.len() >= self.enough.max(16) {
                self.by_origin.retain(|_, state| !state.is_idle(now));
                // So looking through all of them costs each new one a step or two.
                self.enough = (2 * self.by_origin.len()).min(MOST);
            }
            if self.by_origin.len() >= MOST && !self.forget_the_oldest() {
                return None;
            }
            self.by_origin.insert(origin.clone(), OriginState::new(limits, now));
        }
        self.by_origin.get_mut(origin)
    }

    /// Removes the state that was not used for the longest time, though its bucket is not full.
    fn forget_the_oldest(&mut self) -> bool {
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
    fn what_is_idle_is_forgotten_and_what_is_in_use_is_not() {
        let options = OriginLimits::new().concurrent(1).rate(1.0);
        let limits = options.limits().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut origins = Origins::default();
        let admit = |origins: &mut Origins, number: usize, now| {
            let state = origins.of(&origin(number), limits, now);
            state.map(|state| state.admit(0, limits, &options, now))
        };
        for number in 0..MOST {
            assert_eq!(admit(&mut origins, number, now), Some(Admission::Go));
        }
        // Each is in use, and none is forgotten for one more.
        assert_eq!(admit(&mut origins, MOST, now), None);
        for number in 0..MOST {
            let state = origins.find(&origin(number)).unwrap();
            state.in_flight -= 1;
            // The one at 7 was used before the others.
            state.used = if number == 7 { UNIX_EPOCH } else { now };
        }
        // Their buckets are not full, so they are not idle: the oldest makes room.
        assert_eq!(admit(&mut origins, MOST, now), Some(Admission::Go));
        assert!(origins.find(&origin(7)).is_none() && origins.by_origin.len() == MOST);
        // A second later, all but the one in use are what new ones would be.
        assert_eq!(admit(&mut origins, MOST + 1, now + Duration::from_secs(1)), Some(Admission::Go));
        assert_eq!(origins.by_origin.len(), 2);
    }
}
