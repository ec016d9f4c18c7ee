//! Decides how many threads of a pool an origin and a client may occupy. These are pure functions: they never block, and
//! times are arguments.
//!
//! A fetch or a transfer starts only if fewer threads wait for its origin than are free. This is the dynamic threshold of
//! Choudhury and Hahne for shared buffers. An origin that does not answer occupies half of the pool, a second one half of
//! the rest.
//!
//! A client may occupy almost twice as many threads as are free: two thirds of the pool if there is no other client. So
//! a client that waits for an unresponsive origin can still use another origin. A client without a running job may start
//! one regardless of its origin. The last eighth of the pool is reserved for transfers, and for fetches for which neither
//! the client nor the origin occupies a thread.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::client::Client;
use crate::message::url::CanonicalUrl;

/// A job that runs for longer counts as a stream, which does not limit other jobs of its origin.
const STREAM_AFTER: Duration = Duration::from_secs(60);

/// The greatest number of concurrent refreshes from one origin.
const MAX_REFRESHES: usize = 2;

/// The kind of a job that needs a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A fetch from this origin (`scheme://authority/`). `cap` is the operator's limit of concurrent fetches.
    Fetch { origin: CanonicalUrl, cap: Option<usize> },
    /// A background refresh from this origin. No client waits for it.
    Refresh { origin: CanonicalUrl, cap: Option<usize> },
    /// The continuation of a transfer, from this origin if it is known.
    Transfer { origin: Option<CanonicalUrl> },
    /// Any other job.
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

/// A request for a thread. `client` is `None` for a peer of the pool and for the cache itself.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) purpose: Purpose,
    pub(super) client: Option<Client>,
}

/// A granted claim. [`FairShare::finish`] gives the thread back.
#[derive(Debug)]
pub(super) struct Grant {
    claim: Claim,
    since: Instant,
    is_stream: bool,
}

