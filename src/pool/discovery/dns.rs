//! Discovery of members by DNS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source::Discovery;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::resolver::{Lookup, LookupError, Resolver, SystemLookup};
use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// Discovers members by DNS: each address of a name (A and AAAA) is a peer with weight 1.
///
/// All peers must know each other under the same base URLs. So each peer uses its address as its own URL too, such as
/// `http://10.0.0.1:3000`. With `https`, the peers' certificates must be valid for their addresses.
///
/// The lookup uses the system's resolver, which also reads the hosts file and returns no TTL. Therefore
/// [`ttl`](Self::ttl) sets how long an answer is used. A failed lookup, or one without addresses, changes nothing: an
/// unavailable name server does not empty a pool.
///
/// ```
/// use std::time::SystemTime;
/// use forwardcache::client::Membership;
/// use forwardcache::pool::DnsDiscovery;
/// use forwardcache::Client;
///
/// let client = Client::builder().build()?;
/// let mut membership = Membership::new(&client, DnsDiscovery::new("localhost:3000")?);
/// membership.refresh(SystemTime::now())?;
/// assert!(client.pool().iter().any(|peer| peer.authority().ends_with(":3000")));
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Debug)]
pub struct DnsDiscovery {
    /// The URL of each peer, with the name in place of its address.
    base: PeerUrl,
    resolver: Arc<Resolver>,
    ttl: Duration,
    timeout: Duration,
}

impl DnsDiscovery {
    /// Creates a source for the addresses of `name`: either `NAME:PORT`, or the base URL of a peer with the name as its
    /// host, such as `https://pool.example:3000`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadPeer`] if the name has neither form.
    pub fn new(name: &str) -> Result<Self> {
        Self::with_lookup(name, SystemLookup)
    }

    pub(super) fn with_lookup(name: &str, lookup: impl Lookup + 'static) -> Result<Self> {
        let bad = |why: String| {
            // An invalid URL cannot be redacted reliably, so a text that may have userinfo is not shown.
            let shown = if name.contains('@') { String::new() } else { format!(" {name:?}") };
            Error::new(ErrorKind::BadPeer, format!("invalid pool name{shown}: {why}"))
        };
        let has_scheme = name.contains("://");
        let url = if has_scheme { name.to_owned() } else { format!("http://{name}") };
        let base = PeerUrl::parse(&url).map_err(|error| bad(error.to_string()))?;
        if !has_scheme && !ends_in_port(name) {
            return Err(bad("the port is missing: write NAME:PORT".to_owned()));
        }
        Ok(Self {
            base,
            // `ttl` limits how long an answer is used, so the lookup itself caches nothing.
            resolver: Resolver::uncached(lookup),
            ttl: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        })
    }

    /// Sets how long an answer is used: the interval between lookups. Default: 30 seconds.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long a lookup may take before it fails. Default: 10 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn member(&self, address: IpAddr) -> Result<Member> {
        Ok(Member::new(self.base.at(address)?))
    }

    fn failed(&self, kind: ErrorKind, why: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("the peers at {}: {why}", self.base))
    }
}

impl Discovery for DnsDiscovery {
    fn read(&mut self) -> Result<Option<Vec<Member>>> {
        if let Ok(address) = self.base.host().parse() {
            return Ok(Some(vec![self.member(address)?]));
        }
        let deadline = Instant::now().checked_add(self.timeout);
        let addresses = self.resolver.addresses(self.base.host(), deadline).map_err(|why| match why {
            LookupError::Timeout => self.failed(ErrorKind::Timeout, "the name was not resolved in time"),
            LookupError::Failed(error) => {
                self.failed(ErrorKind::Unresolved, "the name cannot be resolved").with_source(error)
            }
        })?;
        if addresses.is_empty() {
            return Err(self.failed(ErrorKind::Unresolved, "the name has no address"));
        }
        addresses.iter().map(|address| self.member(*address)).collect::<Result<_>>().map(Some)
    }

    fn interval(&self) -> Duration {
        self.ttl
    }
}

fn ends_in_port(name: &str) -> bool {
    let digits = name.rsplit_once(':').map(|(_, digits)| digits).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
