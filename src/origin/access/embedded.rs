//! The IPv4 addresses embedded in an IPv6 address. A gateway or the system may connect to them instead.
//!
//! Addresses that a network translates with a prefix of its own cannot be recognised.

use std::net::{IpAddr, Ipv4Addr};

/// Returns the embedded addresses: all of them if several interpretations are in use.
pub(super) fn addresses(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let mut found = [None; 4];
    if let IpAddr::V6(address) = address {
        let bytes = address.octets();
        let at = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|place| bytes[place])));
        let last = at([12, 13, 14, 15]);
        match address.segments() {
            // The unspecified and the loopback address match the next pattern, but embed nothing.
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => {}
            // IPv4-compatible and IPv4-mapped (RFC 4291 section 2.5.5), IPv4-translated (RFC 2765 section
            // 2.1).
            [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => found[0] = last,
            // NAT64 (RFC 6052 section 2.1).
            [0x0064, 0xff9b, 0, 0, 0, 0, ..] => found[0] = last,
            // NAT64 for local use (RFC 8215). The prefix may have any length of RFC 6052 section 2.2; byte 8
            // is never part of the IPv4 address.
            [0x0064, 0xff9b, 1, ..] => {
                found = [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), last];
            }
            // 6to4 (RFC 3056 section 2).
            [0x2002, ..] => found[0] = at([2, 3, 4, 5]),
            // Teredo (RFC 4380 section 4): the server, and the client with all bits inverted.
            [0x2001, 0, ..] => {
                found[0] = at([4, 5, 6, 7]);
                found[1] = last.map(|inverted| !inverted);
            }
            // ISATAP (RFC 5214 section 6.1), with any prefix.
            [_, _, _, _, 0 | 0x0200, 0x5efe, ..] => found[0] = last,
            _ => {}
        }
    }
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedding_is_recognised() {
        for (address, expected) in [
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("::1.2.3.4", "1.2.3.4"),
            ("::ffff:0:1.2.3.4", "1.2.3.4"),
            ("64:ff9b::1.2.3.4", "1.2.3.4"),
            ("64:ff9b:1:102:3:400::", "1.2.3.4 2.3.4.0 3.4.0.0 0.0.0.0"),
            ("64:ff9b:1::1.2.3.4", "0.0.0.0 0.0.0.0 0.0.0.1 1.2.3.4"),
            ("2002:102:304::9", "1.2.3.4"),
            ("2001:0:506:708::fefd:fcfb", "5.6.7.8 1.2.3.4"),
            ("fe80::5efe:1.2.3.4", "1.2.3.4"),
            ("2600::200:5efe:1.2.3.4", "1.2.3.4"),
            ("::", ""),
            ("::1", ""),
            ("1.2.3.4", ""),
            ("2600::1.2.3.4", ""),
        ] {
            let found: Vec<_> =
                addresses(address.parse().unwrap()).map(|address| address.to_string()).collect();
            assert_eq!(found.join(" "), expected, "{address}");
        }
    }
}
