//! A request of which nothing has to be interpreted.

/// A GET without content and without any field that changes what a cache may answer: what most requests are
/// that find something stored. Whatever is not on this list is for those who read all of a request.
#[derive(Debug)]
pub(crate) struct PlainRequest<'a> {
    /// The request target as it was received.
    pub(crate) target: &'a str,
    /// Whether the connection is to serve another request, as far as the client says.
    pub(crate) persistent: bool,
    fields: &'a [httparse::Header<'a>],
}

/// What the fields of a request say of one name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlainField<'a> {
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> PlainRequest<'a> {
    /// The request with these fields, if it is a plain one. The fields' syntax has been checked.
    pub(crate) fn new(target: &'a str, fields: &'a [httparse::Header<'a>]) -> Option<Self> {
        let mut hosts = 0;
        let mut persistent = true;
        for field in fields {
            let name = field.name.as_bytes();
            if name.eq_ignore_ascii_case(b"host") {
                if !is_plain_host(field.value) {
                    return None;
                }
                hosts += 1;
            } else if name.eq_ignore_ascii_case(b"connection") {
                if field.value.eq_ignore_ascii_case(b"close") {
                    persistent = false;
                } else if !field.value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
            } else if is_special(name) {
                return None;
            }
        }
        (hosts == 1).then_some(Self { target, persistent, fields })
    }

    /// The names of its fields, as they are spelled.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields.iter().map(|field| field.name)
    }

    /// What is said under this name, which is in lower case.
    pub(crate) fn field(&self, name: &str) -> PlainField<'a> {
        let mut lines = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        match (lines.next(), lines.next()) {
            (None, _) => PlainField::Absent,
            (Some(line), None) => PlainField::Once(line.value),
            (Some(_), Some(_)) => PlainField::Repeated,
        }
    }
}

/// A name or an IPv4 address, and a port: what needs no grammar.
fn is_plain_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'))
        && host.iter().filter(|byte| **byte == b':').count() <= 1
        && !host.starts_with(b":")
        && host.rsplit(|byte| *byte == b':').next().is_some_and(|port| {
            port.len() == host.len() || (port.len() <= 5 && port.iter().all(u8::is_ascii_digit))
        })
}

/// Whether a field frames the message, ends at this hop, shows who asks, or says what the answer may be or whether
/// there is one.
/// `Proxy-Authorization` is for whoever lets requests in, and changes nothing of the answer.
fn is_special(name: &[u8]) -> bool {
    let names: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        3 => &[b"via"],
        5 => &[b"range"],
        6 => &[b"expect", b"pragma"],
        7 => &[b"trailer", b"upgrade"],
        8 => &[b"if-match", b"if-range"],
        10 => &[b"keep-alive"],
        13 => &[b"authorization", b"cache-control", b"if-none-match"],
        14 => &[b"content-length", b"sec-fetch-site"],
        16 => &[b"proxy-connection"],
        17 => &[b"if-modified-since", b"transfer-encoding"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"if-unmodified-since"],
        25 => &[b"proxy-authentication-info"],
        _ => &[],
    };
    names.iter().any(|special| name.eq_ignore_ascii_case(special))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_plain(fields: &[(&str, &str)]) -> bool {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        PlainRequest::new("/", &fields).is_some()
    }

    #[test]
    fn what_has_to_be_interpreted_is_not_plain() {
        let host = ("Host", "a.example:80");
        assert!(is_plain(&[host]));
        assert!(is_plain(&[host, ("Accept", "*/*"), ("Cookie", "a=b"), ("User-Agent", "x")]));
        assert!(is_plain(&[host, ("Connection", "Keep-Alive")]));
        for name in [
            "TE",
            "Via",
            "Range",
            "Expect",
            "Pragma",
            "Trailer",
            "Upgrade",
            "If-Match",
            "If-Range",
            "Keep-Alive",
            "Authorization",
            "Cache-Control",
            "If-None-Match",
            "Content-Length",
            "Sec-Fetch-Site",
            "Proxy-Connection",
            "If-Modified-Since",
            "Transfer-Encoding",
            "Proxy-Authenticate",
            "If-Unmodified-Since",
            "Proxy-Authentication-Info",
        ] {
            assert!(!is_plain(&[host, (name, "1")]), "{name}");
        }
        assert!(!is_plain(&[host, ("Connection", "x-hop")]));
        assert!(!is_plain(&[host, host]));
        assert!(!is_plain(&[]));
        for host in ["", "a b", "user@a", "[::1]:80", "a:b", "a:1:2", ":80", "a:123456", "\u{e9}"] {
            assert!(!is_plain(&[("Host", host)]), "{host}");
        }
    }

    #[test]
    fn the_end_of_the_connection_is_read() {
        let fields = |value: &'static str| {
            [
                httparse::Header { name: "host", value: b"a" },
                httparse::Header { name: "connection", value: value.as_bytes() },
            ]
        };
        assert!(!PlainRequest::new("/", &fields("Close")).unwrap().persistent);
        assert!(PlainRequest::new("/", &fields("keep-alive")).unwrap().persistent);
    }

    #[test]
    fn a_field_is_absent_there_once_or_repeated() {
        let fields = [("host", "a"), ("Accept", "x"), ("x-a", "1"), ("X-A", "2")]
            .map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        let request = PlainRequest::new("/", &fields).unwrap();
        assert_eq!(request.field("accept"), PlainField::Once(b"x"));
        assert_eq!(request.field("x-a"), PlainField::Repeated);
        assert_eq!(request.field("x-b"), PlainField::Absent);
    }
}
