use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::address_class::AddressClass;
use super::invalid_rule::InvalidOriginRule;

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// All bits after the prefix are zero.
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Creates the range of addresses that share their first `prefix` bits with `first`.
    ///
    /// `first` must be the first address of the range, because `10.1.2.3/8` could mean a single address or
    /// the whole range.
    pub(super) fn new(first: IpAddr, prefix: u8) -> Result<Self, InvalidOriginRule> {
        if prefix > width(first) {
            return Err(InvalidOriginRule::new(
                format!("{first}/{prefix}"),
                "the prefix is longer than an address",
            ));
        }
        if (bits(first) & !mask(prefix, width(first))) != 0 {
            let reason = "the address has bits beyond the prefix";
            return Err(InvalidOriginRule::new(format!("{first}/{prefix}"), reason));
        }
        Ok(Self { first, prefix })
    }

    /// Parses `10.0.0.0/8` or a single address. `None` if the text does not begin with an address.
    pub(super) fn parse(text: &str) -> Option<Result<Self, InvalidOriginRule>> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let Some(prefix) = prefix else {
            return Some(Self::new(address, width(address)));
        };
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        Some(match prefix.parse() {
            Ok(prefix) if is_number => Self::new(address, prefix),
            _ => Err(InvalidOriginRule::new(text, "the prefix is not a number of bits")),
        })
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4()
            && bits(address) & mask(self.prefix, width(address)) == bits(self.first)
    }

    pub(super) fn is_v6(&self) -> bool {
        self.first.is_ipv6()
    }

    /// Whether the network names this address specifically enough to open a link-local or metadata address. A
    /// single address always does. A link-local address is also named by a network that contains only
    /// link-local addresses.
    pub(super) fn names_specifically(&self, address: IpAddr) -> bool {
        if !self.contains(address) {
            return false;
        }
        self.prefix == width(self.first)
            || (AddressClass::of(address) == AddressClass::LinkLocal && self.is_link_local())
    }

    fn is_link_local(&self) -> bool {
        match self.first {
            IpAddr::V4(first) => first.is_link_local() && self.prefix >= 16,
            IpAddr::V6(first) => first.is_unicast_link_local() && self.prefix >= 10,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Returns the bits of the address; those of an IPv4 address are the low ones.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

/// Returns a mask of the first `prefix` of `width` bits.
fn mask(prefix: u8, width: u8) -> u128 {
    let host = u32::from(width - prefix);
    // The shift overflows if all 128 bits are beyond the prefix.
    let of_host = 1_u128.checked_shl(host).map_or(u128::MAX, |next| next - 1);
    !of_host
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.is_v6() { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}/{}{close}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap().unwrap()
    }

    #[test]
    fn first_and_last_are_within_and_their_neighbours_are_not() {
        for (text, within, without) in [
            ("10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 ::ffff:10.0.0.1 ::10.0.0.1"),
            ("192.0.2.6", "192.0.2.6", "192.0.2.5 192.0.2.7"),
            ("192.0.2.6/31", "192.0.2.6 192.0.2.7", "192.0.2.5 192.0.2.8"),
            ("0.0.0.0/0", "0.0.0.0 255.255.255.255", "::"),
            ("::/0", ":: ffff::1 ::ffff:1.2.3.4", "1.2.3.4"),
            ("fc00::/7", "fc00:: fdff::1", "fbff::1 fe00::"),
            ("::1", "::1", "::2 0.0.0.1"),
        ] {
            let network = network(text);
            for address in within.split(' ') {
                assert!(network.contains(address.parse().unwrap()), "{text} {address}");
            }
            for address in without.split(' ') {
                assert!(!network.contains(address.parse().unwrap()), "{text} {address}");
            }
        }
    }

    #[test]
    fn what_is_no_network() {
        for text in
            ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/x", "::1/64"]
        {
            assert!(Network::parse(text).unwrap().is_err(), "{text}");
        }
        for text in ["10/8", "10.0/16", "host", "host/8", "010.0.0.0/8", ""] {
            assert!(Network::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_wide_network_does_not_name_the_machines_own() {
        for (text, address, named) in [
            ("0.0.0.0/0", "169.254.1.1", false),
            ("169.0.0.0/8", "169.254.1.1", false),
            ("169.254.0.0/16", "169.254.1.1", true),
            ("169.254.0.0/16", "169.254.169.254", false),
            ("169.254.169.254", "169.254.169.254", true),
            ("169.254.169.254", "169.254.169.253", false),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "fe80::a9fe:a9fe", false),
            ("fe00::/9", "fe80::1", false),
            ("100.64.0.0/10", "100.100.100.200", false),
            ("fd00:ec2::/32", "fd00:ec2::254", false),
            ("fd00:ec2::254", "fd00:ec2::254", true),
            ("::ffff:169.254.0.0/112", "::ffff:169.254.1.1", false),
            ("::ffff:169.254.1.1", "::ffff:169.254.1.1", true),
        ] {
            assert_eq!(network(text).names_specifically(address.parse().unwrap()), named, "{text} {address}");
        }
    }
}
