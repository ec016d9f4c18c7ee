use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

use super::InvalidUrl;
use super::as_spelled::{self, Parts};
use super::host::{literal_address, push_host, read_port, split_port};
use super::spelling::{push_spelled, without_dot_segments};

/// The longest URL, in bytes.
pub(super) const LONGEST: usize = 8192;

/// The absolute `http` or `https` URL of what is fetched and cached, in its canonical form.
///
/// Equal URLs have equal text: the text is what is cached under and what the ring hashes. The form
/// is that of RFC 3986 sections 6.2.2 and 6.2.3:
///
/// * scheme and host are lower case, an IPv6 address has its shortest form;
/// * the default port, the fragment, and dot segments are gone, and an empty path is `/`;
/// * percent-escapes are upper case, those of unreserved characters are decoded, and a byte that
///   cannot stand in a URL (any outside ASCII, `"`, `<`, `>`, `\`, `^`, `` ` ``, `{`, `|`, `}`, and
///   a `%` that begins no escape) is escaped.
///
/// Nothing else is changed: order and case of a query, empty segments, a query that is empty
/// (`/?` is not `/`) and a dot at the end of the host stay as they are.
///
/// Cloning copies a pointer, not the text.
///
/// ```
/// use forwardcache::CanonicalUrl;
///
/// let target = CanonicalUrl::parse("HTTP://Example.COM:80/a/../%7euser?q=%c3%bc#part")?;
/// assert_eq!(target.as_str(), "http://example.com/~user?q=%C3%BC");
/// # Ok::<(), forwardcache::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalUrl {
    text: Arc<str>,
    // All that follows is a function of the text: where its parts end, and the port.
    host_end: u16,
    authority_end: u16,
    path_end: u16,
    port: u16,
}

impl CanonicalUrl {
    /// Reads an absolute URL, of 8 KiB at most.
    ///
    /// Stricter than a browser: no white space is trimmed, a host is never unescaped, and numbers
    /// that only some programs take for an IPv4 address (`127.1`, `0x7f000001`) are refused, so that
    /// all who read the URL mean the same host.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] says what is wrong with the text.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        if url.is_empty() {
            return Err(InvalidUrl::Empty);
        }
        if url.len() > LONGEST {
            return Err(InvalidUrl::TooLong);
        }
        if let Some(parts) = as_spelled::parts(url) {
            return Self::of_parts(url.into(), parts);
        }
        Self::parse_thoroughly(url)
    }

    /// Puts the canonical text together.
    pub(super) fn parse_thoroughly(url: &str) -> Result<Self, InvalidUrl> {
        if url.bytes().any(|byte| byte == b' ' || byte.is_ascii_control()) {
            return Err(InvalidUrl::BadByte);
        }
        let (scheme, rest) = url.split_once(':').ok_or(InvalidUrl::NotAbsolute)?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(InvalidUrl::NotAbsolute);
        }
        let rest = rest.strip_prefix("//").ok_or(InvalidUrl::NotAbsolute)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _fragment)| before);
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };

        if authority.contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let default_port = if https { 443 } else { 80 };
        let port = read_port(port)?.unwrap_or(default_port);

        let mut text = String::with_capacity(url.len() + 1);
        text.push_str(if https { "https://" } else { "http://" });
        push_host(&mut text, host)?;
        let host_end = text.len();
        if port != default_port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let authority_end = text.len();
        let mut spelled = String::with_capacity(path.len());
        push_spelled(&mut spelled, path);
        // Escapes come first: `%2E%2E` is a dot segment too.
        text.push_str(&without_dot_segments(&spelled));
        let path_end = text.len();
        if let Some(query) = query {
            text.push('?');
            push_spelled(&mut text, query);
        }
        if text.len() > LONGEST {
            return Err(InvalidUrl::TooLong);
        }
        Self::of_parts(text.into(), Parts { host_end, authority_end, path_end, port })
    }

    /// The URL of a canonical text.
    fn of_parts(text: Arc<str>, parts: Parts) -> Result<Self, InvalidUrl> {
        let offset = |at: usize| u16::try_from(at).map_err(|_| InvalidUrl::TooLong);
        Ok(Self {
            host_end: offset(parts.host_end)?,
            authority_end: offset(parts.authority_end)?,
            path_end: offset(parts.path_end)?,
            port: parts.port,
            text,
        })
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> Parts {
        Parts {
            host_end: self.host_end.into(),
            authority_end: self.authority_end.into(),
            path_end: self.path_end.into(),
            port: self.port,
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text whose hash decides who owns this URL: the canonical text.
    ///
    /// The rings of other implementations agree as long as they hash this form. The Go ancestor
    /// hashes a URL as its caller spelled it, fragment and case of the host included.
    #[must_use]
    pub fn ring_key(&self) -> &str {
        &self.text
    }

    /// The same URL in the words of `http`.
    #[must_use]
    pub fn uri(&self) -> Uri {
        self.text.parse().expect("every canonical text is a URI of the http crate")
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme().len() == "https".len()
    }

    /// The host, with the port if it is not that of the scheme: the value of `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.host_start()..self.authority_end.into()]
    }

    /// The host in lower case; an IPv6 address stands without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = &self.text[self.host_start()..self.host_end.into()];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, from the URL or by its scheme: 80 or 443.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, which begins with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.authority_end.into()..self.path_end.into()]
    }

    /// The query without its `?`; an empty query is not the same as none.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text[self.path_end.into()..].strip_prefix('?')
    }

    /// The address, where the host is one and no name has to be resolved.
    #[must_use]
    pub fn literal_address(&self) -> Option<IpAddr> {
        literal_address(self.host())
    }

    /// Whether both have the same scheme, host and port (RFC 6454).
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.text[..self.authority_end.into()] == other.text[..other.authority_end.into()]
    }

    /// The root of its origin: `http://example.com/` of all that is there.
    pub(crate) fn origin(&self) -> Self {
        let root = self.authority_end + 1;
        Self { text: self.text[..root.into()].into(), path_end: root, ..*self }
    }

    pub(crate) fn scheme(&self) -> &str {
        if self.text.starts_with("https:") { "https" } else { "http" }
    }

    fn host_start(&self) -> usize {
        self.scheme().len() + "://".len()
    }
}

