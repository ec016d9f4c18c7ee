//! Parses and displays an [`OriginPattern`].

use std::fmt;
use std::str::FromStr;

use super::address_class::AddressClass;
use super::host_pattern::HostPattern;
use super::invalid_rule::InvalidOriginRule;
use super::network::Network;
use super::pattern::{Addresses, OriginPattern};

const ANY: &str = "any";

impl FromStr for OriginPattern {
    type Err = InvalidOriginRule;

    fn from_str(text: &str) -> Result<Self, InvalidOriginRule> {
        let (is_https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some(_) => return Err(InvalidOriginRule::new(text, "the scheme is neither http nor https")),
            None => (None, text),
        };
        let (place, ports) = split_ports(rest);
        let ports = match ports {
            Some(ports) => Some(parse_ports(ports).ok_or_else(|| {
                let reason =
                    "the text after the colon is not a port or a range of ports; an IPv6 address needs brackets";
                InvalidOriginRule::new(text, reason)
            })?),
            None => None,
        };
        let (host, addresses) = match place.split_once('@') {
            Some((host, addresses)) => {
                let read = parse_addresses(addresses).unwrap_or_else(|| {
                    let reason = "the text after the @ is neither a network nor a class of addresses";
                    Err(InvalidOriginRule::new(text, reason))
                });
                (Some(HostPattern::parse(host)?), Some(read?))
            }
            None => match parse_addresses(place) {
                Some(addresses) => (None, Some(addresses?)),
                None => (Some(HostPattern::parse(place)?), None),
            },
        };
        Ok(Self { is_https, host, addresses, ports })
    }
}

/// Splits at the colon before the ports. The colons of an IPv6 address are within brackets.
fn split_ports(text: &str) -> (&str, Option<&str>) {
    let from = text.rfind(']').unwrap_or(0);
    match text[from..].find(':') {
        Some(at) => (&text[..from + at], Some(&text[from + at + 1..])),
        None => (text, None),
    }
}

fn parse_ports(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| is_number && *port > 0)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// Parses a class or a network. `None` if the text looks like neither.
fn parse_addresses(text: &str) -> Option<Result<Addresses, InvalidOriginRule>> {
    if text.eq_ignore_ascii_case(ANY) {
        return Some(Ok(Addresses::Any));
    }
    if let Some(class) = AddressClass::from_name(&text.to_ascii_lowercase()) {
        return Some(Ok(Addresses::Class(class)));
    }
    let within = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let network = Network::parse(within.unwrap_or(text))?;
    Some(match network {
        Ok(network) if within.is_some() != network.is_v6() => {
            Err(InvalidOriginRule::new(text, "brackets are for IPv6 addresses only, which need them"))
        }
        network => network.map(Addresses::Network),
    })
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_https {
            Some(true) => f.write_str("https://")?,
            Some(false) => f.write_str("http://")?,
            None => {}
        }
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
            // Without the `@`, a host name could be read as the name of a class.
            if self.addresses.is_some() {
                f.write_str("@")?;
            }
        }
        match self.addresses {
            Some(Addresses::Any) => f.write_str(ANY)?,
            Some(Addresses::Class(class)) => write!(f, "{class}")?,
            Some(Addresses::Network(network)) => write!(f, "{network}")?,
            None => {}
        }
        match self.ports {
            Some((first, last)) if first == last => write!(f, ":{first}"),
            Some((first, last)) => write!(f, ":{first}-{last}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
