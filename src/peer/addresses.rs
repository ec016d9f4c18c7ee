//! The addresses of the members of a pool, as far as they are known.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::base::names::{Lookup, Names};
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;

/// For how long what was resolved is taken for right.
const LIFETIME: Duration = Duration::from_secs(60);

/// How long the lookup of a name may take, and of all names.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(30);

/// Which addresses the members have. Names are resolved by a thread that is started for it, one at a time.
#[derive(Debug)]
pub(super) struct MemberAddresses {
    names: Arc<Names>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_host: HashMap<String, Vec<IpAddr>>,
    /// All of those.
    addresses: HashSet<IpAddr>,
    /// Of which pool, and when that was asked for last.
    of: Option<(PoolDigest, Instant)>,
    is_resolving: bool,
}

/// The thread that resolves names, until it is dropped.
struct Resolving(Arc<MemberAddresses>);

impl Drop for Resolving {
    fn drop(&mut self) {
        self.0.known.lock().is_resolving = false;
    }
}

impl MemberAddresses {
    pub(super) fn new(lookup: impl Lookup + 'static) -> Arc<Self> {
        Arc::new(Self { names: Names::unremembered(lookup), known: Mutex::default() })
    }

    /// Whether a member of the pool with this digest has the address. Never waits: a name has no address as long as it
    /// was never resolved, and those that it had last where it can no longer be resolved.
    pub(super) fn has(
        self: &Arc<Self>,
        address: IpAddr,
        pool: PoolDigest,
        now: Instant,
        members: impl FnOnce() -> Vec<PeerUrl>,
    ) -> bool {
        let mut known = self.known.lock();
        let is_fresh =
            known.of.is_some_and(|(of, since)| of == pool && now.saturating_duration_since(since) < LIFETIME);
        let mut unresolved = HashSet::new();
        if !is_fresh && !known.is_resolving {
            known.of = Some((pool, now));
            let mut former = std::mem::take(&mut known.by_host);
            for member in members() {
                let host = member.host();
                let literal = host.parse().ok().map(|literal: IpAddr| vec![literal.to_canonical()]);
                if literal.is_none() {
                    unresolved.insert(host.to_owned());
                }
                if let Some(found) = literal.or_else(|| former.remove(host)) {
                    known.by_host.insert(host.to_owned(), found);
                }
            }
            known.collect();
            known.is_resolving = !unresolved.is_empty();
        }
        let is_known = known.addresses.contains(&address.to_canonical());
        drop(known);
        if !unresolved.is_empty() {
            let resolving = Resolving(Arc::clone(self));
            let resolve = move || resolving.0.resolve(unresolved);
            if let Err(error) = thread::Builder::new().name("members".to_owned()).spawn(resolve) {
                log::warn!("the names of peers cannot be resolved: {error}");
            }
        }
        is_known
    }

    fn resolve(&self, hosts: HashSet<String>) {
        let begun = Instant::now();
        for host in hosts {
            if begun.elapsed() >= PATIENCE_FOR_ALL {
                break;
            }
            if let Ok(found) = self.names.addresses(&host, Instant::now().checked_add(PATIENCE)) {
                let found = found.iter().map(IpAddr::to_canonical).collect();
                self.known.lock().by_host.insert(host, found);
            }
        }
        self.known.lock().collect();
    }
}

impl Known {
    fn collect(&mut self) {
        self.addresses = self.by_host.values().flatten().copied().collect();
    }
}

#[cfg(test)]
mod tests;
