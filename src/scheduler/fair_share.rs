//! How many threads of a pool an origin and a client may have. Pure: nothing here waits, and times are arguments.
//!
//! A fetch starts only while fewer threads wait for its origin than are free: the dynamic threshold that Choudhury and
//! Hahne gave for shared buffers. One silent origin takes half of the pool, a second one half of the rest. A client may
//! have nearly twice as many as are free, two thirds of the pool where it is alone: so a client that waits for a silent
//! origin still gets what it asks of another one. What is left when an eighth is free is for origins and clients that
//! have nothing yet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::client::Client;
use crate::target::Target;

/// A fetch that takes longer counts as a stream, which does not keep others from its origin.
const LONG: Duration = Duration::from_secs(60);

/// How many refreshes of one origin run at a time.
const MOST_REFRESHES: usize = 2;

/// What a thread is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A fetch from this origin (`scheme://authority/`), of which the operator allows so many at a time.
    Fetch { origin: Target, cap: Option<usize> },
    /// The same, for nobody in particular.
    Refresh { origin: Target, cap: Option<usize> },
    /// A transfer that has begun.
    Transfer,
    /// Whatever it is.
    Any,
}

impl Purpose {
    pub(super) fn origin(&self) -> Option<&Target> {
        match self {
            Self::Fetch { origin, .. } | Self::Refresh { origin, .. } => Some(origin),
            Self::Transfer | Self::Any => None,
        }
    }
}

/// What a thread is wanted for, and by whom: `None` is a peer of the pool, or the cache itself.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) purpose: Purpose,
    pub(super) client: Option<Client>,
}

/// A claim that was granted; to be given back by [`FairShare::finish`].
#[derive(Debug)]
pub(super) struct Granted {
    claim: Claim,
    since: Instant,
    is_stream: bool,
}

