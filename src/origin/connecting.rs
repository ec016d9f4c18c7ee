//! Connects to an origin without a request, for a tunnel.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use ureq::Error as ConnectError;

use super::socket;
use super::transport::Origin;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::resolver::LookupError;
use crate::message::url::CanonicalUrl;

/// Maximum number of addresses of a host that are tried.
const MAX_ADDRESSES: usize = 16;

impl Origin {
    /// Connects to the host and port of the URL, at an address that `check` accepts. Blocks for no longer than the time
    /// limits for resolving and connecting.
    ///
    /// The name is not looked up again, so the address that was checked is the one that is connected to.
    ///
    /// # Errors
    ///
    /// The error of `check` if it accepts no address; [`ErrorKind::Unresolved`], [`ErrorKind::Unreachable`] or
    /// [`ErrorKind::Timeout`].
    pub(crate) fn connect(
        &self,
        target: &CanonicalUrl,
        check: impl Fn(SocketAddr) -> Result<()>,
    ) -> Result<TcpStream> {
        let timeouts = self.timeouts();
        let found = match target.literal_address() {
            Some(address) => Arc::from([address]),
            None => self.addresses_of(target.host(), Instant::now() + timeouts.resolve)?,
        };
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in found.iter().map(|address| SocketAddr::new(*address, target.port())) {
            match check(address) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if allowed.is_empty() {
            let unresolved = || Error::new(ErrorKind::Unresolved, "the host name has no address");
            return Err(refused.unwrap_or_else(unresolved));
        }
        allowed.truncate(MAX_ADDRESSES);
        let deadline = Instant::now().checked_add(timeouts.connect);
        let socket = socket::connect(&allowed, deadline, None).map_err(|error| match error {
            ConnectError::Timeout(_) => Error::new(ErrorKind::Timeout, "cannot connect in time"),
            error => Error::new(ErrorKind::Unreachable, "cannot connect").with_source(error),
        })?;
        // Both sides send small messages during their handshake.
        socket.set_nodelay(true).map_err(|error| {
            Error::new(ErrorKind::Unreachable, "the connection was lost").with_source(error)
        })?;
        Ok(socket)
    }

    fn addresses_of(&self, name: &str, deadline: Instant) -> Result<Arc<[IpAddr]>> {
        self.resolver().addresses(name, Some(deadline)).map_err(|why| match why {
            LookupError::Timeout => Error::new(ErrorKind::Timeout, "cannot resolve the host name in time"),
            LookupError::Failed(error) => {
                Error::new(ErrorKind::Unresolved, "cannot resolve the host name").with_source(error)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Mutex;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::resolver::{Lookup, Resolver};
    use crate::origin::access::OriginRules;
    use crate::origin::options::Options;
    use std::time::Duration;

    /// Returns another address each time.
    #[derive(Debug)]
    struct Rebinding(Mutex<Vec<IpAddr>>);

    impl Lookup for Rebinding {
        fn look_up(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
            Ok(self.0.lock().unwrap().pop().into_iter().collect())
        }
    }

    fn origin(answers: &[IpAddr]) -> Origin {
        let lookup = Rebinding(Mutex::new(answers.iter().rev().copied().collect()));
        let resolver = Resolver::new(lookup, Arc::new(SystemClock), Duration::ZERO);
        Origin::with_resolver(Options::default(), resolver)
    }

    #[test]
    fn the_checked_address_is_the_one_that_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = CanonicalUrl::parse(&format!("https://rebinding.example:{}/", address.port())).unwrap();
        let other = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
        let origin = origin(&[address.ip(), other]);
        let socket = origin.connect(&target, |found| {
            assert_eq!(found, address);
            Ok(())
        });
        assert_eq!(socket.unwrap().peer_addr().unwrap(), address);
        // The second answer is checked too, and never connected to.
        let rules = OriginRules::parse("public").unwrap();
        let check = |found: SocketAddr| rules.may_connect(&target, found.ip()).map_err(Error::from);
        assert_eq!(origin.connect(&target, check).unwrap_err().kind(), ErrorKind::Forbidden);
        let nothing = origin.connect(&target, |_| Ok(())).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::Unresolved);
    }

    #[test]
    fn a_closed_port_is_unreachable() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let target = CanonicalUrl::parse(&format!("https://{address}/")).unwrap();
        let error = origin(&[]).connect(&target, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
    }
}
