//! Decides how many threads of a pool an origin and a client may occupy. These are pure functions: they never block,
//! and times are arguments.
//!
//! A fetch or a transfer starts only if fewer threads wait for its origin than are free. This is the dynamic threshold
//! of Choudhury and Hahne for shared buffers. An origin that does not answer occupies half of the pool, a second one
//! half of the rest.
//!
//! A client may occupy almost twice as many threads as are free: two thirds of the pool if there is no other client. So
//! a client that waits for an unresponsive origin can still use another origin. A client without a running job may
//! start one regardless of its origin. The last eighth of the pool is reserved for transfers, and for fetches for which
//! neither the client nor the origin occupies a thread.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::client::ClientAddress;
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
    pub(super) client: Option<ClientAddress>,
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
    clients: HashMap<ClientAddress, ClientUsage>,
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

    /// Returns the client of the job.
    pub(super) fn client(&self) -> Option<ClientAddress> {
        self.claim.client
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
    pub(super) fn is_idle(&self, client: Option<ClientAddress>) -> bool {
        client.is_some_and(|client| self.client_usage(client).running == 0)
    }

    fn origin_usage(&self, origin: &CanonicalUrl) -> OriginUsage {
        self.origins.get(origin).copied().unwrap_or_default()
    }

    fn client_usage(&self, client: ClientAddress) -> ClientUsage {
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

    /// Counts a fetch or a transfer as a stream, if there is room for another stream: half of the pool in total, an
    /// eighth of the pool for each client. Returns whether it did.
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
mod tests;
