//! [`OriginBuilder`]: the public options of an [`Origin`].

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

use super::connections::IdleLimits;
use super::head::HeadLimits;
use super::options::{Options, Timeouts, TrustSource, USER_AGENT};
use super::transport::Origin;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::{IdentitySource, Pem};
use crate::origin::access::OriginRules;

/// The largest value of [`OriginBuilder::max_fields`].
const MAX_FIELDS: usize = 4096;

/// Options of an [`Origin`].
///
/// | option | default |
/// |---|---|
/// | [`resolve_timeout`](Self::resolve_timeout) | 5 s |
/// | [`connect_timeout`](Self::connect_timeout) | 10 s |
/// | [`response_timeout`](Self::response_timeout) | 60 s |
/// | [`read_timeout`](Self::read_timeout) | 60 s |
/// | [`stream_timeout`](Self::stream_timeout) | 1 h |
/// | [`write_timeout`](Self::write_timeout) | 30 s |
/// | [`whole_timeout`](Self::whole_timeout) | none |
/// | [`max_head`](Self::max_head) | 64 KiB |
/// | [`max_fields`](Self::max_fields) | 256 |
/// | [`user_agent`](Self::user_agent) | `forwardcache/0.1` |
/// | [`idle_connections`](Self::idle_connections) | 2048 |
/// | [`idle_connections_per_origin`](Self::idle_connections_per_origin) | 256 |
/// | [`rules`](Self::rules) | [`OriginRules::any`] |
/// | [`name_lifetime`](Self::name_lifetime) | 30 s |
/// | [`web_root_certificates`](Self::web_root_certificates) | trusted |
/// | [`root_certificates_pem`](Self::root_certificates_pem) | no additional roots |
/// | [`client_certificate_pem`](Self::client_certificate_pem) | none |
///
/// A [`Deadline`](crate::Deadline) in the extensions of a request is an additional limit. Without a deadline
/// or a [`whole_timeout`](Self::whole_timeout), a body may take any time as long as bytes keep arriving.
///
/// ```
/// use std::time::Duration;
///
/// use forwardcache::Origin;
///
/// let origin = Origin::builder().connect_timeout(Duration::from_secs(2)).build()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct OriginBuilder {
    timeouts: Timeouts,
    head_limits: HeadLimits,
    user_agent: Option<String>,
    idle: IdleLimits,
    rules: OriginRules,
    trust: TrustSource,
}

// Here and not in `transport`, so that the two files do not import each other.
impl Origin {
    /// Returns a builder with default options.
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }
}

