//! One origin: what is under way, who waits, and whether it asked to be left alone.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::kept::Kept;
use super::lease::{Ask, Grant};
use super::leased::Leased;
use super::options::{Limits, Politeness};
use super::pause::Pause;
use crate::peer_url::PeerUrl;

/// Somebody who waits: a number of his own, greater than those of all who came before.
pub(super) type Ticket = u64;

/// What one who asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Go, and give the place back.
    Go,
    /// Wait: it is worth asking again after this long, if that is known, and when something has changed.
    Wait(Option<Duration>),
    /// There is no place within the time that is waited, or too many wait; when it may be worth asking again.
    Full(Duration),
    /// The origin is left alone for this long.
    Paused(Duration),
}

/// What a budget is made of.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The limits of the pool.
    pub(super) limits: Limits,
    /// Who keeps the budget, where that is another.
    pub(super) keeper: Option<PeerUrl>,
    /// How many peers there are.
    pub(super) peers: u32,
    /// Until when others may not know yet who keeps it.
    pub(super) settled: Option<SystemTime>,
    /// Until when the keeper is not asked, as it failed.
    pub(super) away: Option<SystemTime>,
}

/// What is known of one origin.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) in_flight: u32,
    queue: VecDeque<Ticket>,
    pub(super) pause: Pause,
    source: Source,
    pub(super) used: SystemTime,
}

/// Whose it is.
#[derive(Debug)]
enum Source {
    Kept(Kept),
    Leased(Box<Leased>),
}

/// How soon it is worth asking again where nobody knows.
const SOON: Duration = Duration::from_secs(1);

impl Source {
    fn new(terms: &Terms, now: SystemTime) -> Self {
        let share = terms.limits.share(terms.peers);
        match &terms.keeper {
            Some(keeper) => Self::Leased(Box::new(Leased::new(keeper.clone(), share, terms.away))),
            None => {
                let settling = terms.settled.filter(|_| terms.peers > 1).map(|end| (share, end));
                Self::Kept(Kept::new(terms.limits, settling, now))
            }
        }
    }

    fn keeper(&self) -> Option<&PeerUrl> {
        match self {
            Self::Kept(_) => None,
            Self::Leased(leased) => Some(&leased.keeper),
        }
    }

    fn wait(&self, waiting: u32, now: SystemTime) -> Duration {
        match self {
            Self::Kept(kept) => kept.wait(waiting, now),
            Self::Leased(leased) => leased.wait(waiting, now),
        }
    }
}

impl Budget {
    pub(super) fn new(terms: &Terms, now: SystemTime) -> Self {
        Self {
            in_flight: 0,
            queue: VecDeque::new(),
            pause: Pause::default(),
            source: Source::new(terms, now),
            used: now,
        }
    }

    /// Whether another keeps it than before: the pool has changed.
    pub(super) fn has_moved(&self, terms: &Terms) -> bool {
        self.source.keeper() != terms.keeper.as_ref()
    }

    /// Begins anew with the one who keeps it now.
    pub(super) fn follow(&mut self, terms: &Terms, now: SystemTime) {
        self.source = Source::new(terms, now);
    }

    /// Decides on one who comes, or who has waited.
    pub(super) fn admit(&mut self, ticket: Ticket, options: &Politeness, now: SystemTime) -> Admission {
        self.used = now;
        if let Some(left) = self.pause.left(now) {
            return Admission::Paused(left);
        }
        let place = self.queue.iter().position(|waiting| *waiting == ticket);
        let ahead = place.unwrap_or(self.queue.len());
        let again = if ahead > 0 {
            None
        } else {
            let admitted = match &mut self.source {
                Source::Kept(kept) => kept.admit(self.in_flight, now),
                Source::Leased(leased) => leased.admit(self.in_flight, now),
            };
            match admitted {
                Ok(()) => {
                    self.leave(ticket);
                    self.in_flight += 1;
                    return Admission::Go;
                }
                Err(again) => again,
            }
        };
        if place.is_none() {
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            let wait = self.source.wait(ahead.saturating_add(1), now);
            if self.queue.len() >= options.max_waiting || wait > options.patience {
                self.settle();
                return Admission::Full(if wait.is_zero() { SOON } else { wait });
            }
            self.queue.push_back(ticket);
        }
        Admission::Wait(again)
    }

