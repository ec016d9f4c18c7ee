use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;

use crate::message::url::CanonicalUrl;

/// The parts of a URL that rules match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlParts<'a> {
    pub(super) is_https: bool,
    /// Without brackets.
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl<'a> UrlParts<'a> {
    pub(crate) fn of(target: &'a CanonicalUrl) -> Self {
        Self { is_https: target.is_https(), host: target.host(), port: target.port() }
    }

    /// Reads a URI that has a host. The case of letters does not matter.
    pub(crate) fn of_uri(uri: &'a Uri) -> Option<Self> {
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Some(Self { is_https, host: without_brackets(uri.host()?), port })
    }

    /// Reads the text of a [`CanonicalUrl`] without parsing it again. The result is meaningless for any other
    /// text.
    pub(crate) fn of_canonical(url: &'a str) -> Option<Self> {
        let (is_https, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let authority = &rest[..rest.find('/')?];
        let host_end = match authority.rfind(']') {
            Some(bracket) => bracket + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(host_end);
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if is_https => 443,
            None => 80,
        };
        Some(Self { is_https, host: without_brackets(host), port })
    }

    /// Returns the host without brackets, in its original case.
    pub(crate) fn host(&self) -> &'a str {
        self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address if the host is a literal one.
    pub(crate) fn literal_address(&self) -> Option<IpAddr> {
        // A cheap test that spares most names the attempt to parse them.
        let may_be_address =
            self.host.ends_with(|last: char| last.is_ascii_digit()) || self.host.contains(':');
        if may_be_address { self.host.parse().ok() } else { None }
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_constructors_agree() {
        for url in [
            "http://example.com/",
            "https://example.com/a?b",
            "https://example.com:80/:443/",
            "http://10.0.0.1:8080/",
            "http://[::1]/",
            "https://[fd00::1]:8443/]",
            "http://a/@b:1/",
        ] {
            let target = CanonicalUrl::parse(url).unwrap();
            let uri: Uri = url.parse().unwrap();
            let parts = |asked: UrlParts<'_>| {
                (asked.is_https, asked.host.to_owned(), asked.port, asked.literal_address())
            };
            let expected =
                (target.is_https(), target.host().to_owned(), target.port(), target.literal_address());
            assert_eq!(parts(UrlParts::of(&target)), expected, "{url}");
            assert_eq!(parts(UrlParts::of_uri(&uri).unwrap()), expected, "{url}");
            assert_eq!(parts(UrlParts::of_canonical(url).unwrap()), expected, "{url}");
        }
        assert!(UrlParts::of_canonical("ftp://a/").is_none());
        assert!(UrlParts::of_canonical("http://a").is_none());
    }
}
