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
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read() {
        for (text, shown) in [
            ("example.com", "example.com"),
            ("Example.COM.:80", "example.com:80"),
            ("https://*.example.com", "https://*.example.com"),
            ("HTTP://*:8000-8999", "http://*:8000-8999"),
            ("10.1.0.0/16:8080", "10.1.0.0/16:8080"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("[fd00::/8]:1-65535", "[fd00::/8]:1-65535"),
            ("[::1]", "[::1/128]"),
            ("PRIVATE", "private"),
            ("any:443", "any:443"),
            ("intranet.example@private:8080", "intranet.example@private:8080"),
            ("private@any", "private@any"),
            ("https://*.a@[fd00::/8]:8443", "https://*.a@[fd00::/8]:8443"),
        ] {
            let pattern: OriginPattern = text.parse().unwrap_or_else(|bad| panic!("{text}: {bad}"));
            assert_eq!(pattern.to_string(), shown, "{text}");
            assert_eq!(shown.parse().as_ref(), Ok(&pattern), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_why() {
        for (text, words) in [
            ("", "no host"),
            ("ftp://a", "scheme"),
            ("a:0", "port"),
            ("a:", "port"),
            ("a:x", "port"),
            ("a:9-8", "port"),
            ("a:1-", "port"),
            ("a:+1", "port"),
            ("a:65536", "port"),
            ("fd00::/8", "brackets"),
            ("::1", "brackets"),
            ("[10.0.0.0/8]", "brackets"),
            ("[fd00::/8", "brackets"),
            ("10.0.0.1/8", "bits"),
            ("10.0.0.0/33", "longer"),
            ("10.0.0.0/x", "number"),
            ("10.0.0.*", "network"),
            ("a@b", "after the @"),
            ("a@10.0.0.1/8", "bits"),
            ("@private", "no host"),
            ("a/b", "neither"),
            ("http://a/", "neither"),
            ("a@private@any", "after the @"),
            ("lööp", "punycode"),
        ] {
            let bad = text.parse::<OriginPattern>().unwrap_err().to_string();
            assert!(bad.contains(words) && bad.lines().count() == 1, "{text}: {bad}");
        }
    }
}
