//! [`PeerBuilder::build`]: assembles the parts of a peer.

use std::sync::Arc;
use std::time::Instant;

use super::PeerBuilder;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::memory_limit::Ledger;
use crate::base::resolver::SystemLookup;
use crate::client::OnNoPeers;
use crate::client::near_cache::NearCache;
use crate::message::nonblocking::Spawn;
use crate::message::round_trip::RoundTrip;
use crate::metrics::FetchTimes;
use crate::origin::throttle::{Share, Throttle};
use crate::origin::timed::Timed;
use crate::peer::addresses::MemberAddresses;
use crate::peer::client_pool::ClientPool;
use crate::peer::endpoint::{AccessRules, Forwarding, Mirrors, OwnAddresses, Proxy, Tunnels};
use crate::peer::member::{Inner, Peer};
use crate::peer::threads::PeerThreads;
use crate::peer::traffic::Traffic;
use crate::peer::warm_up::WarmUp;
use crate::pool::peer_url::PeerUrl;
use crate::store::{MemoryStore, default_capacity};

/// The near cache gets one part in this many of the peer's memory.
const NEAR_CACHE_DIVISOR: u64 = 16;

impl PeerBuilder {
    /// Builds the peer. To serve requests, call [`Peer::serve`] or use [`Peer::handler`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] if the URL of this peer or of another one is not a valid base URL. [`ErrorKind::BadOption`] if
    /// the near cache is larger than the memory of the peer, or if a limit of [`OriginLimits`](crate::origin::OriginLimits) is
    /// invalid. Also the errors of [`ClientBuilder::build`](crate::client::ClientBuilder::build).
    pub fn build(mut self) -> Result<Peer> {
        let self_url = PeerUrl::parse(&self.self_url).map_err(Error::from)?;
        let members = self.peers.unwrap_or_else(|| Ok(vec![self_url.clone().into()]))?;
        let memory = self.memory.unwrap_or_else(default_capacity);
        let near_memory = memory / NEAR_CACHE_DIVISOR;
        let near_cache = match self.near_cache {
            Some(near_cache) => near_cache.or_memory(near_memory),
            None if members.len() > 1 && self.store.is_none() => NearCache::new().or_memory(near_memory),
            None => NearCache::new(),
        };
        let memory = memory.checked_sub(near_cache.bytes()).ok_or_else(|| {
            let near_cache = near_cache.bytes();
            let text =
                format!("the near cache of {near_cache} bytes exceeds the peer's memory of {memory} bytes");
            Error::new(ErrorKind::BadOption, text)
        })?;
        let client = self
            .client
            .members(members)
            .warm_up(self.warm_up)
            // The peer itself fetches in that case, subject to its own rules for origins.
            .on_no_peers(OnNoPeers::Fail)
            .near_cache(near_cache);
        let client = client.beside(self_url.clone(), self.rules.clone(), self.clock).build()?;
        let (origin, network): (Arc<dyn RoundTrip>, _) = match self.origin {
            Some(origin) => (origin, None),
            None => {
                let builder = self.network.rules(self.origins.clone());
                let network = match self.root_certificates {
                    Some(path) => builder.root_certificates_file(path).build()?,
                    None => builder.build()?,
                };
                (Arc::new(network.clone()), Some(network))
            }
        };
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::new(memory)));
        let (clock, stats) = (self.cache.its_clock(), self.cache.its_stats());
        let (pool, own) = (client.clone(), self_url.clone());
        let share = Box::new(move || {
            let (weight, total) = pool.weights(&own);
            Share { weight, total }
        });
        let fetch_times = Arc::<FetchTimes>::default();
        let origin = Arc::new(Timed { origin, times: Arc::clone(&fetch_times) });
        let throttle = Throttle::made_of(origin, self.origin_limits, clock, stats, share)?;
        // The warm-up is above the throttle, because a response of a previous owner costs the origin nothing.
        let origin = WarmUp { client: client.clone(), self_url: self_url.clone(), origin: throttle.clone() };
        let ledger = store.ledger().unwrap_or_else(|| Ledger::new(u64::MAX));
        let traffic = Arc::new(Traffic::new(&ledger, Instant::now()));
        let threads = PeerThreads::new(ledger);
        let cache = self.cache.spawn(Arc::clone(&threads) as Arc<dyn Spawn>);
        let cache = cache.origin(origin).store(store).rules(self.rules).build()?;
        let access = AccessRules::new(self.rights, self.origins)
            .with_pass_cookies(self.pass_cookies)
            .with_shown(client.shown_tokens());
        let (path, own_addresses) = (client.path().to_owned(), Arc::<OwnAddresses>::default());
        let addresses = MemberAddresses::new(SystemLookup);
        let pool = Box::new(ClientPool { client: client.clone(), self_url: self_url.clone(), addresses });
        let proxy = Proxy::new(path, cache.clone(), Arc::clone(&own_addresses), pool, access)
            .with_servers(threads.servers().clone())
            .with_forwarding(Forwarding {
                mirrors: Mirrors::new(self.mirrors),
                allow_pages: self.allow_pages,
                is_gateway: self.is_gateway,
                tunnels: Tunnels { network: network.clone(), ports: self.connect_ports },
            });
        let inner = Inner {
            self_url,
            client,
            cache,
            throttle,
            fetch_times,
            traffic,
            warnings: self.warnings,
            own_addresses,
            network,
            proxy,
            threads,
        };
        Ok(Peer { inner: Arc::new(inner) })
    }
}