/// Counts the running jobs of each origin and client.
#[derive(Debug)]
pub(super) struct FairShare {
    max: usize,
    running: usize,
    streams: usize,
    origins: HashMap<CanonicalUrl, OriginUsage>,
    clients: HashMap<Client, ClientUsage>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OriginUsage {
    /// Without streams.
    running: usize,
    refreshes: usize,
    streams: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct ClientUsage {
    /// Without streams.
    running: usize,
    streams: usize,
}

impl Grant {
    /// Returns the origin to which this job opens a connection.
    pub(super) fn fetches_from(&self) -> Option<&CanonicalUrl> {
        match &self.claim.purpose {
            Purpose::Transfer { .. } => None,
            purpose => purpose.origin(),
        }
    }
}

impl FairShare {
    /// Creates the shares of `max` threads.
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

    /// Returns whether the claim may be granted now.
    pub(super) fn has_room_for(&self, claim: &Claim) -> bool {
        let (free, reserve) = (self.free(), self.max / 8);
        let origin_usage = claim.purpose.origin().map(|origin| self.origin_usage(origin)).unwrap_or_default();
        let client_usage = claim.client.map_or(0, |client| self.client_usage(client).running);
        // This is false if no thread is free.
        let is_within_shares = origin_usage.running < free && client_usage + 1 < 2 * free;
        let is_admitted_as_idle = self.is_idle(claim.client) && free > reserve.max(1);
        match &claim.purpose {
            Purpose::Any | Purpose::Transfer { .. } => is_admitted_as_idle || is_within_shares,
            Purpose::Refresh { cap, .. } => {
                is_within_shares
                    && free > reserve
                    && origin_usage.refreshes < MAX_REFRESHES
                    && is_below(*cap, origin_usage)
            }
            Purpose::Fetch { cap, .. } => {
                let both_are_idle = client_usage == 0 && origin_usage.running == 0;
                (is_admitted_as_idle || is_within_shares && (free > reserve || both_are_idle))
                    && is_below(*cap, origin_usage)
            }
        }
    }

    /// Returns whether this is a client without a running job.
    pub(super) fn is_idle(&self, client: Option<Client>) -> bool {
        client.is_some_and(|client| self.client_usage(client).running == 0)
    }

    fn origin_usage(&self, origin: &CanonicalUrl) -> OriginUsage {
        self.origins.get(origin).copied().unwrap_or_default()
    }

    fn client_usage(&self, client: Client) -> ClientUsage {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    /// Grants the claim if there is room for it.
    pub(super) fn start(&mut self, claim: &Claim, now: Instant) -> Option<Grant> {
        if !self.has_room_for(claim) {
            return None;
        }
        self.running += 1;
        if let Some(origin) = claim.purpose.origin() {
            let origin_usage = self.origins.entry(origin.clone()).or_default();
            origin_usage.running += 1;
            origin_usage.refreshes += usize::from(claim.purpose.is_refresh());
        }
        if let Some(client) = claim.client {
            self.clients.entry(client).or_default().running += 1;
        }
        Some(Grant { claim: claim.clone(), since: now, is_stream: false })
    }

    /// Counts a fetch or a transfer as a stream, if there is room for another stream: half of the pool in total, an eighth
    /// of the pool for each client. Returns whether it did.
    pub(super) fn move_to_streams(&mut self, grant: &mut Grant) -> bool {
        let client_usage = grant.claim.client.map_or(0, |client| self.client_usage(client).streams);
        if grant.is_stream
            || grant.claim.purpose.origin().is_none()
            || self.streams >= self.max / 2
            || client_usage >= (self.max / 8).max(1)
        {
            return false;
        }
        grant.is_stream = true;
        self.streams += 1;
        let is_refresh = grant.claim.purpose.is_refresh();
        self.update_usage(
            &grant.claim,
            |origin_usage| {
                origin_usage.running -= 1;
                origin_usage.refreshes -= usize::from(is_refresh);
                origin_usage.streams += 1;
            },
            |client_usage| {
                client_usage.running -= 1;
                client_usage.streams += 1;
            },
        );
        true
    }

    /// Counts a job as a stream if it has run for [`STREAM_AFTER`]. Returns whether it did.
    pub(super) fn move_to_streams_if_long(&mut self, grant: &mut Grant, now: Instant) -> bool {
        now.saturating_duration_since(grant.since) >= STREAM_AFTER && self.move_to_streams(grant)
    }

    /// Gives back the thread of a grant.
    pub(super) fn finish(&mut self, grant: &Grant) {
        let stream = usize::from(grant.is_stream);
        let short = 1 - stream;
        let refresh = if grant.claim.purpose.is_refresh() { short } else { 0 };
        self.running -= 1;
        self.streams -= stream;
        self.update_usage(
            &grant.claim,
            |origin_usage| {
                origin_usage.running -= short;
                origin_usage.refreshes -= refresh;
                origin_usage.streams -= stream;
            },
            |client_usage| {
                client_usage.running -= short;
                client_usage.streams -= stream;
            },
        );
    }

    /// Updates the counts of the claim's origin and client, and removes them if they are zero.
    fn update_usage(
        &mut self,
        claim: &Claim,
        origin: impl FnOnce(&mut OriginUsage),
        client: impl FnOnce(&mut ClientUsage),
    ) {
        if let Some(name) = claim.purpose.origin()
            && let Some(origin_usage) = self.origins.get_mut(name)
        {
            origin(origin_usage);
            if origin_usage.running == 0 && origin_usage.streams == 0 {
                self.origins.remove(name);
            }
        }
        if let Some(name) = claim.client
            && let Some(client_usage) = self.clients.get_mut(&name)
        {
            client(client_usage);
            if client_usage.running == 0 && client_usage.streams == 0 {
                self.clients.remove(&name);
            }
        }
    }
}

fn is_below(cap: Option<usize>, origin_usage: OriginUsage) -> bool {
    cap.is_none_or(|cap| origin_usage.running + origin_usage.streams < cap)
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

    /// Starts as many jobs as possible.
    fn fill(share: &mut FairShare, claim: &Claim) -> Vec<Grant> {
        std::iter::from_fn(|| share.start(claim, Instant::now())).collect()
    }

    #[test]
    fn an_unresponsive_origin_takes_half_and_a_second_one_half_of_the_rest() {
        let mut share = FairShare::new(1024);
        assert_eq!(fill(&mut share, &fetch(1, 1)).len(), 512);
        assert_eq!(fill(&mut share, &fetch(2, 2)).len(), 256);
        assert_eq!(fill(&mut share, &fetch(3, 1)).len(), 0, "the client occupies twice as many as are free");
        assert_eq!(fill(&mut share, &fetch(3, 3)).len(), 128);
        assert_eq!(
            fill(&mut share, &fetch(4, 4)).len(),
            1,
            "the last eighth is for idle clients and origins"
        );
    }

    #[test]
    fn one_client_cannot_fill_the_pool_with_unresponsive_origins() {
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
    fn one_client_cannot_occupy_all_threads_of_a_handler() {
        for max in [2, 8, 64, 1024] {
            let mut share = FairShare::new(max);
            let started = fill(&mut share, &handled(1)).len();
            assert!(started <= max * 2 / 3 + 1 && share.has_room_for(&handled(2)), "{started} of {max}");
            let mut share = FairShare::new(max);
            assert_eq!(fill(&mut share, &Claim { client: None, ..handled(1) }).len(), max);
        }
    }

    #[test]
    fn a_client_without_a_job_may_start_one_regardless_of_other_clients() {
        let mut share = FairShare::new(1024);
        assert_eq!(fill(&mut share, &fetch(1, 1)).len(), 512);
        assert!(!share.has_room_for(&Claim { client: None, ..fetch(1, 1) }));
        let second = share.start(&fetch(1, 2), Instant::now()).unwrap();
        assert!(!share.has_room_for(&fetch(1, 2)), "the client now has a running job");
        assert!(share.has_room_for(&transfer(1, 3)) && !share.has_room_for(&transfer(1, 2)));
        share.finish(&second);
        let others = (2..=255).filter_map(|by| share.start(&fetch(1, by), Instant::now())).count();
        assert_eq!(others, 254);
        let more = (0..=255).map(|by| Client::of([10, 0, 1, by].into()));
        let more =
            more.filter_map(|by| share.start(&Claim { client: Some(by), ..fetch(1, 1) }, Instant::now()));
        assert_eq!((more.count(), share.free()), (130, 128), "the last eighth is reserved");
        let capped = Purpose::Fetch { origin: origin(2), cap: Some(0) };
        assert!(!share.has_room_for(&Claim { purpose: capped, client: Some(client(9)) }));
    }

    #[test]
    fn a_transfer_may_use_the_last_thread() {
        let mut share = FairShare::new(16);
        let running: Vec<Grant> =
            (0..14).filter_map(|number| share.start(&fetch(number, number), Instant::now())).collect();
        assert_eq!((running.len(), share.free()), (14, 2));
        assert!(!share.has_room_for(&fetch(1, 99)) && share.has_room_for(&transfer(99, 1)));
        assert!(share.start(&transfer(99, 98), Instant::now()).is_some());
        assert!(share.start(&transfer(98, 99), Instant::now()).is_some());
        assert_eq!(share.free(), 0);
    }

    #[test]
    fn a_small_pool_serves_all_kinds_of_jobs() {
        for max in 1..8 {
            let mut share = FairShare::new(max);
            for claim in [handled(1), transfer(1, 1), fetch(1, 1)] {
                let grant = share.start(&claim, Instant::now()).unwrap();
                share.finish(&grant);
            }
        }
    }

    #[test]
    fn streams_do_not_limit_their_origin_and_are_limited_themselves() {
        let mut share = FairShare::new(16);
        let mut streams: Vec<Grant> =
            (0..8).filter_map(|by| share.start(&fetch(1, by), Instant::now())).collect();
        assert_eq!(streams.len(), 8);
        assert!(streams.iter_mut().all(|stream| share.move_to_streams(stream)));
        assert!(!share.move_to_streams(&mut streams[0]), "the job is already a stream");
        let mut more = fill(&mut share, &fetch(1, 9));
        assert_eq!((more.len(), share.streams()), (4, 8));
        assert!(!share.move_to_streams(&mut more[0]), "half of the pool are streams already");
        streams.iter().chain(&more).for_each(|grant| share.finish(grant));
        assert_eq!(
            (share.running(), share.streams(), share.origins.len(), share.clients.len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn one_client_may_have_a_quarter_of_the_streams() {
        let mut share = FairShare::new(64);
        let mut running = fill(&mut share, &fetch(1, 1));
        running.extend(fill(&mut share, &transfer(2, 1)));
        let streams =
            running.iter_mut().filter_map(|grant| share.move_to_streams(grant).then_some(())).count();
        assert_eq!((streams, share.client_usage(client(1)).running), (8, running.len() - 8));
        let mut other = share.start(&transfer(1, 2), Instant::now()).unwrap();
        assert!(share.move_to_streams(&mut other));
    }

    #[test]
    fn a_job_that_runs_for_long_becomes_a_stream() {
        let (mut share, start) = (FairShare::new(8), Instant::now());
        let mut grant = share.start(&fetch(1, 1), start).unwrap();
        assert!(!share.move_to_streams_if_long(&mut grant, start + STREAM_AFTER - Duration::from_secs(1)));
        assert!(share.move_to_streams_if_long(&mut grant, start + STREAM_AFTER));
    }

    #[test]
    fn a_cap_includes_streams_and_two_refreshes_of_an_origin_run_at_a_time() {
        let mut share = FairShare::new(64);
        let capped = Claim { purpose: Purpose::Fetch { origin: origin(1), cap: Some(3) }, client: None };
        let mut grant = fill(&mut share, &capped);
        assert!(share.move_to_streams(&mut grant[0]));
        assert_eq!((grant.len(), share.has_room_for(&capped)), (3, false));
        let refresh = Claim { purpose: Purpose::Refresh { origin: origin(2), cap: None }, client: None };
        assert_eq!(fill(&mut share, &refresh).len(), MAX_REFRESHES);
    }

    proptest! {
        /// Compares the counts with a list of the running jobs, after any sequence of starts, ends and moves.
        #[test]
        fn the_counts_are_those_of_the_running_jobs(
            max in 1_usize..40,
            steps in prop::collection::vec((0_u8..6, 0_u8..5, 0_u8..5, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut share = FairShare::new(max);
            let mut running: Vec<Grant> = Vec::new();
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
                let streams = running.iter().filter(|grant| grant.is_stream).count();
                prop_assert!(share.streams() == streams && streams <= max / 2);
                for number in 0..5 {
                    let short = |grant: &&Grant| !grant.is_stream;
                    let origin_usage = running.iter().filter(short)
                        .filter(|grant| grant.claim.purpose.origin() == Some(&origin(number))).count();
                    prop_assert_eq!(share.origin_usage(&origin(number)).running, origin_usage);
                    let client_usage = running.iter().filter(short)
                        .filter(|grant| grant.claim.client == Some(client(number))).count();
                    let of_it = share.client_usage(client(number));
                    prop_assert_eq!(of_it.running, client_usage);
                    let client_usage = running.iter().filter(|grant| grant.is_stream)
                        .filter(|grant| grant.claim.client == Some(client(number))).count();
                    prop_assert!(of_it.streams == client_usage && client_usage <= (max / 8).max(1));
                }
            }
        }

        /// Regardless of one client's jobs, another client gets a thread for another origin.
        #[test]
        fn there_is_room_for_another_client(
            max in 3_usize..300,
            steps in prop::collection::vec((0_u8..30, 0_u8..8, any::<prop::sample::Index>()), 0..600),
        ) {
            let mut share = FairShare::new(max);
            let mut running: Vec<Grant> = Vec::new();
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
