//! The host and the port of a URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::InvalidUrl;

/// Host and port of an authority without userinfo; the colon between them is of neither.
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

/// The port; none where it is left out, with or without its colon.
pub(super) fn read_port(port: &str) -> Result<Option<u16>, InvalidUrl> {
    if port.is_empty() {
        return Ok(None);
    }
    // `parse` alone would take a plus sign.
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
    if !is_name(host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(InvalidUrl::BadHost);
    }
    out.extend(host.chars().map(|character| character.to_ascii_lowercase()));
    Ok(())
}

/// The address that a canonical host without brackets is.
pub(super) fn literal_address(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// Whether this is a name that DNS could hold, underscores included.
fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label) && !is_number(last)
}

/// Whether a resolver may take a host that ends in this label for an IPv4 address in an old form.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(host: &str) -> Result<String, InvalidUrl> {
        let mut out = String::new();
        push_host(&mut out, host).map(|()| out)
    }

    #[test]
    fn names_and_addresses() {
        let longest_label = "a".repeat(63);
        for host in ["a", "a.b.", "1a.2b", "a-b_c", "1.2.3.4", "0x7g", "1.example", "[::1]", &longest_label] {
            assert_eq!(canonical(host).as_deref(), Ok(host));
        }
        assert_eq!(canonical("[0:0:0:0:0:0:0:A]").as_deref(), Ok("[::a]"));
    }

    #[test]
    fn hosts_that_are_neither() {
        let long_label = "a".repeat(64);
        let long_name = vec!["a"; 128].join(".");
        for host in [
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "a b",
            "a%41",
            "a~",
            "a;b",
            "a*",
            "[",
            "[]",
            "[::1",
            "[1.2.3.4]",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "::1]",
            &long_label,
            &long_name,
        ] {
            assert_eq!(canonical(host), Err(InvalidUrl::BadHost), "{host}");
        }
    }

    #[test]
    fn numbers_that_only_some_take_for_an_address() {
        for host in [
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7F.1",
            "017700000001",
            "127.0.0.01",
            "256.1.1.1",
            "1.2.3.4.",
            "0x",
        ] {
            assert_eq!(canonical(host), Err(InvalidUrl::BadHost), "{host}");
        }
    }

    #[test]
    fn what_follows_an_address_in_brackets() {
        assert_eq!(split_port("[::1]:80"), Ok(("[::1]", "80")));
        assert_eq!(split_port("[::1]"), Ok(("[::1]", "")));
        assert_eq!(split_port("[::1]80"), Err(InvalidUrl::BadHost));
        assert_eq!(split_port("[::1].example"), Err(InvalidUrl::BadHost));
    }

    #[test]
    fn ports() {
        assert_eq!(read_port(""), Ok(None));
        assert_eq!(read_port("00080"), Ok(Some(80)));
        assert_eq!(read_port("65535"), Ok(Some(65535)));
        for port in ["0", "65536", "-1", "+1", "8o", "80 "] {
            assert_eq!(read_port(port), Err(InvalidUrl::BadPort), "{port}");
        }
    }
}
