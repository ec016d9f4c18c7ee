//! Simple GET requests, which can be looked up without interpreting their header fields.

/// A GET request without a body and without header fields that influence caching. Most requests that hit are of this
/// kind. All other requests take the path that parses the complete head.
#[derive(Debug)]
pub(crate) struct PlainRequest<'a> {
    /// The request target as it was received.
    pub(crate) target: &'a str,
    /// Whether the client allows the connection to stay open for another request.
    pub(crate) persistent: bool,
    fields: &'a [httparse::Header<'a>],
}

/// The values of one header field in a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlainField<'a> {
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> PlainRequest<'a> {
    /// Creates a plain request, or returns `None` if a field is special. The syntax of the fields must be valid.
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
            } else if name.eq_ignore_ascii_case(b"proxy-connection") {
                // Clients of proxies send it in place of `Connection`; servers ignore it (RFC 9112 appendix C.2.2).
                if ![&b"keep-alive"[..], b"close"].iter().any(|known| field.value.eq_ignore_ascii_case(known))
                {
                    return None;
                }
            } else if is_special(name) {
                return None;
            }
        }
        (hosts == 1).then_some(Self { target, persistent, fields })
    }

    /// Iterates over the field names as the client wrote them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields.iter().map(|field| field.name)
    }

    /// Returns the value of the field with this lower-case name.
    pub(crate) fn field(&self, name: &str) -> PlainField<'a> {
        let mut lines = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        match (lines.next(), lines.next()) {
            (None, _) => PlainField::Absent,
            (Some(line), None) => PlainField::Once(line.value),
            (Some(_), Some(_)) => PlainField::Repeated,
        }
    }
}

/// Returns whether `host` is a simple name or an IPv4 address with an optional port, which needs no complete parser.
fn is_plain_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'))
        && host.iter().filter(|byte| **byte == b':').count() <= 1
        && !host.starts_with(b":")
        && host.rsplit(|byte| *byte == b':').next().is_some_and(|port| {
            port.len() == host.len() || (port.len() <= 5 && port.iter().all(u8::is_ascii_digit))
        })
}

/// Returns whether a field frames the message, is hop-by-hop, identifies the user, or influences whether and how the
/// cache may respond. `Proxy-Authorization` is not special: it only decides on access, not on the response.
fn is_special(name: &[u8]) -> bool {
    let names: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        5 => &[b"range"],
        6 => &[b"expect", b"pragma"],
        7 => &[b"trailer", b"upgrade"],
        8 => &[b"if-match", b"if-range"],
        10 => &[b"keep-alive"],
        13 => &[b"authorization", b"cache-control", b"if-none-match"],
        14 => &[b"content-length", b"sec-fetch-site"],
        17 => &[b"if-modified-since", b"transfer-encoding"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"if-unmodified-since"],
        25 => &[b"proxy-authentication-info"],
        _ => &[],
    };
    names.iter().any(|special| name.eq_ignore_ascii_case(special))
}

#[cfg(test)]
mod tests;
