//! Which origins may be fetched: by what a URL says, and by the address that a connection goes to.
//!
//! A peer fetches what it is asked for, from where it stands. What is decided here keeps it from being a way
//! into the network that it stands in. All of it is pure: a URL and an address in, a decision out.
//!
//! | file | what lives there |
//! |---|---|
//! | `address_class` | [`AddressClass`]: what kind of address one is, by the registries of IANA |
//! | `embedded` | the IPv4 addresses within an IPv6 address |
//! | `network` | a range of addresses, as CIDR writes it |
//! | `host_pattern` | which names of hosts are meant |
//! | `pattern` | [`OriginPattern`]: scheme, host, port and addresses together |
//! | `pattern_text` | the same as it is written in an option |
//! | `origin_rules` | [`OriginRules`]: what is allowed and what is denied, in order |
//! | `asked` | what of a URL is looked at |
//! | `refused` | [`Refused`]: why an origin may not be fetched |
//! | `invalid_rule` | [`InvalidOriginRule`]: why a text is no rule |

mod address_class;
mod asked;
mod embedded;
mod host_pattern;
mod invalid_rule;
mod network;
mod origin_rules;
mod pattern;
mod pattern_text;
mod refused;

pub use address_class::AddressClass;
pub(crate) use asked::Asked;
pub use invalid_rule::InvalidOriginRule;
pub use origin_rules::OriginRules;
pub use pattern::OriginPattern;
pub use refused::Refused;
