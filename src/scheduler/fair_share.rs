//! How many threads of a pool an origin and a client may have. Pure: nothing here waits, and times are arguments.
//!
//! A fetch or a transfer starts only while fewer threads wait for its origin than are free: the dynamic threshold that
//! Choudhury and Hahne gave for shared buffers. One silent origin takes half of the pool, a second one half of the rest.
//! A client may have nearly twice as many as are free, two thirds of the pool where it is alone: so a client that waits
//! for a silent origin still gets what it asks of another one. A client of which nothing runs is let in whatever runs
//! for the origin. The last eighth is for transfers, and for fetches where neither the client nor the origin has any.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::client::Client;
use crate::message::url::CanonicalUrl;

/// A fetch that takes longer counts as a stream, which does not keep others from its origin.
const LONG: Duration = Duration::from_secs(60);

/// How many refreshes of one origin run at a time.
const MOST_REFRESHES: usize = 2;

/// What a thread is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A fetch from this origin (`scheme://authority/`), of which the operator allows so many at a time.
    Fetch { origin: CanonicalUrl, cap: Option<usize> },
    /// The same, for nobody in particular.
    Refresh { origin: CanonicalUrl, cap: Option<usize> },
    /// A transfer that has begun, from this origin where that is known.
    Transfer { origin: Option<CanonicalUrl> },
    /// Whatever it is.
    Any,
}

impl Purpose {
    pub(super) fn origin(&self) -> Option<&CanonicalUrl> {
        match self {
            Self::Fetch { origin, .. } | Self::Refresh { origin, .. } => Some(origin),
            Self::Transfer { origin } => origin.as_ref(),
            Self::Any => None,
        }
    }

