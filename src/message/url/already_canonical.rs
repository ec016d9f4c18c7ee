//! A fast check for URLs that are already canonical, as most are; their text need not be built again.

use std::net::Ipv4Addr;

use super::normalization::is_path_or_query_byte;

/// The positions at which the parts of a canonical URL end, and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) host_end: usize,
    pub(super) authority_end: usize,
    pub(super) path_end: usize,
    pub(super) port: u16,
}

/// Returns the parts of `url` if a single pass shows that it is canonical.
///
/// Such a URL has no percent-escape, no dot at the start of a segment and no fragment, and its host is a lower-case
/// name or an IPv4 address. `None` does not mean that the URL is not canonical.
pub(super) fn parts(url: &str) -> Option<Parts> {
    let (host_start, default_port) = if url.starts_with("http://") {
        (7, 80)
    } else if url.starts_with("https://") {
        (8, 443)
    } else {
        return None;
    };
    let bytes = url.as_bytes();
    let host_end = host_start + host_length(&bytes[host_start..])?;
    let (port, authority_end) = match bytes.get(host_end)? {
        b':' => {
            let digits = bytes[host_end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let authority_end = host_end + 1 + digits;
            let port = &url[host_end + 1..authority_end];
            let number = port.parse().ok().filter(|port| *port != default_port)?;
            (if port.starts_with('0') { return None } else { number }, authority_end)
        }
        _ => (default_port, host_end),
    };
    if bytes.get(authority_end) != Some(&b'/') {
        return None;
    }
    let mut path_end = None;
    let mut last = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(authority_end) {
        // This rejects `%` too, so escapes are left to the complete parser.
        if !is_path_or_query_byte(byte) {
            return None;
        }
        if path_end.is_none() {
            if byte == b'?' {
                path_end = Some(at);
            } else if byte == b'.' && last == b'/' {
                return None;
            }
            last = byte;
        }
    }
    Some(Parts { host_end, authority_end, path_end: path_end.unwrap_or(bytes.len()), port })
}

/// Returns the length of the host at the start of `bytes` if it is a lower-case name or an IPv4 address.
fn host_length(bytes: &[u8]) -> Option<usize> {
    let (mut label_start, mut length) = (0, 0);
    while let Some(&byte) = bytes.get(length) {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => {}
            b'.' if (1..=63).contains(&(length - label_start)) => label_start = length + 1,
            _ => break,
        }
        length += 1;
    }
    let is_label = (1..=63).contains(&(length - label_start));
    if !is_label || length > 253 {
        return None;
    }
    // A host whose last label starts with a letter cannot be mistaken for a numeric address.
    let is_name = bytes[label_start].is_ascii_lowercase();
    let is_address = || {
        let host = std::str::from_utf8(&bytes[..length]).ok();
        host.is_some_and(|host| host.parse::<Ipv4Addr>().is_ok())
    };
    (is_name || is_address()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::url::CanonicalUrl;

    #[test]
    fn fast_check_agrees_with_the_complete_parser() {
        for (url, is_canonical) in [
            ("http://example.com/", true),
            ("https://a-b.example.com:8443/a/b.c?d=e&f=/../?g", true),
            ("http://10.0.0.1:3000/", true),
            ("http://example.com", false),
            ("http://example.com?a", false),
            ("http://Example.com/", false),
            ("http://example.com:80/", false),
            ("https://example.com:80/", true),
            ("http://example.com:080/", false),
            ("http://example.com:/", false),
            ("http://example.com:99999/", false),
            ("http://example.com./", false),
            ("http://127.1/", false),
            ("http://0x7f000001/", false),
            ("http://a..b/", false),
            ("http:///a", false),
            ("http://user@example.com/", false),
            ("http://[::1]/", false),
            ("http://example.com/a/../b", false),
            ("http://example.com/.a", false),
            ("http://example.com/%7Ea", false),
            ("http://example.com/a#b", false),
            ("http://example.com/a b", false),
            ("http://example.com/\u{e9}", false),
            ("ftp://example.com/", false),
        ] {
            assert_eq!(parts(url).is_some(), is_canonical, "{url}");
            if is_canonical {
                let parsed = CanonicalUrl::normalize(url).unwrap();
                assert_eq!(parsed.as_str(), url);
                assert_eq!(CanonicalUrl::parse(url).unwrap().parts(), parsed.parts(), "{url}");
            }
        }
    }
}
