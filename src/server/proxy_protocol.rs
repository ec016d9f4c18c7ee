//! The PROXY protocol, versions 1 and 2: a proxy in front of the server names the client before the first byte
//! of the connection. Pure.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::base::error::{Error, ErrorKind};
use crate::origin::access::Network;

/// Maximum length of a header in version 1, with its line end.
const MAX_V1: usize = 107;

/// Maximum length of a header in version 2. The additional information of known proxies fits.
const MAX_V2: usize = 2 << 10;

/// Number of bytes after which a header is complete or invalid.
pub(crate) const MAX_HEADER: usize = MAX_V2;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of a connection, read as a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// More bytes have to arrive.
    Incomplete,
    Complete {
        length: usize,
        /// The client; `None` if the connection is the proxy's own.
        client: Option<SocketAddr>,
    },
    Invalid,
}

/// Reads the header at the start of a connection.
pub(crate) fn read_header(bytes: &[u8]) -> Header {
    let starts = |start: &[u8]| bytes.len().min(start.len()) > 0 && bytes.starts_with(start);
    if starts(V2_START) {
        return read_v2(bytes);
    }
    if starts(V1_START) {
        return read_v1(bytes);
    }
    let may_follow = V1_START.starts_with(bytes) || V2_START.starts_with(bytes);
    if may_follow { Header::Incomplete } else { Header::Invalid }
}

fn read_v1(bytes: &[u8]) -> Header {
    let line = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_V1 { Header::Incomplete } else { Header::Invalid };
    };
    let client = std::str::from_utf8(&line[V1_START.len()..end]).ok().and_then(v1_client);
    match client {
        Some(client) => Header::Complete { length: end + 2, client },
        None => Header::Invalid,
    }
}

/// Returns the client that the rest of a line names. `None` if the line is invalid.
fn v1_client(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    let is_v4 = match words.next()? {
        "TCP4" => true,
        "TCP6" => false,
        // The rest of such a line has no meaning.
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(|address| address.is_ipv4() == is_v4);
    let (client, _) = (address()?, address()?);
    let mut port = || {
        let digits = words.next()?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (client_port, _) = (port()?, port()?);
    words.next().is_none().then_some(Some(SocketAddr::new(client, client_port)))
}

fn read_v2(bytes: &[u8]) -> Header {
    let Some((start, rest)) = bytes.split_at_checked(V2_START.len() + 4) else { return Header::Incomplete };
    let [.., command, family, high, low] = *start else { return Header::Invalid };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || command & 0xF > 1 || start.len() + length > MAX_V2 {
        return Header::Invalid;
    }
    let Some(content) = rest.get(..length) else { return Header::Incomplete };
    let is_local = command & 0xF == 0;
    let client = match (is_local, family) {
        (true, _) => Some(None),
        (false, 0x11) => content.first_chunk::<12>().map(|addresses| {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
        }),
        (false, 0x21) => content.first_chunk::<36>().and_then(|addresses| {
            let client = Ipv6Addr::from(*addresses.first_chunk::<16>()?);
            Some(Some(SocketAddr::new(client.into(), u16::from_be_bytes([addresses[32], addresses[33]]))))
        }),
        // Unspecified, and Unix sockets: the proxy's own address stands for the client.
        (false, 0x00 | 0x31 | 0x32) => Some(None),
        (false, _) => None,
    };
    match client {
        Some(client) => Header::Complete { length: start.len() + length, client },
        None => Header::Invalid,
    }
}

/// Proxies that start each connection with a header of the PROXY protocol: a network (`10.0.0.0/8`), an
/// address, or `unix` for all clients of Unix sockets.
///
/// ```
/// use forwardcache::server::{ServerConfig, TrustedProxies};
///
/// let config = ServerConfig::new().proxy_protocol_from("10.0.0.5".parse::<TrustedProxies>()?);
/// assert!("balancer.example".parse::<TrustedProxies>().is_err());
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxies(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Network(Network),
    Unix,
}

impl TrustedProxies {
    /// Returns whether a connection comes from one of these proxies. `None` stands for a Unix socket.
    pub(super) fn contain(&self, address: Option<IpAddr>) -> bool {
        match (self.0, address) {
            (Place::Network(network), Some(address)) => network.contains(address.to_canonical()),
            (Place::Unix, None) => true,
            _ => false,
        }
    }
}

impl FromStr for TrustedProxies {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the text is neither an address, nor a network, nor `unix`.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "unix" {
            return Ok(Self(Place::Unix));
        }
        let bad = |reason: &dyn fmt::Display| {
            let text = format!(
                "invalid proxy {text:?}: {reason}: specify an address, a network such as 10.0.0.0/8, or unix"
            );
            Error::new(ErrorKind::BadOption, text)
        };
        match Network::parse(text) {
            Some(Ok(network)) => Ok(Self(Place::Network(network))),
            Some(Err(invalid)) => Err(bad(&invalid)),
            None => Err(bad(&"not an address")),
        }
    }
}

#[cfg(test)]
mod tests;
