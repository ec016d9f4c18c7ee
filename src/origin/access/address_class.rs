use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::embedded;
use crate::base::named::named;

named! {
    /// The class of an IP address, by IANA's special-purpose address registries (RFC 6890) and a list of
    /// metadata addresses of cloud providers.
    ///
    /// ```
    /// use forwardcache::origin::AddressClass;
    ///
    /// assert_eq!(AddressClass::of("10.1.2.3".parse().unwrap()), AddressClass::Private);
    /// assert_eq!(AddressClass::of("::ffff:8.8.8.8".parse().unwrap()), AddressClass::Embedded);
    /// assert_eq!(AddressClass::of("169.254.169.254".parse().unwrap()).name(), "cloud-metadata");
    /// ```
    #[non_exhaustive]
    pub enum AddressClass: pub ALL {
        /// A public address: no registry lists it.
        Public = "public",
        /// This host: `127.0.0.0/8`, `::1`.
        Loopback = "loopback",
        /// A private network: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` (RFC 1918), `fc00::/7` (RFC
        /// 4193), and `fec0::/10`.
        Private = "private",
        /// Addresses that a provider shares among its customers (carrier-grade NAT): `100.64.0.0/10` (RFC
        /// 6598).
        SharedSpace = "shared-space",
        /// The local network segment: `169.254.0.0/16`, `fe80::/10`.
        LinkLocal = "link-local",
        /// Metadata services, which hand out credentials to cloud machines: `169.254.169.254`,
        /// `fd00:ec2::254`, `100.100.100.200` and others. None of them belongs to another class.
        CloudMetadata = "cloud-metadata",
        /// Multicast groups: `224.0.0.0/4`, `ff00::/8`.
        Multicast = "multicast",
        /// The broadcast address `255.255.255.255`.
        Broadcast = "broadcast",
        /// `0.0.0.0/8`, `::`. Most systems treat these addresses as this host.
        Unspecified = "unspecified",
        /// Addresses for documentation: `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`,
        /// `3fff::/20`.
        Documentation = "documentation",
        /// Addresses for benchmarks: `198.18.0.0/15`, `2001:2::/48`.
        Benchmark = "benchmark",
        /// Addresses reserved for protocols or for future use: `192.0.0.0/24`, `192.88.99.0/24`,
        /// `240.0.0.0/4`, the rest of `2001::/23`, and all addresses outside `2000::/3` that belong to no
        /// other class.
        Reserved = "reserved",
        /// An IPv6 address that contains an IPv4 address, to which a gateway or the system may connect
        /// instead: `::ffff:0:0/96`, `::ffff:0:0:0/96`, `::/96`, NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`),
        /// 6to4 (`2002::/16`), Teredo (`2001::/32`), and the interface identifiers of ISATAP (RFC 5214).
        Embedded = "embedded",
    }
}

impl AddressClass {
    /// Returns the class of this address. The class of an embedded IPv4 address does not matter.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if is_cloud_metadata(address) {
            return Self::CloudMetadata;
        }
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Returns the class with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether a rule must name this class to allow its addresses: link-local and metadata addresses.
    pub(super) fn is_restricted(self) -> bool {
        matches!(self, Self::LinkLocal | Self::CloudMetadata)
    }
}

/// Whether a connection to this address may reach a link-local or metadata address, directly or through an
/// embedded IPv4 address.
pub(super) fn may_reach_restricted(address: IpAddr) -> bool {
    AddressClass::of(address).is_restricted()
        || embedded::addresses(address).any(|within| AddressClass::of(IpAddr::V4(within)).is_restricted())
}

fn is_cloud_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(
            address.octets(),
            // Most clouds; containers and pods of AWS; Scaleway; Tencent.
            [169, 254, 169, 254] | [169, 254, 170, 2 | 23] | [169, 254, 42, 42] | [169, 254, 0, 23]
            // Alibaba; Oracle; the wire server of Azure, whose address would be public.
            | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16]
        ),
        IpAddr::V6(address) => matches!(
            address.segments(),
            // All services of AWS; Google; Scaleway; Akamai; Oracle; Alibaba; OpenStack.
            [0xfd00, 0x0ec2, ..]
                | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]
                | [0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
                | [0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200]
                | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254]
                | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x42]
                | [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        ),
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        [0, ..] => AddressClass::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::SharedSpace,
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 0, _] | [192, 88, 99, _] => AddressClass::Reserved,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18 | 19, ..] => AddressClass::Benchmark,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    // The order matters: more specific blocks come first.
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        _ if embedded::addresses(IpAddr::V6(address)).next().is_some() => AddressClass::Embedded,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => AddressClass::Documentation,
        [0x2001, 2, 0, ..] => AddressClass::Benchmark,
        [0x2001, 0..=0x01ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

#[cfg(test)]
mod tests;