impl OriginBuilder {
    /// Sets the time limit for resolving the host name. Default: 5 s.
    pub fn resolve_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.resolve = limit;
        self
    }

    /// Sets the time limit for connecting: over all addresses, including the TLS handshake. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.connect = limit;
        self
    }

    /// Sets the time limit up to the end of the response head: name lookup, connection, TLS handshake and the
    /// single retry together. For a request with content, the limit restarts whenever the origin accepts more
    /// of the content. Default: 60 s.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.response = limit;
        self
    }

    /// Sets how long the origin may be silent within a body. Default: 60 s.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.read = limit;
        self
    }

    /// Sets how long the origin may be silent within a body of type `text/event-stream` or
    /// `multipart/x-mixed-replace`. Such an origin sends nothing until an event occurs. Default: 1 hour.
    pub fn stream_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.stream = limit;
        self
    }

    /// Sets the time limit for a whole request, including the body of the response. Default: no limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use forwardcache::Origin;
    ///
    /// let origin = Origin::builder().whole_timeout(Duration::from_secs(3600)).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn whole_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.whole = Some(limit);
        self
    }

    /// Sets the largest size of a response head in bytes, including the interim responses before it. A larger
    /// head fails with [`ErrorKind::BadResponse`]. A [`Client`](crate::Client) accepts 1 MiB and 4096 fields
    /// from a peer. Default: 64 KiB.
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.head_limits.bytes = bytes;
        self
    }

    /// Sets the largest number of field lines in a response head, at most 4096. Default: 256.
    pub fn max_fields(mut self, lines: usize) -> Self {
        self.head_limits.fields = lines;
        self
    }

    /// Sets the `User-Agent` of requests that have none. If the value is empty, such requests are sent
    /// without this field. Default: `forwardcache/` and the version of this crate, such as
    /// `forwardcache/0.1`.
    pub fn user_agent(mut self, value: impl Into<String>) -> Self {
        self.user_agent = Some(value.into());
        self
    }

    /// Sets the number of idle connections to all origins together. Each is kept for at most 20 s; a TLS
    /// connection takes about 48 KiB. Default: 2048.
    pub fn idle_connections(mut self, most: usize) -> Self {
        self.idle.total = most;
        self
    }

    /// Sets the number of idle connections to each origin, which should be the number of concurrent requests
    /// to it. Default: 256.
    pub fn idle_connections_per_origin(mut self, most: usize) -> Self {
        self.idle.per_origin = most;
        self
    }

    /// Sets how long a write may wait until the origin accepts more bytes of the request. Default: 30 s.
    pub fn write_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.write = limit;
        self
    }

    /// Sets the rules for allowed origins. Requests to other origins fail with [`ErrorKind::Forbidden`].
    /// Default: [`OriginRules::any`].
    ///
    /// The rules are checked twice: for the URL, before the name lookup, and for each address before a
    /// connection is made. Forbidden addresses are skipped; if none is left, the request fails.
    /// [`Origin::set_rules`] replaces the rules later.
    ///
    /// ```
    /// use forwardcache::origin::OriginRules;
    /// use forwardcache::{ErrorKind, Origin, RoundTrip};
    ///
    /// let origin = Origin::builder().rules(OriginRules::public()).build()?;
    /// let request = http::Request::get("http://127.0.0.1/").body(forwardcache::Body::empty()).unwrap();
    /// assert_eq!(origin.round_trip(request).unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn rules(mut self, rules: OriginRules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets how long the addresses of a host name are cached. Zero disables this cache. Default: 30 s.
    ///
    /// A name without an address is cached for at most 2 s. At most 1024 names are cached; the least recent
    /// is evicted. Cached addresses are checked against the current rules. The system resolver is called on
    /// at most 8 threads, which end when there is nothing to look up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use forwardcache::Origin;
    ///
    /// let origin = Origin::builder().name_lifetime(Duration::ZERO).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn name_lifetime(mut self, lifetime: Duration) -> Self {
        self.timeouts.name_lifetime = lifetime;
        self
    }

    /// Sets whether the root certificates of the web are trusted. Default: `true`.
    ///
    /// With `false`, only the roots given here are trusted. This suits a network whose origins all have
    /// certificates of a private authority.
    pub fn web_root_certificates(mut self, trusted: bool) -> Self {
        self.trust.without_web_roots = !trusted;
        self
    }

    /// Trusts these root certificates too: one or more in PEM. Other PEM sections are ignored.
    ///
    /// May be called several times.
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust.roots.push(Pem::Given(pem.into()));
        self
    }

    /// Trusts the root certificates of this PEM file too. [`build`](Self::build) reads the file once.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.roots.push(Pem::File(path.into()));
        self
    }

    /// Sets the client certificate and its private key, for servers that request one. Both are PEM: the
    /// certificate first, then its intermediates; the key in PKCS#8, PKCS#1 or SEC1, not encrypted. Default:
    /// none.
    ///
    /// **Every** server that requests a certificate receives it and learns the identity of this client. Use
    /// an [`Origin`] with a certificate only for known servers, not for arbitrary URLs. A
    /// [`Client`](crate::Client) uses its certificate only for its peers.
    ///
    /// The last call of this method and [`client_certificate_files`](Self::client_certificate_files) wins.
    ///
    /// ```
    /// use forwardcache::{ErrorKind, Origin};
    ///
    /// let refused = Origin::builder().client_certificate_pem("no certificate", "no key").build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadOption);
    /// ```
    pub fn client_certificate_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let (certificates, key) = (Pem::Given(certificates.into()), Pem::Given(key.into()));
        self.trust.identity = Some(IdentitySource { certificates, key });
        self
    }

    /// Like [`client_certificate_pem`](Self::client_certificate_pem), but from two PEM files, which may be
    /// the same file. [`build`](Self::build) reads them once.
    ///
    /// ```no_run
    /// use forwardcache::Origin;
    ///
    /// let origin = Origin::builder().client_certificate_files("client.pem", "client.key").build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn client_certificate_files(
        mut self,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (certificates, key) = (Pem::File(certificates.into()), Pem::File(key.into()));
        self.trust.identity = Some(IdentitySource { certificates, key });
        self
    }

    /// Restores the default `User-Agent`.
    pub(crate) fn with_default_user_agent(mut self) -> Self {
        self.user_agent = None;
        self
    }

    /// Removes the client certificate, for servers that must not learn the client's identity.
    pub(crate) fn without_client_certificate(mut self) -> Self {
        self.trust.identity = None;
        self
    }

    /// Checks the options and creates the [`Origin`]. Does not connect.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] in these cases:
    ///
    /// * a limit is zero or out of range;
    /// * the `User-Agent` is not a valid field value;
    /// * a file cannot be read;
    /// * PEM contains no certificate, or one that cannot be used;
    /// * no root certificate would be trusted;
    /// * the key of the client certificate is missing, cannot be used, or belongs to another certificate.
    pub fn build(self) -> Result<Origin> {
        let timeouts = self.timeouts;
        for (name, limit) in [
            ("resolve", timeouts.resolve),
            ("connect", timeouts.connect),
            ("response", timeouts.response),
            ("read", timeouts.read),
            ("stream", timeouts.stream),
            ("write", timeouts.write),
            ("whole", timeouts.whole.unwrap_or(Duration::MAX)),
        ] {
            if limit.is_zero() {
                return Err(Error::new(
                    ErrorKind::BadOption,
                    format!("the {name} timeout must be longer than zero"),
                ));
            }
        }
        if self.head_limits.bytes == 0 || !(1..=MAX_FIELDS).contains(&self.head_limits.fields) {
            let text =
                format!("the limits on a response head must be at least 1 byte and 1 to {MAX_FIELDS} fields");
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let user_agent = user_agent(self.user_agent.as_deref().unwrap_or(USER_AGENT))?;
        let tls = self.trust.read()?;
        let (head_limits, idle, rules) = (self.head_limits, self.idle, self.rules);
        Ok(Origin::with_options(Options {
            timeouts,
            head_limits,
            user_agent,
            idle,
            rules,
            trust: self.trust,
            tls,
        }))
    }
}

fn user_agent(value: &str) -> Result<Option<HeaderValue>> {
    let bad = || {
        Error::new(
            ErrorKind::BadOption,
            format!("invalid User-Agent {value:?}: it is not a valid field value"),
        )
    };
    Some(value).filter(|value| !value.is_empty()).map(HeaderValue::from_str).transpose().map_err(|_| bad())
}

#[cfg(test)]
mod tests;
