//! Pools of idle connections, sharded by origin so that requests to different origins rarely share a lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::transport::{Connector, RustlsConnector};

use super::head_transport::HeadConnector;
use super::resolver::OriginResolver;
use super::socket::SocketConnector;
use crate::base::resolver::Resolver;
use crate::origin::access::{OriginRules, UrlParts};

/// The largest number of pools. ureq scans the idle connections of a pool under its lock.
const MAX_SHARDS: usize = 16;

/// The limits on idle connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleLimits {
    pub(super) total: usize,
    pub(super) per_origin: usize,
}

impl Default for IdleLimits {
    fn default() -> Self {
        Self { total: 2048, per_origin: 256 }
    }
}

impl IdleLimits {
    /// The number of pools. Each pool has room for all idle connections of one origin.
    fn shards(self) -> usize {
        (self.total / self.per_origin.max(1)).clamp(1, MAX_SHARDS)
    }

    /// The limit for all origins of one pool.
    pub(super) fn per_shard(self) -> usize {
        self.total / self.shards()
    }
}

/// The rules and the ureq configuration in force, with the connections made under them.
pub(super) struct Connections {
    pub(super) rules: OriginRules,
    pub(super) config: Config,
    resolver: Arc<Resolver>,
    shards: Box<[OnceLock<Agent>]>,
}

impl Connections {
    pub(super) fn new(
        config: Config,
        idle: IdleLimits,
        resolver: &Arc<Resolver>,
        rules: OriginRules,
    ) -> Self {
        let shards = (0..idle.shards()).map(|_| OnceLock::new()).collect();
        Self { rules, config, resolver: Arc::clone(resolver), shards }
    }

    /// Returns the agent that keeps the connections to this origin.
    pub(super) fn agent_for(&self, origin: Option<&UrlParts<'_>>) -> &Agent {
        let mut hasher = DefaultHasher::new();
        origin.map(|origin| (origin.host().to_ascii_lowercase(), origin.port())).hash(&mut hasher);
        #[allow(clippy::cast_possible_truncation, reason = "some bits of a hash")]
        let at = hasher.finish() as usize % self.shards.len();
        self.shards[at].get_or_init(|| {
            let connector = SocketConnector.chain(RustlsConnector::default()).chain(HeadConnector);
            let resolver = OriginResolver { resolver: Arc::clone(&self.resolver), rules: self.rules.clone() };
            Agent::with_parts(self.config.clone(), connector, resolver)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_idle_limit_is_divided_among_the_pools() {
        for (total, per_origin, expected) in [
            (4096, 256, (16, 256)),
            (1600, 64, (16, 100)),
            (64, 64, (1, 64)),
            (10, 256, (1, 10)),
            (0, 0, (1, 0)),
        ] {
            let idle = IdleLimits { total, per_origin };
            assert_eq!((idle.shards(), idle.per_shard()), expected, "{total} {per_origin}");
        }
    }
}
