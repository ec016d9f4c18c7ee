//! The origins of which something has to be remembered.

use std::collections::HashMap;
use std::time::SystemTime;

use super::budget::{Budget, Ticket};
use super::options::{Limits, Politeness};

/// So many at most, of some 300 bytes each.
const MOST: usize = 4096;

/// What is known of the origins, by their text (`scheme://authority/`).
#[derive(Debug, Default)]
pub(super) struct Budgets {
    by_origin: HashMap<String, Budget>,
    tickets: Ticket,
    pub(super) waiting: usize,
    /// How many there may be before it is looked for those that can be forgotten.
    enough: usize,
}

impl Budgets {
    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn find(&mut self, origin: &str) -> Option<&mut Budget> {
        self.by_origin.get_mut(origin)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_origin.len()
    }

    /// The budget of this origin. `None` where each of the most that there may be is in use: no origin is asked past
    /// its limit because others are.
    pub(super) fn of(
        &mut self,
        origin: &str,
        options: &Politeness,
        limits: Limits,
        now: SystemTime,
    ) -> Option<&mut Budget> {
        if !self.by_origin.contains_key(origin) {
            if self.by_origin.len() >= self.enough.max(16) {
                self.by_origin.retain(|_, budget| !budget.is_idle(options, now));
                // Looking through all of them costs each that comes a step or two.
                self.enough = (2 * self.by_origin.len()).min(MOST);
            }
            if self.by_origin.len() >= MOST && !self.forget_the_oldest() {
                return None;
            }
            self.by_origin.insert(origin.to_owned(), Budget::new(limits, now));
        }
        self.by_origin.get_mut(origin)
    }

    /// Forgets the one that was not used for the longest time, though a part of it is spent.
    fn forget_the_oldest(&mut self) -> bool {
        let unused = self.by_origin.iter().filter(|(_, budget)| !budget.is_in_use());
        let oldest = unused.min_by_key(|(_, budget)| budget.used).map(|(origin, _)| origin.clone());
        oldest.and_then(|origin| self.by_origin.remove(&origin)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::budget::Admission;
    use super::*;

    #[test]
    fn what_is_idle_is_forgotten_and_what_is_in_use_is_not() {
        let options = Politeness::new().concurrent(1).rate(1.0);
        let limits = options.limits().unwrap();
        let mut budgets = Budgets::default();
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let admit = |budgets: &mut Budgets, number: usize, now| {
            let origin = format!("http://{number}/");
            let ticket = budgets.ticket();
            budgets
                .of(&origin, &options, limits, now)
                .map(|budget| budget.admit(ticket, &options, false, now))
        };
        for number in 0..MOST {
            assert_eq!(admit(&mut budgets, number, now), Some(Admission::Go));
        }
        // Each is in use, and none is forgotten for one more.
        assert_eq!(admit(&mut budgets, MOST, now), None);
        assert_eq!(budgets.len(), MOST);
        for number in 0..MOST {
            let budget = budgets.find(&format!("http://{number}/")).unwrap();
            budget.in_flight -= 1;
            // The one at 7 was used before the others.
            budget.used = if number == 7 { UNIX_EPOCH } else { now };
        }
        // Spent, and so not idle: the oldest makes room.
        assert_eq!(admit(&mut budgets, MOST, now), Some(Admission::Go));
        assert!(budgets.find("http://7/").is_none() && budgets.len() == MOST);
        // A second later, all but the one in use are what new ones would be.
        assert_eq!(admit(&mut budgets, MOST + 1, now + Duration::from_secs(1)), Some(Admission::Go));
        assert_eq!(budgets.len(), 2);
    }
}