    /// Takes one who waits no longer out of the queue.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.queue.retain(|waiting| *waiting != ticket);
        self.settle();
    }

    /// Where nobody waits, nothing is left free for one who does.
    fn settle(&mut self) {
        if let (true, Source::Kept(kept)) = (self.queue.is_empty(), &mut self.source) {
            kept.nobody_waits();
        }
    }

    /// Whether those who wait do so for a moment alone, until it is known what there is.
    pub(super) fn is_asking(&self, now: SystemTime) -> bool {
        match &self.source {
            Source::Kept(_) => false,
            Source::Leased(leased) => leased.is_asking(now),
        }
    }

    /// When it may be worth asking again for one who has waited in vain.
    pub(super) fn again(&self, now: SystemTime) -> Duration {
        let wait = self.source.wait(1, now);
        if wait.is_zero() { SOON } else { wait }
    }

    /// The origin asked for time.
    pub(super) fn has_paused(&mut self) {
        if let Source::Leased(leased) = &mut self.source {
            leased.has_news = true;
        }
    }

    /// Whether another peer keeps it.
    pub(super) fn is_leased(&self) -> bool {
        matches!(self.source, Source::Leased(_))
    }

    /// Lends to another peer; `None` where it is not kept here.
    pub(super) fn lend(
        &mut self,
        peer: &str,
        ask: &Ask,
        longest: Duration,
        now: SystemTime,
    ) -> Option<Grant> {
        self.used = now;
        let Source::Kept(kept) = &mut self.source else { return None };
        self.pause.extend(ask.pause.min(longest), now);
        let pause = self.pause.left(now).unwrap_or_default();
        if pause.is_zero() {
            return Some(kept.lend(peer, ask, self.in_flight, now));
        }
        // Nothing may be sent, and what is under way is under way.
        let idle = Ask { waiting: 0, places: ask.busy, requests: 0, ..*ask };
        Some(Grant { pause, ..kept.lend(peer, &idle, self.in_flight, now) })
    }

    /// In what time its keeper has to be asked.
    pub(super) fn due(&self, now: SystemTime) -> Option<Duration> {
        match &self.source {
            Source::Kept(_) => None,
            Source::Leased(leased) => leased.due(self.in_flight, self.queue.len(), now),
        }
    }

    /// What is asked, and of whom.
    pub(super) fn ask(&mut self, now: SystemTime) -> Option<(PeerUrl, Ask)> {
        let pause = self.pause.left(now).unwrap_or_default();
        match &mut self.source {
            Source::Kept(_) => None,
            Source::Leased(leased) => {
                let ask = leased.ask(self.in_flight, self.queue.len(), pause, now);
                Some((leased.keeper.clone(), ask))
            }
        }
    }

    /// The answer of this keeper.
    pub(super) fn granted(&mut self, keeper: &PeerUrl, grant: &Grant, longest: Duration, now: SystemTime) {
        let Some(leased) = self.leased_from(keeper) else { return };
        leased.granted(grant, now);
        self.pause.extend(grant.pause.min(longest), now);
    }

    /// This keeper failed, whatever it was asked for.
    pub(super) fn keeper_failed(&mut self, keeper: &PeerUrl, now: SystemTime) {
        if let Some(leased) = self.leased_from(keeper) {
            leased.failed(now);
        }
    }

    /// `None` where it is not this keeper's: the pool may have changed meanwhile.
    fn leased_from(&mut self, keeper: &PeerUrl) -> Option<&mut Leased> {
        match &mut self.source {
            Source::Leased(leased) if leased.keeper == *keeper => Some(leased),
            _ => None,
        }
    }

    /// Whether somebody needs it at this moment.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_flight > 0 || !self.queue.is_empty()
    }

    /// Whether a new one would be the same.
    pub(super) fn is_idle(&self, options: &Politeness, now: SystemTime) -> bool {
        let is_unspent = match &self.source {
            Source::Kept(kept) => kept.is_whole(now),
            Source::Leased(leased) => leased.is_spent(now),
        };
        !self.is_in_use()
            && is_unspent
            && (self.pause.is_over(now) || self.pause.is_forgotten(options.longest_pause, now))
    }
}