impl FromStr for CanonicalUrl {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CanonicalUrl").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(url: &str) -> String {
        CanonicalUrl::parse(url).unwrap_or_else(|bad| panic!("{url}: {bad}")).to_string()
    }

    fn refused(url: &str) -> InvalidUrl {
        CanonicalUrl::parse(url).expect_err(url)
    }

    #[test]
    fn one_spelling_for_equal_urls() {
        for (url, expected) in [
            ("http://example.com", "http://example.com/"),
            ("http://example.com:/", "http://example.com/"),
            ("HTTP://EXAMPLE.com:80/A", "http://example.com/A"),
            ("https://example.com:443", "https://example.com/"),
            ("https://example.com:80", "https://example.com:80/"),
            ("http://example.com:0080/", "http://example.com/"),
            ("http://example.com/a#b?c", "http://example.com/a"),
            ("http://example.com#b", "http://example.com/"),
            ("http://example.com?a", "http://example.com/?a"),
            ("http://example.com/?", "http://example.com/?"),
            ("http://example.com/a/./b/../c", "http://example.com/a/c"),
            ("http://example.com/%2e%2E/a/%2E", "http://example.com/a/"),
            ("http://example.com/%7euser/%c3%bc%2f", "http://example.com/~user/%C3%BC%2F"),
            ("http://example.com/a?b=../%7e%2f#", "http://example.com/a?b=../~%2F"),
            ("http://example.com/café?q=ü", "http://example.com/caf%C3%A9?q=%C3%BC"),
            ("http://example.com/a\\b\"<>^`{|}", "http://example.com/a%5Cb%22%3C%3E%5E%60%7B%7C%7D"),
            ("http://example.com/a//b?c=d//e?f", "http://example.com/a//b?c=d//e?f"),
            ("http://example.com/?a[]=1&B=2&a=3", "http://example.com/?a[]=1&B=2&a=3"),
            ("http://example.com./", "http://example.com./"),
            ("http://[2001:DB8:0:0::1]:8080/", "http://[2001:db8::1]:8080/"),
            ("http://[::ffff:7f00:1]/", "http://[::ffff:127.0.0.1]/"),
            ("http://xn--caf-dma.example/", "http://xn--caf-dma.example/"),
            ("http://my_host/", "http://my_host/"),
        ] {
            assert_eq!(canonical(url), expected, "{url}");
        }
    }

    #[test]
    fn a_percent_sign_that_begins_no_escape_is_escaped() {
        assert_eq!(canonical("http://a/?off=100%"), "http://a/?off=100%25");
        // Were the first `%` kept, the next reading would find another escape.
        assert_eq!(canonical("http://a/%%34%31"), "http://a/%2541");
        assert_eq!(canonical("http://a/%zz%4"), "http://a/%25zz%254");
    }

    #[test]
    fn texts_that_are_no_such_url() {
        for (url, expected) in [
            ("", InvalidUrl::Empty),
            ("/a", InvalidUrl::NotAbsolute),
            ("//example.com/", InvalidUrl::NotAbsolute),
            ("example.com:80/", InvalidUrl::NotAbsolute),
            ("ftp://example.com/", InvalidUrl::NotAbsolute),
            ("http:example.com", InvalidUrl::NotAbsolute),
            ("http:/example.com", InvalidUrl::NotAbsolute),
            ("http://", InvalidUrl::NoHost),
            ("http:///a", InvalidUrl::NoHost),
            ("http://:80/", InvalidUrl::NoHost),
            ("http://?a", InvalidUrl::NoHost),
            ("http://ex%61mple.com/", InvalidUrl::BadHost),
            ("http://a,b/", InvalidUrl::BadHost),
            ("http://a\\b/", InvalidUrl::BadHost),
            ("http://bücher.example/", InvalidUrl::HostNotAscii),
            ("http://user@example.com/", InvalidUrl::UserInfo),
            ("http://good.example\\@bad.example/", InvalidUrl::UserInfo),
            ("http://user:password@example.com/", InvalidUrl::UserInfo),
            ("http://@example.com/", InvalidUrl::UserInfo),
            ("http://example.com:0/", InvalidUrl::BadPort),
            ("http://example.com:65536/", InvalidUrl::BadPort),
            ("http://example.com:+80/", InvalidUrl::BadPort),
            ("http://example.com:80:80/", InvalidUrl::BadPort),
            ("http://example.com/a b", InvalidUrl::BadByte),
            (" http://example.com/", InvalidUrl::BadByte),
            ("http://example.com/\r\nX: y", InvalidUrl::BadByte),
            ("http://example.com/\u{7f}", InvalidUrl::BadByte),
        ] {
            assert_eq!(refused(url), expected, "{url}");
        }
    }

    #[test]
    fn an_at_sign_after_the_authority_is_no_userinfo() {
        assert_eq!(canonical("http://example.com/@a?b@c"), "http://example.com/@a?b@c");
    }

    #[test]
    fn eight_kibibytes_are_the_limit_of_both_forms() {
        let fits = format!("http://a/{}", "b".repeat(LONGEST - 9));
        assert_eq!(canonical(&fits), fits);
        assert_eq!(refused(&format!("{fits}b")), InvalidUrl::TooLong);
        let grows = format!("http://a/{}", "é".repeat(2000));
        assert_eq!(refused(&grows), InvalidUrl::TooLong);
    }

    #[test]
    fn parts() {
        let target = CanonicalUrl::parse("https://[::1]:8443/a/b?c").unwrap();
        assert!(target.is_https());
        assert_eq!(target.authority(), "[::1]:8443");
        assert_eq!(target.host(), "::1");
        assert_eq!(target.port(), 8443);
        assert_eq!(target.path(), "/a/b");
        assert_eq!(target.query(), Some("c"));
        assert_eq!(target.literal_address(), Some("::1".parse().unwrap()));

        let target = CanonicalUrl::parse("http://example.com").unwrap();
        assert!(!target.is_https());
        assert_eq!(target.authority(), "example.com");
        assert_eq!((target.port(), target.query(), target.literal_address()), (80, None, None));
        assert_eq!(CanonicalUrl::parse("https://a/?").unwrap().query(), Some(""));
        assert_eq!(CanonicalUrl::parse("https://a/?").unwrap().port(), 443);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = CanonicalUrl::parse("http://example.com/a").unwrap();
        let same = |url: &str| origin.same_origin(&CanonicalUrl::parse(url).unwrap());
        assert!(same("HTTP://example.com:80/b?c"));
        assert!(!same("https://example.com/a"));
        assert!(!same("http://example.com:8080/a"));
        assert!(!same("http://example.com.evil.example/a"));
        assert!(!same("http://sub.example.com/a"));
    }

    #[test]
    fn an_error_of_the_crate_keeps_the_reason() {
        let error = crate::Error::from(InvalidUrl::NoHost);
        assert_eq!(error.kind(), crate::ErrorKind::BadUrl);
        assert_eq!(error.to_string(), "the URL names no host");
    }

    fn nearly_a_url() -> impl Strategy<Value = String> {
        const PIECES: [&str; 30] = [
            "a",
            "B",
            "%",
            "4",
            "41",
            "2e",
            "%2e",
            "%2F",
            "%c3",
            "..",
            ".",
            "/",
            "/",
            "//",
            "?",
            "#",
            "é",
            "\\",
            "[::1]",
            "127.0.0.1",
            ":80",
            ":443",
            ":8080",
            "@",
            "{",
            "|",
            "]",
            "+",
            "&x=",
            "~",
        ];
        let scheme =
            prop::sample::select(vec!["http://", "HTTPS://", "http://h", "https://H.example:443/", ""]);
        let rest = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..16);
        (scheme, rest).prop_map(|(scheme, rest)| scheme.to_owned() + &rest.concat())
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(url in any::<String>(), rest in any::<String>()) {
            let _ = CanonicalUrl::parse(&url);
            if let Ok(target) = CanonicalUrl::parse(&format!("http://h/{rest}")) {
                let _ = target.uri();
                let _ = target.join(&url);
            }
        }

        #[test]
        fn a_look_finds_what_putting_together_makes(url in nearly_a_url()) {
            let made = CanonicalUrl::parse_thoroughly(&url);
            prop_assert_eq!(CanonicalUrl::parse(&url).ok().map(|target| (target.parts(), target)), made.ok().map(|target| (target.parts(), target)));
        }

        #[test]
        fn the_canonical_form_is_a_fixed_point(url in nearly_a_url()) {
            if let Ok(target) = CanonicalUrl::parse(&url) {
                let again = CanonicalUrl::parse(target.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), target.as_str());
                prop_assert_eq!(again.authority(), target.authority());
                prop_assert_eq!((again.port(), again.path()), (target.port(), target.path()));
                prop_assert_eq!(again.query(), target.query());
            }
        }

        #[test]
        fn an_origin_is_read_as_its_url_would_be(url in nearly_a_url()) {
            if let Ok(target) = CanonicalUrl::parse(&url) {
                let scheme = if target.is_https() { "https" } else { "http" };
                let read = CanonicalUrl::parse(&format!("{scheme}://{}/", target.authority())).unwrap();
                let origin = target.origin();
                prop_assert_eq!(origin.as_str(), read.as_str());
                prop_assert_eq!((origin.host(), origin.authority()), (read.host(), read.authority()));
                prop_assert_eq!((origin.port(), origin.path()), (read.port(), read.path()));
                prop_assert_eq!(origin.query(), read.query());
            }
        }

        #[test]
        fn the_uri_says_the_same(url in nearly_a_url()) {
            if let Ok(target) = CanonicalUrl::parse(&url) {
                let uri = target.uri();
                prop_assert_eq!(uri.to_string(), target.as_str());
                prop_assert_eq!(uri.path(), target.path());
                prop_assert_eq!(uri.query(), target.query());
                prop_assert_eq!(uri.authority().unwrap().as_str(), target.authority());
                prop_assert_eq!(CanonicalUrl::parse(&uri.to_string()).unwrap(), target);
            }
        }
    }
}
