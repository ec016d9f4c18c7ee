//! From the host of a URL to socket addresses.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use http::uri::Scheme;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::error::{Error, ErrorKind};

/// Answers for literal addresses itself and asks the system for names.
///
/// The system's lookup runs on a thread of its own so that it can be given up, and keeps the first 16
/// addresses. The connection goes to exactly the addresses returned here.
#[derive(Debug, Default)]
pub(super) struct OriginResolver {
    system: DefaultResolver,
}

impl Resolver for OriginResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if let Some(address) = literal_address(uri) {
            let mut addresses = self.empty();
            addresses.push(address);
            return Ok(addresses);
        }
        self.system.resolve(uri, config, timeout).map_err(|failure| {
            // The system's word on a name is an error of I/O like any other: named here, where it is known.
            let message = match &failure {
                ureq::Error::Io(error) => format!("the host's name cannot be resolved: {error}"),
                ureq::Error::HostNotFound => "the host's name has no address".to_owned(),
                _ => return failure,
            };
            ureq::Error::Other(Box::new(Error::new(ErrorKind::Unresolved, message).with_source(failure)))
        })
    }
}

fn literal_address(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip: IpAddr = bare.parse().ok()?;
    let port = match uri.port_u16() {
        Some(port) => port,
        None if uri.scheme() == Some(&Scheme::HTTPS) => 443,
        None => 80,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(url: &str) -> Option<String> {
        literal_address(&url.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn literal_addresses_need_no_lookup() {
        assert_eq!(literal("http://192.0.2.1/").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(literal("https://192.0.2.1").as_deref(), Some("192.0.2.1:443"));
        assert_eq!(literal("http://[2001:db8::1]:8080/").as_deref(), Some("[2001:db8::1]:8080"));
    }

    #[test]
    fn names_are_no_addresses() {
        assert_eq!(literal("http://localhost/"), None);
        assert_eq!(literal("http://2130706433/"), None);
    }
}
