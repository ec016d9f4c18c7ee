//! The origins of which something has to be remembered.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::budget::{Budget, Terms, Ticket};
use super::kept::SETTLING;
use super::lease::Ask;
use super::leased::AWAY;
use super::options::{Limits, Politeness};
use crate::peer_url::PeerUrl;
use crate::target::Target;

/// So many at most, of some 400 bytes each.
const MOST: usize = 4096;

/// What is known of the origins, by the URL `scheme://authority/`.
#[derive(Debug)]
pub(super) struct Budgets {
    by_origin: HashMap<Target, Budget>,
    tickets: Ticket,
    /// How many requests wait, for all origins.
    pub(super) waiting: usize,
    /// How many origins there may be before it is looked for those that can be forgotten.
    enough: usize,
    peers: u32,
    /// Until when others may not know the pool as it is.
    settled: Option<SystemTime>,
    /// Until when keepers are not asked that failed.
    away: HashMap<PeerUrl, SystemTime>,
    /// Whether somebody asks the keepers.
    pub(super) has_steward: bool,
}

/// What the one who asks the keepers has to do.
#[derive(Debug)]
pub(super) enum Errand {
    /// Ask this one now.
    Ask(Target, PeerUrl, Ask),
    /// Nothing for this long.
    Wait(Duration),
    /// Nothing.
    None,
}

impl Budgets {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            by_origin: HashMap::new(),
            tickets: 0,
            waiting: 0,
            enough: 0,
            peers: 1,
            settled: now.checked_add(SETTLING),
            away: HashMap::new(),
            has_steward: false,
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn find(&mut self, origin: &Target) -> Option<&mut Budget> {
        self.by_origin.get_mut(origin)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_origin.len()
    }

    /// On which terms an origin of this keeper is asked, in a pool of so many.
    pub(super) fn terms(
        &mut self,
        limits: Limits,
        keeper: Option<PeerUrl>,
        peers: u32,
        now: SystemTime,
    ) -> Terms {
        if self.peers != peers {
            // At first it is as old as this.
            if self.peers != 1 || !self.by_origin.is_empty() {
                self.settled = now.checked_add(SETTLING);
            }
            self.peers = peers;
        }
        let settled = self.settled.filter(|end| *end > now);
        let away = keeper.as_ref().and_then(|keeper| self.away.get(keeper)).copied();
        Terms { limits, keeper, peers, settled, away: away.filter(|end| *end > now) }
    }

    /// The budget of this origin. `None` where each of the most that there may be is in use: no origin is asked past
    /// its limit because others are.
    pub(super) fn of(
        &mut self,
        origin: &Target,
        options: &Politeness,
        terms: &Terms,
        now: SystemTime,
    ) -> Option<&mut Budget> {
        match self.by_origin.get_mut(origin) {
            Some(budget) if budget.has_moved(terms) => budget.follow(terms, now),
            Some(_) => {}
            None => {
                if self.by_origin.len() >= self.enough.max(16) {
                    self.by_origin.retain(|_, budget| !budget.is_idle(options, now));
                    // Looking through all of them costs each that comes a step or two.
                    self.enough = (2 * self.by_origin.len()).min(MOST);
                }
                if self.by_origin.len() >= MOST && !self.forget_the_oldest() {
                    return None;
                }
                self.by_origin.insert(origin.clone(), Budget::new(terms, now));
            }
        }
        self.by_origin.get_mut(origin)
    }

    /// Forgets the one that was not used for the longest time, though a part of it is spent.
    fn forget_the_oldest(&mut self) -> bool {
        let unused = self.by_origin.iter().filter(|(_, budget)| !budget.is_in_use());
        let oldest = unused.min_by_key(|(_, budget)| budget.used).map(|(origin, _)| origin.clone());
        oldest.and_then(|origin| self.by_origin.remove(&origin)).is_some()
    }

    /// What is to be asked next.
    pub(super) fn errand(&mut self, now: SystemTime) -> Errand {
        let due = self.by_origin.iter().filter_map(|(origin, budget)| Some((budget.due(now)?, origin)));
        let Some((wait, origin)) = due.min_by_key(|(wait, _)| *wait) else { return Errand::None };
        if !wait.is_zero() {
            return Errand::Wait(wait);
        }
        let origin = origin.clone();
        match self.by_origin.get_mut(&origin).and_then(|budget| budget.ask(now)) {
            Some((keeper, ask)) => Errand::Ask(origin, keeper, ask),
            None => Errand::None,
        }
    }

    /// Notes that a keeper failed. One question is enough to know that it is away.
    pub(super) fn keeper_failed(&mut self, keeper: &PeerUrl, now: SystemTime) {
        self.is_there(keeper, now);
        self.away.insert(keeper.clone(), now + AWAY);
        self.by_origin.values_mut().for_each(|budget| budget.keeper_failed(keeper, now));
    }

    /// Forgets that it is away, and what is past.
    pub(super) fn is_there(&mut self, keeper: &PeerUrl, now: SystemTime) {
        self.away.retain(|other, until| other != keeper && *until > now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::budget::Admission;
    use super::*;

    fn origin(number: usize) -> Target {
        Target::parse(&format!("http://origin-{number}.example/")).unwrap()
    }

    #[test]
    fn what_is_idle_is_forgotten_and_what_is_in_use_is_not() {
        let options = Politeness::new().concurrent(1).rate(1.0);
        let limits = options.limits().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut budgets = Budgets::new(now);
        let admit = |budgets: &mut Budgets, number: usize, now| {
            let (ticket, terms) = (budgets.ticket(), budgets.terms(limits, None, 1, now));
            let budget = budgets.of(&origin(number), &options, &terms, now);
            budget.map(|budget| budget.admit(ticket, &options, now))
        };
        for number in 0..MOST {
            assert_eq!(admit(&mut budgets, number, now), Some(Admission::Go));
        }
        // Each is in use, and none is forgotten for one more.
        assert_eq!(admit(&mut budgets, MOST, now), None);
        assert_eq!(budgets.len(), MOST);
        for number in 0..MOST {
            let budget = budgets.find(&origin(number)).unwrap();
            budget.in_flight -= 1;
            // The one at 7 was used before the others.
            budget.used = if number == 7 { UNIX_EPOCH } else { now };
        }
        // Spent, and so not idle: the oldest makes room.
        assert_eq!(admit(&mut budgets, MOST, now), Some(Admission::Go));
        assert!(budgets.find(&origin(7)).is_none() && budgets.len() == MOST);
        // A second later, all but the one in use are what new ones would be.
        assert_eq!(admit(&mut budgets, MOST + 1, now + Duration::from_secs(1)), Some(Admission::Go));
        assert_eq!(budgets.len(), 2);
    }
}
