//! The IP addresses of the members of a pool.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::base::resolver::{Lookup, Resolver};
use crate::pool::peer_url::PeerUrl;
use crate::pool::protocol::PoolDigest;

/// How long resolved addresses are used before the names are resolved again.
const LIFETIME: Duration = Duration::from_secs(60);

/// The time limit for resolving one name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit for resolving all names of a pool.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The addresses of the members. A thread that is started on demand resolves their names, one name at a time.
#[derive(Debug)]
pub(super) struct MemberAddresses {
    resolver: Arc<Resolver>,
    resolved: Mutex<Resolved>,
}

#[derive(Debug, Default)]
struct Resolved {
    by_host: HashMap<String, Vec<IpAddr>>,
    /// The union of all addresses in `by_host`.
    addresses: HashSet<IpAddr>,
    /// The pool whose names were resolved last, and when that started.
    source: Option<(PoolDigest, Instant)>,
    is_resolving: bool,
}

/// Permits its owner, one thread at a time, to resolve names. Dropping it permits the next thread.
struct ResolvePermit(Arc<MemberAddresses>);

impl Drop for ResolvePermit {
    fn drop(&mut self) {
        self.0.resolved.lock().is_resolving = false;
    }
}

impl MemberAddresses {
    pub(super) fn new(lookup: impl Lookup + 'static) -> Arc<Self> {
        Arc::new(Self { resolver: Resolver::uncached(lookup), resolved: Mutex::default() })
    }

    /// Returns whether a member of the pool with this digest has the address. Never blocks: a name has no addresses until
    /// it has been resolved, and keeps its last addresses if it can no longer be resolved.
    pub(super) fn contain(
        self: &Arc<Self>,
        address: IpAddr,
        pool: PoolDigest,
        now: Instant,
        members: impl FnOnce() -> Vec<PeerUrl>,
    ) -> bool {
        let mut resolved = self.resolved.lock();
        let is_fresh = resolved
            .source
            .is_some_and(|(source, since)| source == pool && now.saturating_duration_since(since) < LIFETIME);
        let mut unresolved = HashSet::new();
        if !is_fresh && !resolved.is_resolving {
            resolved.source = Some((pool, now));
            let mut previous = std::mem::take(&mut resolved.by_host);
            for member in members() {
                let host = member.host();
                let literal = host.parse().ok().map(|literal: IpAddr| vec![literal.to_canonical()]);
                if literal.is_none() {
                    unresolved.insert(host.to_owned());
                }
                if let Some(found) = literal.or_else(|| previous.remove(host)) {
                    resolved.by_host.insert(host.to_owned(), found);
                }
            }
            resolved.update_addresses();
            resolved.is_resolving = !unresolved.is_empty();
        }
        let is_member = resolved.addresses.contains(&address.to_canonical());
        drop(resolved);
        if !unresolved.is_empty() {
            let permit = ResolvePermit(Arc::clone(self));
            let resolve = move || permit.0.resolve(unresolved);
            if let Err(error) = thread::Builder::new().name("members".to_owned()).spawn(resolve) {
                log::warn!("cannot start the thread that resolves the names of peers: {error}");
            }
        }
        is_member
    }

    fn resolve(&self, hosts: HashSet<String>) {
        let start = Instant::now();
        for host in hosts {
            if start.elapsed() >= TOTAL_TIMEOUT {
                break;
            }
            if let Ok(found) = self.resolver.addresses(&host, Instant::now().checked_add(LOOKUP_TIMEOUT)) {
                let found = found.iter().map(IpAddr::to_canonical).collect();
                self.resolved.lock().by_host.insert(host, found);
            }
        }
        self.resolved.lock().update_addresses();
    }
}

impl Resolved {
    fn update_addresses(&mut self) {
        self.addresses = self.by_host.values().flatten().copied().collect();
    }
}

#[cfg(test)]
mod tests;