    fn is_refresh(&self) -> bool {
        matches!(self, Self::Refresh { .. })
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
    origins: HashMap<CanonicalUrl, OfOrigin>,
    clients: HashMap<Client, OfClient>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfOrigin {
    /// Without streams.
    running: usize,
    refreshes: usize,
    streams: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfClient {
    /// Without streams.
    running: usize,
    streams: usize,
}

impl Granted {
    /// The origin to which a connection is to be made.
    pub(super) fn fetches_from(&self) -> Option<&CanonicalUrl> {
        match &self.claim.purpose {
            Purpose::Transfer { .. } => None,
            purpose => purpose.origin(),
        }
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
        let of_origin = claim.purpose.origin().map(|origin| self.of(origin)).unwrap_or_default();
        let of_client = claim.client.map_or(0, |client| self.of_client(client).running);
        // Where nothing is free it is false.
        let is_within_shares = of_origin.running < free && of_client + 1 < 2 * free;
        let is_let_in = self.is_new(claim.client) && free > reserve.max(1);
        match &claim.purpose {
            Purpose::Any | Purpose::Transfer { .. } => is_let_in || is_within_shares,
            Purpose::Refresh { cap, .. } => {
                is_within_shares
                    && free > reserve
                    && of_origin.refreshes < MOST_REFRESHES
                    && is_below(*cap, of_origin)
            }
            Purpose::Fetch { cap, .. } => {
                let has_nothing = of_client == 0 && of_origin.running == 0;
                (is_let_in || is_within_shares && (free > reserve || has_nothing))
                    && is_below(*cap, of_origin)
            }
        }
    }

    /// Whether this is a client of which nothing runs.
    pub(super) fn is_new(&self, client: Option<Client>) -> bool {
        client.is_some_and(|client| self.of_client(client).running == 0)
    }

    fn of(&self, origin: &CanonicalUrl) -> OfOrigin {
        self.origins.get(origin).copied().unwrap_or_default()
    }

    fn of_client(&self, client: Client) -> OfClient {
        self.clients.get(&client).copied().unwrap_or_default()
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
            of_origin.refreshes += usize::from(claim.purpose.is_refresh());
        }
        if let Some(client) = claim.client {
            self.clients.entry(client).or_default().running += 1;
        }
        Some(Granted { claim: claim.clone(), since: now, is_stream: false })
    }

    /// Counts a fetch or a transfer among the streams from now on, where there is room for one more: half of the pool,
    /// and an eighth of it for each client.
    pub(super) fn move_to_streams(&mut self, granted: &mut Granted) -> bool {
        let of_client = granted.claim.client.map_or(0, |client| self.of_client(client).streams);
        if granted.is_stream
            || granted.claim.purpose.origin().is_none()
            || self.streams >= self.max / 2
            || of_client >= (self.max / 8).max(1)
        {
            return false;
        }
        granted.is_stream = true;
        self.streams += 1;
        let is_refresh = granted.claim.purpose.is_refresh();
        self.change(
            &granted.claim,
            |of_origin| {
                of_origin.running -= 1;
                of_origin.refreshes -= usize::from(is_refresh);
                of_origin.streams += 1;
            },
            |of_client| {
                of_client.running -= 1;
                of_client.streams += 1;
            },
        );
        true
    }

    /// The same of what has run for long.
    pub(super) fn move_to_streams_if_long(&mut self, granted: &mut Granted, now: Instant) -> bool {
        now.saturating_duration_since(granted.since) >= LONG && self.move_to_streams(granted)
    }

    /// Gives back what was granted.
    pub(super) fn finish(&mut self, granted: &Granted) {
        let stream = usize::from(granted.is_stream);
        let short = 1 - stream;
        let refresh = if granted.claim.purpose.is_refresh() { short } else { 0 };
        self.running -= 1;
        self.streams -= stream;
        self.change(
            &granted.claim,
            |of_origin| {
                of_origin.running -= short;
                of_origin.refreshes -= refresh;
                of_origin.streams -= stream;
            },
            |of_client| {
                of_client.running -= short;
                of_client.streams -= stream;
            },
        );
    }

    /// Changes the counts of its origin and its client, and forgets those that have nothing.
    fn change(
        &mut self,
        claim: &Claim,
        origin: impl FnOnce(&mut OfOrigin),
        client: impl FnOnce(&mut OfClient),
    ) {
        if let Some(name) = claim.purpose.origin()
            && let Some(of_origin) = self.origins.get_mut(name)
        {
            origin(of_origin);
            if of_origin.running == 0 && of_origin.streams == 0 {
                self.origins.remove(name);
            }
        }
        if let Some(name) = claim.client
            && let Some(of_client) = self.clients.get_mut(&name)
        {
            client(of_client);
            if of_client.running == 0 && of_client.streams == 0 {
                self.clients.remove(&name);
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

    fn origin(number: u8) -> CanonicalUrl {
        CanonicalUrl::parse(&format!("http://origin-{number}/")).unwrap()
    }

    fn client(number: u8) -> Client {
        Client::of([10, 0, 0, number].into())
    }

    fn fetch(of: u8, by: u8) -> Claim {
        Claim { purpose: Purpose::Fetch { origin: origin(of), cap: None }, client: Some(client(by)) }
    }

    fn transfer(of: u8, by: u8) -> Claim {
        Claim { purpose: Purpose::Transfer { origin: Some(origin(of)) }, client: Some(client(by)) }
    }

    fn handled(by: u8) -> Claim {
        Claim { purpose: Purpose::Any, client: Some(client(by)) }
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
            for claim in [fetch, transfer] {
                let mut share = FairShare::new(max);
                let started: usize = (0..20).map(|name| fill(&mut share, &claim(name, 1)).len()).sum();
                assert!(started <= max * 2 / 3 + 1, "{started} of {max}");
                assert!(share.has_room_for(&fetch(99, 2)) && share.has_room_for(&transfer(99, 2)));
            }
        }
    }

    #[test]
    fn one_client_does_not_have_all_threads_of_a_handler() {
        for max in [2, 8, 64, 1024] {
            let mut share = FairShare::new(max);
            let started = fill(&mut share, &handled(1)).len();
            assert!(started <= max * 2 / 3 + 1 && share.has_room_for(&handled(2)), "{started} of {max}");
            let mut share = FairShare::new(max);
            assert_eq!(fill(&mut share, &Claim { client: None, ..handled(1) }).len(), max);
        }
    }

    #[test]
    fn a_client_that_has_nothing_is_let_in_whatever_others_wait_for() {
        let mut share = FairShare::new(1024);
        assert_eq!(fill(&mut share, &fetch(1, 1)).len(), 512);
        assert!(!share.has_room_for(&Claim { client: None, ..fetch(1, 1) }));
        let second = share.start(&fetch(1, 2), Instant::now()).unwrap();
        assert!(!share.has_room_for(&fetch(1, 2)), "it has something now");
        assert!(share.has_room_for(&transfer(1, 3)) && !share.has_room_for(&transfer(1, 2)));
        share.finish(&second);
        let others = (2..=255).filter_map(|by| share.start(&fetch(1, by), Instant::now())).count();
        assert_eq!(others, 254);
        let more = (0..=255).map(|by| Client::of([10, 0, 1, by].into()));
        let more =
            more.filter_map(|by| share.start(&Claim { client: Some(by), ..fetch(1, 1) }, Instant::now()));
        assert_eq!((more.count(), share.free()), (130, 128), "the last eighth is for other origins");
        let capped = Purpose::Fetch { origin: origin(2), cap: Some(0) };
        assert!(!share.has_room_for(&Claim { purpose: capped, client: Some(client(9)) }));
    }

    #[test]
    fn a_transfer_may_have_the_last_thread() {
        let mut share = FairShare::new(16);
        let running: Vec<Granted> =
            (0..14).filter_map(|number| share.start(&fetch(number, number), Instant::now())).collect();
        assert_eq!((running.len(), share.free()), (14, 2));
        assert!(!share.has_room_for(&fetch(1, 99)) && share.has_room_for(&transfer(99, 1)));
        assert!(share.start(&transfer(99, 98), Instant::now()).is_some());
        assert!(share.start(&transfer(98, 99), Instant::now()).is_some());
        assert_eq!(share.free(), 0);
    }

    #[test]
    fn a_small_pool_serves_everybody() {
        for max in 1..8 {
            let mut share = FairShare::new(max);
            for claim in [handled(1), transfer(1, 1), fetch(1, 1)] {
                let granted = share.start(&claim, Instant::now()).unwrap();
                share.finish(&granted);
            }
        }
    }

    #[test]
    fn streams_leave_their_origin_room_and_have_a_limit() {
        let mut share = FairShare::new(16);
        let mut streams: Vec<Granted> =
            (0..8).filter_map(|by| share.start(&fetch(1, by), Instant::now())).collect();
        assert_eq!(streams.len(), 8);
        assert!(streams.iter_mut().all(|stream| share.move_to_streams(stream)));
        assert!(!share.move_to_streams(&mut streams[0]), "it is one already");
        let mut more = fill(&mut share, &fetch(1, 9));
        assert_eq!((more.len(), share.streams()), (4, 8));
        assert!(!share.move_to_streams(&mut more[0]), "half of the pool are streams");
        streams.iter().chain(&more).for_each(|granted| share.finish(granted));
        assert_eq!(
            (share.running(), share.streams(), share.origins.len(), share.clients.len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn a_quarter_of_the_streams_are_for_one_client() {
        let mut share = FairShare::new(64);
        let mut running = fill(&mut share, &fetch(1, 1));
        running.extend(fill(&mut share, &transfer(2, 1)));
        let streams =
            running.iter_mut().filter_map(|granted| share.move_to_streams(granted).then_some(())).count();
        assert_eq!((streams, share.of_client(client(1)).running), (8, running.len() - 8));
        let mut other = share.start(&transfer(1, 2), Instant::now()).unwrap();
        assert!(share.move_to_streams(&mut other));
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
            steps in prop::collection::vec((0_u8..6, 0_u8..5, 0_u8..5, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut share = FairShare::new(max);
            let mut running: Vec<Granted> = Vec::new();
            for (what, of, by, which) in steps {
                match what {
                    0 | 1 => running.extend(share.start(&fetch(of, by), Instant::now())),
                    2 => running.extend(share.start(&transfer(of, by), Instant::now())),
                    3 => running.extend(share.start(&handled(by), Instant::now())),
                    4 if !running.is_empty() => {
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
                    let of_it = share.of_client(client(number));
                    prop_assert_eq!(of_it.running, of_client);
                    let of_client = running.iter().filter(|granted| granted.is_stream)
                        .filter(|granted| granted.claim.client == Some(client(number))).count();
                    prop_assert!(of_it.streams == of_client && of_client <= (max / 8).max(1));
                }
            }
        }

        /// Whatever one client does, another one gets a thread for another origin.
        #[test]
        fn there_is_room_for_another_client(
            max in 3_usize..300,
            steps in prop::collection::vec((0_u8..30, 0_u8..8, any::<prop::sample::Index>()), 0..600),
        ) {
            let mut share = FairShare::new(max);
            let mut running: Vec<Granted> = Vec::new();
            for (of, what, which) in steps {
                match what {
                    0 if !running.is_empty() => {
                        let ended = running.swap_remove(which.index(running.len()));
                        share.finish(&ended);
                    }
                    1 if !running.is_empty() => {
                        let at = which.index(running.len());
                        share.move_to_streams(&mut running[at]);
                    }
                    2 | 3 => running.extend(share.start(&transfer(of, 1), Instant::now())),
                    4 => running.extend(share.start(&handled(1), Instant::now())),
                    _ => running.extend(share.start(&fetch(of, 1), Instant::now())),
                }
                prop_assert!(share.has_room_for(&transfer(99, 2)) && share.has_room_for(&handled(2)));
                prop_assert!(share.has_room_for(&fetch(99, 2)));
            }
        }
    }
}
