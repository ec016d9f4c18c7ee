//! The options of an [`Origin`](super::Origin), and the configuration for ureq.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::crypto::CryptoProvider;
use ureq::config::Config;
use ureq::tls::{Certificate, ClientCert, PrivateKey, TlsConfig};

use super::connections::IdleLimits;
use super::head::HeadLimits;
use super::roots::Roots;
use super::transport::Origin;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::{Identity, IdentitySource, Pem};
use crate::origin::access::OriginRules;

/// The size of the input buffer of a connection, in bytes.
pub(super) const INPUT_BUFFER_BYTES: usize = 16 * 1024;

/// The size of the output buffer, in bytes. Each line of a request (start line or field) has to fit.
pub(super) const OUTPUT_BUFFER_BYTES: usize = 32 * 1024;

/// The `User-Agent` for requests that have none.
const USER_AGENT: &str =
    concat!("forwardcache/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// The longest time limit that ureq receives. ureq adds limits to the current time without a check for
/// overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);

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

/// The sources of the root certificates and the client certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustSource {
    without_web_roots: bool,
    roots: Vec<Pem>,
    identity: Option<IdentitySource>,
}

impl TrustSource {
    /// Reads all sources and checks the certificates.
    pub(super) fn read(&self) -> Result<TlsConfig> {
        let mut roots = Roots::default();
        for pem in &self.roots {
            roots.add(pem)?;
        }
        if self.without_web_roots {
            roots.exclude_web_roots()?;
        }
        let tls = TlsConfig::builder().root_certs(roots.into_root_certs());
        let Some(source) = &self.identity else { return Ok(tls.build()) };
        let ClientIdentity { certificate, provider } = ClientIdentity::new(&source.read()?)?;
        // ureq panics at the first request if it cannot use the key, so it must use the same provider that
        // checked the key.
        Ok(tls.client_cert(Some(certificate)).unversioned_rustls_crypto_provider(provider).build())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Timeouts {
    resolve: Duration,
    connect: Duration,
    /// The time up to the end of the response head.
    pub(super) response: Duration,
    /// The longest silence within a body.
    pub(super) read: Duration,
    /// The longest silence within an event stream.
    pub(super) stream: Duration,
    write: Duration,
    pub(super) whole: Option<Duration>,
    name_lifetime: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            response: Duration::from_secs(60),
            read: Duration::from_secs(60),
            stream: Duration::from_secs(60 * 60),
            write: Duration::from_secs(30),
            whole: None,
            name_lifetime: Duration::from_secs(30),
        }
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
    /// use forwardcache::{ErrorKind, Origin, OriginRules, RoundTrip};
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
    /// May be called several timeouts.
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
            let text = format!("the limits on a response head must be at least 1 byte and 1 to {MAX_FIELDS} fields");
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
    let bad = || Error::new(ErrorKind::BadOption, format!("invalid User-Agent {value:?}: it is not a valid field value"));
    Some(value).filter(|value| !value.is_empty()).map(HeaderValue::from_str).transpose().map_err(|_| bad())
}

/// Checked options.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) timeouts: Timeouts,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) head_limits: HeadLimits,
    pub(super) idle: IdleLimits,
    pub(super) rules: OriginRules,
    pub(super) trust: TrustSource,
    /// The TLS configuration that was read from `trust`.
    pub(super) tls: TlsConfig,
}

/// An [`Identity`] in ureq's types.
#[derive(Debug)]
struct ClientIdentity {
    certificate: ClientCert,
    provider: Arc<CryptoProvider>,
}

impl ClientIdentity {
    fn new(identity: &Identity) -> Result<Self> {
        let chain: Vec<_> =
            identity.certified.cert.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        // ureq accepts keys of every type only as PEM. `Identity` has checked this text.
        let key = PrivateKey::from_pem(&identity.key_text)
            .map_err(|_| Error::new(ErrorKind::BadOption, "cannot use the private key of the client certificate"))?;
        Ok(Self {
            certificate: ClientCert::new_with_certs(&chain, key),
            provider: Arc::clone(&identity.provider),
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            user_agent: Some(HeaderValue::from_static(USER_AGENT)),
            head_limits: HeadLimits::default(),
            idle: IdleLimits::default(),
            rules: OriginRules::default(),
            trust: TrustSource::default(),
            tls: TlsConfig::default(),
        }
    }
}

impl Options {
    #[cfg(test)]
    pub(super) fn with_resolve_timeout(limit: Duration) -> Self {
        Self { timeouts: Timeouts { resolve: limit, ..Timeouts::default() }, ..Self::default() }
    }