/// Counts what runs.
#[derive(Debug)]
pub(super) struct FairShare {
    max: usize,
    running: usize,
    streams: usize,
    origins: HashMap<Target, OfOrigin>,
    clients: HashMap<Client, usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfOrigin {
    /// Without streams.
    running: usize,
    refreshes: usize,
    streams: usize,
}

impl Granted {
    pub(super) fn origin(&self) -> Option<&Target> {
        self.claim.purpose.origin()
    }
}

impl FairShare {
    /// Shares of so many threads.
    pub(super) fn new(max: usize) -> Self {
        Self { max, running: 0, streams: 0, origins: HashMap::new(), clients: HashMap::new() }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn streams(&self) -> usize {
        self.streams
    }

    pub(super) fn free(&self) -> usize {
        self.max - self.running
    }

    /// Whether the claim may be granted now.
    pub(super) fn has_room_for(&self, claim: &Claim) -> bool {
        let (free, reserve) = (self.free(), self.max / 8);
        match &claim.purpose {
            Purpose::Any => free > 0,
            Purpose::Transfer => free > reserve,
            Purpose::Refresh { origin, cap } => {
                let of_origin = self.of(origin);
                free > reserve
                    && of_origin.refreshes < MOST_REFRESHES
                    && of_origin.running < free
                    && is_below(*cap, of_origin)
            }
            Purpose::Fetch { origin, cap } => {
                let of_origin = self.of(origin);
                let of_client =
                    claim.client.and_then(|client| self.clients.get(&client)).copied().unwrap_or(0);
                let has_nothing = of_origin.running == 0 && of_client == 0;
                of_origin.running < free
                    && of_client + 1 < 2 * free
                    && (free > reserve || has_nothing)
                    && is_below(*cap, of_origin)
            }
        }
    }

    fn of(&self, origin: &Target) -> OfOrigin {
        self.origins.get(origin).copied().unwrap_or_default()
    }

    /// Grants the claim, if there is room for it.
    pub(super) fn start(&mut self, claim: &Claim, now: Instant) -> Option<Granted> {
        if !self.has_room_for(claim) {
            return None;
        }
        self.running += 1;
        if let Some(origin) = claim.purpose.origin() {
            let of_origin = self.origins.entry(origin.clone()).or_default();
            of_origin.running += 1;
            of_origin.refreshes += usize::from(matches!(claim.purpose, Purpose::Refresh { .. }));
            if let Some(client) = claim.client {
                *self.clients.entry(client).or_default() += 1;
            }
        }
        Some(Granted { claim: claim.clone(), since: now, is_stream: false })
    }

    /// Counts a fetch among the streams from now on, where there is room for one more: half of the pool.
    pub(super) fn move_to_streams(&mut self, granted: &mut Granted) -> bool {
        if granted.is_stream || granted.claim.purpose.origin().is_none() || self.streams >= self.max / 2 {
            return false;
        }
        self.release(granted);
        granted.is_stream = true;
        self.streams += 1;
        if let Some(origin) = granted.claim.purpose.origin() {
            self.origins.entry(origin.clone()).or_default().streams += 1;
        }
        true
    }

    /// The same of what has run for long.
    pub(super) fn move_to_streams_if_long(&mut self, granted: &mut Granted, now: Instant) -> bool {
        now.saturating_duration_since(granted.since) >= LONG && self.move_to_streams(granted)
    }

    /// Gives back what was granted.
    pub(super) fn finish(&mut self, granted: &Granted) {
        self.running -= 1;
        if !granted.is_stream {
            return self.release(granted);
        }
        self.streams -= 1;
        if let Some(origin) = granted.claim.purpose.origin() {
            self.change(origin, |of_origin| of_origin.streams -= 1);
        }
    }

    /// Takes it off the counts of its origin and its client.
    fn release(&mut self, granted: &Granted) {
        let Some(origin) = granted.claim.purpose.origin() else { return };
        let is_refresh = matches!(granted.claim.purpose, Purpose::Refresh { .. });
        self.change(origin, |of_origin| {
            of_origin.running -= 1;
            of_origin.refreshes -= usize::from(is_refresh);
        });
        if let Some(client) = granted.claim.client
            && let Some(count) = self.clients.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }

    fn change(&mut self, origin: &Target, change: impl FnOnce(&mut OfOrigin)) {
        if let Some(of_origin) = self.origins.get_mut(origin) {
            change(of_origin);
            if of_origin.running == 0 && of_origin.streams == 0 {
                self.origins.remove(origin);
            }
        }
    }
}

fn is_below(cap: Option<usize>, of_origin: OfOrigin) -> bool {
    cap.is_none_or(|cap| of_origin.running + of_origin.streams < cap)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(number: u8) -> Target {
        Target::parse(&format!("http://origin-{number}/")).unwrap()
    }

    fn client(number: u8) -> Client {
        Client::of([10, 0, 0, number].into())
    }

    fn fetch(of: u8, by: u8) -> Claim {
        Claim { purpose: Purpose::Fetch { origin: origin(of), cap: None }, client: Some(client(by)) }
    }

    /// As many as may start.
    fn fill(share: &mut FairShare, claim: &Claim) -> Vec<Granted> {
        std::iter::from_fn(|| share.start(claim, Instant::now())).collect()
    }

    #[test]
    fn a_silent_origin_takes_half_and_a_second_one_half_of_the_rest() {
        let mut share = FairShare::new(1024);
        assert_eq!(fill(&mut share, &fetch(1, 1)).len(), 512);
        assert_eq!(fill(&mut share, &fetch(2, 2)).len(), 256);
        assert_eq!(fill(&mut share, &fetch(3, 1)).len(), 0, "the client has twice as many as are free");
        assert_eq!(fill(&mut share, &fetch(3, 3)).len(), 128);
        assert_eq!(fill(&mut share, &fetch(4, 4)).len(), 1, "the last eighth is for those who have nothing");
    }

    #[test]
    fn one_client_cannot_fill_the_pool_with_silent_names() {
        for max in [8, 64, 512, 1024] {
            let mut share = FairShare::new(max);
            let started: usize = (0..20).map(|name| fill(&mut share, &fetch(name, 1)).len()).sum();
            assert!(started <= max * 2 / 3 + 1, "{started} of {max}");
            assert!(share.has_room_for(&fetch(99, 2)));
        }
    }

    #[test]
    fn a_small_pool_serves_everybody() {
        for max in 1..8 {
            let mut share = FairShare::new(max);
            for purpose in [Purpose::Any, Purpose::Transfer, fetch(1, 1).purpose] {
                let claim = Claim { purpose, client: Some(client(1)) };
                let granted = share.start(&claim, Instant::now()).unwrap();
                share.finish(&granted);
            }
        }
    }

    #[test]
    fn streams_leave_their_origin_room_and_have_a_limit() {
        let mut share = FairShare::new(16);
        let mut streams = fill(&mut share, &fetch(1, 1));
        assert_eq!(streams.len(), 8);
        assert!(streams.iter_mut().all(|stream| share.move_to_streams(stream)));
        assert!(!share.move_to_streams(&mut streams[0]), "it is one already");
        let mut more = fill(&mut share, &fetch(1, 1));
        assert_eq!((more.len(), share.streams()), (4, 8));
        assert!(!share.move_to_streams(&mut more[0]), "half of the pool are streams");
        streams.iter().chain(&more).for_each(|granted| share.finish(granted));
        assert_eq!(
            (share.running(), share.streams(), share.origins.len(), share.clients.len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn what_takes_long_is_a_stream() {
        let (mut share, start) = (FairShare::new(8), Instant::now());
        let mut granted = share.start(&fetch(1, 1), start).unwrap();
        assert!(!share.move_to_streams_if_long(&mut granted, start + LONG - Duration::from_secs(1)));
        assert!(share.move_to_streams_if_long(&mut granted, start + LONG));
    }

    #[test]
    fn a_cap_counts_streams_and_two_refreshes_of_an_origin_run_at_a_time() {
        let mut share = FairShare::new(64);
        let capped = Claim { purpose: Purpose::Fetch { origin: origin(1), cap: Some(3) }, client: None };
        let mut granted = fill(&mut share, &capped);
        assert!(share.move_to_streams(&mut granted[0]));
        assert_eq!((granted.len(), share.has_room_for(&capped)), (3, false));
        let refresh = Claim { purpose: Purpose::Refresh { origin: origin(2), cap: None }, client: None };
        assert_eq!(fill(&mut share, &refresh).len(), MOST_REFRESHES);
    }

    proptest! {
        /// Any sequence of starts, ends and moves, beside a list of what runs.
        #[test]
        fn the_counts_are_those_of_what_runs(
            max in 1_usize..40,
            steps in prop::collection::vec((0_u8..4, 0_u8..5, 0_u8..5, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut share = FairShare::new(max);
            let mut running: Vec<Granted> = Vec::new();
            for (what, of, by, which) in steps {
                match what {
                    0 | 1 => running.extend(share.start(&fetch(of, by), Instant::now())),
                    2 if !running.is_empty() => {
                        let ended = running.swap_remove(which.index(running.len()));
                        share.finish(&ended);
                    }
                    _ if !running.is_empty() => {
                        let at = which.index(running.len());
                        share.move_to_streams(&mut running[at]);
                    }
                    _ => {}
                }
                prop_assert!(running.len() <= max && share.running() == running.len());
                let streams = running.iter().filter(|granted| granted.is_stream).count();
                prop_assert!(share.streams() == streams && streams <= max / 2);
                for number in 0..5 {
                    let short = |granted: &&Granted| !granted.is_stream;
                    let of_origin = running.iter().filter(short)
                        .filter(|granted| granted.claim.purpose.origin() == Some(&origin(number))).count();
                    prop_assert_eq!(share.of(&origin(number)).running, of_origin);
                    let of_client = running.iter().filter(short)
                        .filter(|granted| granted.claim.client == Some(client(number))).count();
                    prop_assert_eq!(share.clients.get(&client(number)).copied().unwrap_or(0), of_client);
                }
            }
        }

        /// Whatever one client does, another one gets a thread for another origin.
        #[test]
        fn there_is_room_for_another_client(
            max in 2_usize..300,
            steps in prop::collection::vec((0_u8..30, any::<bool>(), any::<prop::sample::Index>()), 0..600),
        ) {
            let mut share = FairShare::new(max);
            let mut running: Vec<Granted> = Vec::new();
            for (of, ends, which) in steps {
                if ends && !running.is_empty() {
                    let ended = running.swap_remove(which.index(running.len()));
                    share.finish(&ended);
                } else {
                    running.extend(share.start(&fetch(of, 1), Instant::now()));
                }
                prop_assert!(share.has_room_for(&fetch(99, 2)));
            }
        }
    }
}
