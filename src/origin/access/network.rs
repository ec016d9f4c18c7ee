use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::address_class::AddressClass;
use super::invalid_rule::InvalidOriginRule;

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
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
    pub(crate) fn parse(text: &str) -> Option<Result<Self, InvalidOriginRule>> {
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

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
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
mod tests;
