//! URLs that are canonical as they are spelled: what most are, and what is not worth putting together anew.

use std::net::Ipv4Addr;

use super::spelling::stands_in_path_and_query;

/// Where the parts of such a URL end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) host_end: usize,
    pub(super) authority_end: usize,
    pub(super) path_end: usize,
    pub(super) port: u16,
}

/// The parts of a URL of which it takes one look to see that it is canonical; `None` says nothing.
///
/// It has no escape, no dot at the start of a segment, no fragment, and a host that is a name in lower case
/// or an IPv4 address.
pub(super) fn parts(url: &str) -> Option<Parts> {
    let (host_start, default_port) = if url.starts_with("http://") {
        (7, 80)
    } else if url.starts_with("https://") {
        (8, 443)
    } else {
        return None;
    };
    let bytes = url.as_bytes();
    let ends_at = |from: usize, ends: fn(&u8) -> bool| {
        bytes[from..].iter().position(ends).map_or(bytes.len(), |at| from + at)
    };
    let authority_end = ends_at(host_start, |byte| *byte == b'/');
    let host_end = ends_at(host_start, |byte| matches!(byte, b'/' | b':'));
    if !is_canonical_host(&url[host_start..host_end]) {
        return None;
    }
    let port = if host_end == authority_end {
        default_port
    } else {
        let digits = &url[host_end + 1..authority_end];
        let is_canonical = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|port| is_canonical && *port != default_port)?
    };
    let path_end = ends_at(authority_end, |byte| *byte == b'?');
    let path = &bytes[authority_end..path_end];
    // A percent sign stands in an escape alone.
    let is_plain = |bytes: &[u8]| bytes.iter().all(|byte| stands_in_path_and_query(*byte));
    let has_path = path.first() == Some(&b'/') && !path.windows(2).any(|pair| pair == b"/.");
    let is_canonical = has_path && is_plain(&bytes[authority_end..]);
    is_canonical.then_some(Parts { host_end, authority_end, path_end, port })
}

fn is_canonical_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= 253
        && host.split('.').all(is_label)
        && last.starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[test]
    fn what_is_seen_to_be_canonical_is_what_it_would_be_made() {
        for (url, is_seen) in [
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
            assert_eq!(parts(url).is_some(), is_seen, "{url}");
            if is_seen {
                let target = Target::parse_thoroughly(url).unwrap();
                assert_eq!(target.as_str(), url);
                assert_eq!(Target::parse(url).unwrap().parts(), target.parts(), "{url}");
            }
        }
    }
}
