//! Decides which origins may be fetched, by the URL and by the address that a connection goes to.
//!
//! A peer fetches any URL that a client requests, from inside its network. These rules keep clients from
//! reaching that network through the peer. The whole module is pure: it takes a URL and an address, and
//! returns a decision.
//!
//! The entry is [`OriginRules`]. Files in reading order:
//!
//! | file | content |
//! |---|---|
//! | `origin_rules` | [`OriginRules`]: the ordered list of rules and the two decisions |
//! | `pattern` | [`OriginPattern`]: scheme, host, port and addresses together |
//! | `pattern_text` | parses and displays patterns |
//! | `host_pattern` | a pattern of host names |
//! | `network` | a range of addresses in CIDR notation |
//! | `address_class` | [`AddressClass`]: the class of an address, by IANA's registries |
//! | `embedded` | the IPv4 addresses embedded in an IPv6 address |
//! | `url_parts` | the parts of a URL that rules match |
//! | `refused` | [`Refused`]: why an origin may not be fetched |
//! | `invalid_rule` | [`InvalidOriginRule`]: why a rule is invalid |

mod address_class;
mod embedded;
mod host_pattern;
mod invalid_rule;
mod network;
mod origin_rules;
mod pattern;
mod pattern_text;
mod refused;
mod url_parts;

pub use address_class::AddressClass;
pub use invalid_rule::InvalidOriginRule;
#[cfg(feature = "peer")]
pub(crate) use network::Network;
pub use origin_rules::OriginRules;
pub use pattern::OriginPattern;
pub use refused::Refused;
pub(crate) use url_parts::UrlParts;
