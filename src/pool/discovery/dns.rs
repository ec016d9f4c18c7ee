//! Discovery of members by DNS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source::Discovery;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::names::{Lookup, Names, NoAnswer, SystemLookup};
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
/// use forwardcache::{Client, Membership, DnsDiscovery};
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
    names: Arc<Names>,
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
        let base = PeerUrl::parse(&url).map_err(|error| bad(error.to_string()).with_source(error))?;
        if !has_scheme && !ends_in_port(name) {
            return Err(bad("the port is missing: write NAME:PORT".to_owned()));
        }
        Ok(Self {
            base,
            // `ttl` limits how long an answer is used, so the lookup itself caches nothing.
            names: Names::unremembered(lookup),
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
        let addresses = self.names.addresses(self.base.host(), deadline).map_err(|why| match why {
            NoAnswer::InTime => self.failed(ErrorKind::Timeout, "the name was not resolved in time"),
            NoAnswer::Because(error) => self
                .failed(ErrorKind::Unresolved, format_args!("the name cannot be resolved: {error}"))
                .with_source(error),
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
mod tests {
    use std::io;
    use std::sync::mpsc;
    use std::time::SystemTime;

    use parking_lot::Mutex;

    use super::*;
    use crate::client::Client;
    use crate::client::membership::Membership;

    /// A lookup that calls the closure.
    struct Scripted<F>(F);

    impl<F> std::fmt::Debug for Scripted<F> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Scripted")
        }
    }

    impl<F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> Lookup for Scripted<F> {
        fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            (self.0)(name)
        }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn members(dns: &mut DnsDiscovery) -> Vec<String> {
        dns.read().unwrap().unwrap().iter().map(Member::to_string).collect()
    }

    #[test]
    fn each_address_is_a_peer() {
        for (name, expected) in [
            (
                "pool.example:3000",
                ["http://10.0.0.1:3000", "http://[2001:db8::1]:3000", "http://10.0.0.2:3000"],
            ),
            ("HTTPS://Pool.example", ["https://10.0.0.1", "https://[2001:db8::1]", "https://10.0.0.2"]),
            (
                "https://pool.example:8443/cache/",
                [
                    "https://10.0.0.1:8443/cache",
                    "https://[2001:db8::1]:8443/cache",
                    "https://10.0.0.2:8443/cache",
                ],
            ),
        ] {
            let lookup = Scripted(|name: &str| {
                assert_eq!(name, "pool.example");
                Ok(addresses(&["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.2"]))
            });
            assert_eq!(members(&mut DnsDiscovery::with_lookup(name, lookup).unwrap()), expected);
        }
    }

    #[test]
    fn an_address_needs_no_lookup() {
        let lookup = || Scripted(|name: &str| panic!("{name}"));
        for (name, expected) in
            [("10.0.0.1:3000", "http://10.0.0.1:3000"), ("[::1]:3000", "http://[::1]:3000")]
        {
            assert_eq!(members(&mut DnsDiscovery::with_lookup(name, lookup()).unwrap()), [expected]);
        }
    }

    #[test]
    fn an_invalid_name_is_refused_without_showing_its_password() {
        for bad in
            ["", "pool.example", "pool.example:", "pool.example:0", "[::1]", ":3000", "ftp://pool.example"]
        {
            assert_eq!(DnsDiscovery::new(bad).unwrap_err().kind(), ErrorKind::BadPeer, "{bad}");
        }
        let error = DnsDiscovery::new("http://user:secret@pool.example:3000").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn a_failed_lookup_is_an_error_and_not_an_empty_pool() {
        let empty = Scripted(|_: &str| Ok(Vec::new()));
        let failing = Scripted(|_: &str| Err(io::Error::other("no such name")));
        let failure = |mut dns: DnsDiscovery| {
            let error = dns.read().unwrap_err();
            (error.kind(), error.to_string())
        };
        assert_eq!(
            failure(DnsDiscovery::with_lookup("pool.example:3000", empty).unwrap()),
            (
                ErrorKind::Unresolved,
                "the peers at http://pool.example:3000: the name has no address".to_owned()
            )
        );
        let why = "the peers at http://pool.example:3000: the name cannot be resolved: no such name";
        assert_eq!(
            failure(DnsDiscovery::with_lookup("pool.example:3000", failing).unwrap()),
            (ErrorKind::Unresolved, why.to_owned())
        );
    }

    #[test]
    fn the_pool_is_unchanged_by_failed_lookups_and_by_another_order() {
        let answers = Mutex::new(vec![
            Ok(addresses(&["10.0.0.1"])),
            Err(io::Error::other("no such name")),
            Ok(Vec::new()),
            Ok(addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.1"])),
            Ok(addresses(&["10.0.0.2", "10.0.0.1"])),
        ]);
        let lookup = Scripted(move |_: &str| answers.lock().pop().unwrap());
        let client = Client::builder().build().unwrap();
        let dns = DnsDiscovery::with_lookup("pool.example:3000", lookup).unwrap();
        let mut membership = Membership::new(&client, dns);
        let mut refresh = || {
            let text = membership.refresh(SystemTime::UNIX_EPOCH).map(|change| change.to_string());
            (text.unwrap_or_else(|error| error.kind().to_string()), client.pool().len())
        };
        assert_eq!(refresh(), ("joined: http://10.0.0.1:3000, http://10.0.0.2:3000".to_owned(), 2));
        assert_eq!(refresh(), ("no change".to_owned(), 2));
        assert_eq!(refresh(), ("unresolved".to_owned(), 2));
        assert_eq!(refresh(), ("unresolved".to_owned(), 2));
        assert_eq!(refresh(), ("left: http://10.0.0.2:3000".to_owned(), 1));
    }

    #[test]
    fn all_addresses_of_a_name_are_peers() {
        let many = (0..1000_u16)
            .map(|number| IpAddr::from([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]));
        let many: Vec<IpAddr> = many.collect();
        let lookup = Scripted(move |_: &str| Ok(many.clone()));
        assert_eq!(members(&mut DnsDiscovery::with_lookup("pool.example:3000", lookup).unwrap()).len(), 1000);
    }

    #[test]
    fn a_lookup_that_hangs_times_out() {
        let (hold, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let hanging = Scripted(move |_: &str| {
            let _ = held.lock().recv();
            Ok(Vec::new())
        });
        let dns = DnsDiscovery::with_lookup("pool.example:3000", hanging).unwrap();
        let error = dns.timeout(Duration::from_millis(1)).read().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        drop(hold);
    }

    #[test]
    fn an_answer_is_used_for_its_ttl() {
        let dns = DnsDiscovery::new("pool.example:3000").unwrap();
        assert_eq!(dns.interval(), Duration::from_secs(30));
        assert_eq!(dns.ttl(Duration::from_secs(5)).interval(), Duration::from_secs(5));
    }
}
