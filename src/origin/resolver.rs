//! Resolves the host of a URL to the socket addresses that the rules allow.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::Uri;
use ureq::config::Config;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

use super::exchange::Exchange;
use crate::base::error::{Error, ErrorKind};
use crate::base::resolver::{LookupError, Resolver};
use crate::origin::access::{OriginRules, UrlParts};

/// The largest number of addresses that ureq's list holds; ureq panics on one more.
const MAX_ADDRESSES: usize = 16;

/// Resolves literal addresses itself and looks up names through [`Resolver`].
///
/// ureq connects to exactly the addresses returned here and does not look up the name again. The checked
/// address is therefore the one that is connected to.
#[derive(Debug)]
pub(super) struct OriginResolver {
    pub(super) resolver: Arc<Resolver>,
    pub(super) rules: OriginRules,
}

impl resolver::Resolver for OriginResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let asked = UrlParts::of_uri(uri).ok_or(ureq::Error::HostNotFound)?;
        let found = match asked.literal_address() {
            Some(address) => Arc::from([address]),
            None => self.addresses_of(asked.host(), timeout)?,
        };
        let mut refused = None;
        let sockets = found.iter().map(|address| SocketAddr::new(*address, asked.port()));
        let family = config.ip_family();
        let allowed = family.keep_wanted(sockets).filter(|socket| {
            let may_connect = self.rules.may_connect_to(&asked, socket.ip());
            refused = refused.or(may_connect.err());
            may_connect.is_ok()
        });
        let mut addresses = self.empty();
        for socket in allowed.take(MAX_ADDRESSES) {
            addresses.push(socket);
        }
        match refused {
            _ if !addresses.is_empty() => Ok(addresses),
            Some(refused) => Err(ureq::Error::Other(Box::new(Error::from(refused)))),
            None => Err(unresolved("the host name has no address", ureq::Error::HostNotFound)),
        }
    }
}

impl OriginResolver {
    fn addresses_of(&self, name: &str, timeout: NextTimeout) -> Result<Arc<[IpAddr]>, ureq::Error> {
        // A time limit beyond the clock's range means no limit.
        let limit = (!timeout.after.is_not_happening()).then_some(*timeout.after);
        let (now, exchange) = (Instant::now(), Exchange::current());
        let deadline = limit
            .and_then(|limit| now.checked_add(limit))
            .into_iter()
            .chain(exchange.and_then(|exchange| exchange.next_deadline(now)))
            .min();
        self.resolver.addresses(&name.to_ascii_lowercase(), deadline).map_err(|why| match why {
            LookupError::Timeout => ureq::Error::Timeout(timeout.reason),
            // Name the error here: later it would look like any other I/O error.
            LookupError::Failed(error) => unresolved("cannot resolve the host name", ureq::Error::Io(error)),
        })
    }
}

fn unresolved(message: &str, failure: ureq::Error) -> ureq::Error {
    ureq::Error::Other(Box::new(Error::new(ErrorKind::Unresolved, message).with_source(failure)))
}

#[cfg(test)]
mod tests;
