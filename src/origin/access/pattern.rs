use std::net::IpAddr;

use super::address_class::{AddressClass, may_reach_restricted};
use super::embedded;
use super::host_pattern::HostPattern;
use super::network::Network;
use super::url_parts::UrlParts;

/// A pattern of origins in a rule of [`OriginRules`](super::OriginRules): scheme, host, port, and the address
/// that a connection goes to. A part that is left out matches everything.
///
/// The syntax is `[SCHEME://]PLACE[:PORTS]`:
///
/// | place | matches |
/// |---|---|
/// | `example.com` | this host |
/// | `*.example.com` | all its subdomains, at any depth, but not the host itself |
/// | `api-*.example.com` | within a label, an asterisk matches any characters, including none |
/// | `*` | every host |
/// | `10.1.0.0/16`, `10.1.2.3`, `[fd00::/8]`, `[::1]` | every host at these addresses |
/// | `private` | every host at an address of the [`AddressClass`] with this [name](AddressClass::name) |
/// | `any` | every host at any address, except link-local and metadata addresses |
/// | `intranet.example@private` | this host, if it is at an address of this class |
///
/// `PORTS` is a port or a range: `:8080`, `:8000-8999`. The default is all ports.
///
/// ```
/// use forwardcache::origin::{AddressClass, OriginPattern};
///
/// let pattern: OriginPattern = "HTTPS://*.Corp.example.@10.0.0.0/8:8443".parse()?;
/// assert_eq!(pattern.to_string(), "https://*.corp.example@10.0.0.0/8:8443");
/// assert_eq!(OriginPattern::class(AddressClass::Loopback).to_string(), "loopback");
/// # Ok::<(), forwardcache::origin::InvalidOriginRule>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    pub(super) is_https: Option<bool>,
    pub(super) host: Option<HostPattern>,
    pub(super) addresses: Option<Addresses>,
    pub(super) ports: Option<(u16, u16)>,
}

/// The addresses of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    Any,
    Class(AddressClass),
    Network(Network),
}

impl OriginPattern {
    /// Matches every origin at an address of this class.
    #[must_use]
    pub fn class(class: AddressClass) -> Self {
        Self { is_https: None, host: None, addresses: Some(Addresses::Class(class)), ports: None }
    }

    /// Whether the pattern matches the URL, regardless of addresses.
    pub(super) fn matches_url(&self, asked: &UrlParts<'_>) -> bool {
        self.is_https.is_none_or(|is_https| is_https == asked.is_https)
            && self.ports.is_none_or(|(first, last)| (first..=last).contains(&asked.port))
            && self.host.as_ref().is_none_or(|host| {
                // Outside a `CanonicalUrl`, a host name may contain upper case letters.
                if asked.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    host.matches(&asked.host.to_ascii_lowercase())
                } else {
                    host.matches(asked.host)
                }
            })
    }
}

impl Addresses {
    /// Whether a rule that allows these addresses allows this one. Link-local and metadata addresses must be
    /// named.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => !may_reach_restricted(address),
            Self::Class(class) => {
                let is_of_it = AddressClass::of(address) == *class;
                is_of_it && (class.is_restricted() || !may_reach_restricted(address))
            }
            Self::Network(network) if may_reach_restricted(address) => network.names_specifically(address),
            Self::Network(network) => network.contains(address),
        }
    }

    /// Whether a rule that denies these addresses denies this one, or an IPv4 address embedded in it.
    pub(super) fn denies(&self, address: IpAddr) -> bool {
        let is_meant = |address| match self {
            Self::Any => true,
            Self::Class(class) => AddressClass::of(address) == *class,
            Self::Network(network) => network.contains(address),
        };
        is_meant(address) || embedded::addresses(address).any(|within| is_meant(IpAddr::V4(within)))
    }
}