    pub(super) fn name_lifetime(&self) -> Duration {
        self.timeouts.name_lifetime
    }

    /// Returns the configuration for ureq with these TLS settings.
    pub(super) fn config(&self, tls: TlsConfig) -> Config {
        let (timeouts, idle) = (&self.timeouts, self.idle);
        Config::builder()
            // Every status is a response, and redirects are left to the client.
            .http_status_as_error(false)
            .max_redirects(0)
            // By default, ureq takes the proxy from the environment.
            .proxy(None)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .no_delay(true)
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .output_buffer_size(OUTPUT_BUFFER_BYTES)
            .max_idle_connections(idle.per_shard())
            .max_idle_connections_per_host(idle.per_origin)
            .max_idle_age(Duration::from_secs(20))
            .timeout_resolve(Some(timeouts.resolve.min(MAX_TIMEOUT)))
            .timeout_connect(Some(timeouts.connect.min(MAX_TIMEOUT)))
            // The exchange enforces the other limits, because ureq fixes its limits before the response head
            // is known.
            .timeout_per_write(Some(timeouts.write.min(MAX_TIMEOUT)))
            .tls_config(tls)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tls::testing::Authority;

    #[test]
    fn the_environment_names_no_proxy() {
        assert!(Options::default().config(TlsConfig::default()).proxy().is_none());
    }

    #[test]
    fn a_long_download_is_not_cut() {
        let timeouts = Options::default().config(TlsConfig::default()).timeouts();
        assert_eq!(timeouts.global, None);
        assert_eq!(timeouts.per_call, None);
        assert_eq!(timeouts.recv_body, None);
        assert_eq!(timeouts.connect, Some(Duration::from_secs(10)));
    }

    #[test]
    fn no_time_at_all_is_refused() {
        let error = Origin::builder().read_timeout(Duration::ZERO).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert_eq!(error.to_string(), "the read timeout must be longer than zero");
        for builder in [Origin::builder().max_head(0), Origin::builder().max_fields(5000)] {
            assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::BadOption);
        }
    }

    #[test]
    fn endless_limits_are_no_panic() {
        let server = super::super::testing::ScriptedOrigin::answering(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        );
        let builder = Origin::builder().resolve_timeout(Duration::MAX).connect_timeout(Duration::MAX);
        let builder = builder.response_timeout(Duration::MAX).read_timeout(Duration::MAX);
        let builder = builder.write_timeout(Duration::MAX).whole_timeout(Duration::MAX);
        let origin = builder.build().unwrap();
        let response = super::super::testing::get(&origin, &server.url()).unwrap();
        assert_eq!(response.into_body().into_text().unwrap(), "ok");
        server.finish();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_at_once() {
        let authority = Authority::new();
        let (one, other) = (authority.sign("one"), authority.sign("other"));
        let error = Origin::builder().client_certificate_pem(one.certificate, other.key).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert!(error.to_string().contains("does not belong"), "{error}");
        let error = Origin::builder().client_certificate_files("/no/such/file", "/b").build().unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }

    #[test]
    fn no_key_is_shown() {
        let made = Authority::new().sign("one");
        let line = made.key.lines().nth(1).unwrap();
        let builder = Origin::builder().client_certificate_pem(made.certificate.clone(), made.key.clone());
        assert!(!format!("{builder:?}").contains(line));
        let numbers = format!("{:?}", &made.key.as_bytes()[..8]);
        assert!(!format!("{builder:?}").contains(numbers.trim_matches(['[', ']'])));
    }

    #[test]
    fn an_origin_that_trusts_nobody_is_refused() {
        let error = Origin::builder().web_root_certificates(false).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
    }
}
