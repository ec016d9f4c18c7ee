//! The host and the port of a URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::InvalidUrl;

/// Splits an authority without userinfo into host and port, without the colon between them.
pub(super) fn split_port(authority: &str) -> Result<(&str, &str), InvalidUrl> {
    let host_end = if authority.starts_with('[') {
        authority.find(']').map_or(authority.len(), |at| at + 1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(host_end);
    match port.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if port.is_empty() => Ok((host, "")),
        None => Err(InvalidUrl::BadHost),
    }
}

/// Parses the port. Returns `None` if it is empty.
pub(super) fn parse_port(port: &str) -> Result<Option<u16>, InvalidUrl> {
    if port.is_empty() {
        return Ok(None);
    }
    // `str::parse` would accept a plus sign.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidUrl::BadPort);
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(InvalidUrl::BadPort),
        Ok(port) => Ok(Some(port)),
    }
}

/// Appends the host in its canonical form.
pub(super) fn push_host(out: &mut String, host: &str) -> Result<(), InvalidUrl> {
    if host.is_empty() {
        return Err(InvalidUrl::NoHost);
    }
    if !host.is_ascii() {
        return Err(InvalidUrl::HostNotAscii);
    }
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(InvalidUrl::BadHost)?;
        let address: Ipv6Addr = literal.parse().map_err(|_| InvalidUrl::BadHost)?;
        out.push_str(&format!("[{address}]"));
        return Ok(());
    }
    if !is_dns_name(host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(InvalidUrl::BadHost);
    }
    out.extend(host.chars().map(|character| character.to_ascii_lowercase()));
    Ok(())
}

/// Returns the address if a canonical host without brackets is an IP address.
pub(super) fn literal_address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// Returns whether `host` is a valid DNS name; underscores are allowed.
fn is_dns_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label) && !is_number(last)
}

/// Returns whether a resolver may treat a host that ends in this label as an IPv4 address in a legacy form.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
