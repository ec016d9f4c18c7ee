//! Time limits and roots, and what ureq is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::crypto::CryptoProvider;
use ureq::config::Config;
use ureq::tls::{Certificate, ClientCert, PrivateKey, TlsConfig};

use super::connections::Idle;
use super::head::HeadLimits;
use super::roots::Roots;
use super::transport::Origin;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::{Identity, IdentitySource, Pem};
use crate::origin::access::OriginRules;

/// What is read from a connection at a time.
pub(super) const INPUT_BUFFER_BYTES: usize = 16 * 1024;

/// The longest line of a request, field or start line, has to fit in here.
pub(super) const OUTPUT_BUFFER_BYTES: usize = 32 * 1024;

/// What a request is sent with that has no `User-Agent`.
const USER_AGENT: &str =
    concat!("forwardcache/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// The longest time limit that ureq is told: it adds limits to the time without looking for an overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// More fields than this are never allowed.
const MOST_FIELDS: usize = 4096;

/// Chooses how an [`Origin`] connects.
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
/// | [`root_certificates_pem`](Self::root_certificates_pem) | none besides |
/// | [`client_certificate_pem`](Self::client_certificate_pem) | none |
///
/// A [`Deadline`](crate::Deadline) in the extensions of a request is a further limit. A body that keeps coming may take
/// as long as it likes, unless one of the two limits the whole.
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
    times: Times,
    head_limits: HeadLimits,
    user_agent: Option<String>,
    idle: Idle,
    rules: OriginRules,
    trust: TrustSource,
}

/// Where the root certificates and the client certificate come from.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustSource {
    without_web_roots: bool,
    roots: Vec<Pem>,
    identity: Option<IdentitySource>,
}

impl TrustSource {
    /// Reads all of it, and checks it.
    pub(super) fn read(&self) -> Result<TlsConfig> {
        let mut roots = Roots::default();
        for pem in &self.roots {
            roots.add(pem)?;
        }
        if self.without_web_roots {
            roots.leave_out_the_web()?;
        }
        let tls = TlsConfig::builder().root_certs(roots.into_root_certs());
        let Some(source) = &self.identity else { return Ok(tls.build()) };
        let ClientIdentity { certificate, provider } = ClientIdentity::new(&source.read()?)?;
        // ureq panics at the first request when it cannot use them: what checked them has to be what uses them.
        Ok(tls.client_cert(Some(certificate)).unversioned_rustls_crypto_provider(provider).build())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Times {
    resolve: Duration,
    connect: Duration,
    /// Up to the head of the response.
    pub(super) response: Duration,
    /// The longest silence in a body.
    pub(super) read: Duration,
    /// The same in a stream of events.
    pub(super) stream: Duration,
    write: Duration,
    pub(super) whole: Option<Duration>,
    name_lifetime: Duration,
}

impl Default for Times {
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
    /// How long finding the host's addresses may take.
    pub fn resolve_timeout(mut self, limit: Duration) -> Self {
        self.times.resolve = limit;
        self
    }

    /// How long connecting may take, over all addresses and with the TLS handshake.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.times.connect = limit;
        self
    }

    /// How long it may take to the end of the response's head: finding the addresses, connecting, the handshake, and
    /// the one retry together. A request that sends content has as long from the last of it that the origin took.
    /// Default: 60 s.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.times.response = limit;
        self
    }

    /// How long the origin may be silent within a body. Default: 60 s.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.times.read = limit;
        self
    }

    /// The same in a body of the type `text/event-stream` or `multipart/x-mixed-replace`, whose origin says nothing while
    /// nothing happens. Default: one hour.
    pub fn stream_timeout(mut self, limit: Duration) -> Self {
        self.times.stream = limit;
        self
    }

    /// How long a request may take in all, its response's body included. Default: for ever.
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
        self.times.whole = Some(limit);
        self
    }

    /// How many bytes the head of a response may have, with the interim responses before it. A longer one is
    /// refused as [`ErrorKind::BadResponse`]. A [`Client`](crate::Client) takes 1 MiB and 4096 fields of a peer.
    /// Default: 64 KiB.
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.head_limits.bytes = bytes;
        self
    }

    /// How many field lines the head of a response may have, 4096 at most. Default: 256.
    pub fn max_fields(mut self, lines: usize) -> Self {
        self.head_limits.fields = lines;
        self
    }

    /// The `User-Agent` of requests that have none; empty: they are sent without. Default: `forwardcache/` and the version
    /// of this crate, as in `forwardcache/0.1`.
    pub fn user_agent(mut self, value: impl Into<String>) -> Self {
        self.user_agent = Some(value.into());
        self
    }

    /// How many idle connections are kept in all, for 20 s each. One over TLS takes about 48 KiB. Default: 2048.
    pub fn idle_connections(mut self, most: usize) -> Self {
        self.idle.of_all = most;
        self
    }

    /// How many idle connections are kept to each origin: as many requests at a time find one. Default: 256.
    pub fn idle_connections_per_origin(mut self, most: usize) -> Self {
        self.idle.of_each = most;
        self
    }

    /// How long the origin may take nothing of a request that is being sent.
    pub fn write_timeout(mut self, limit: Duration) -> Self {
        self.times.write = limit;
        self
    }

    /// Which origins may be fetched; all others fail with [`ErrorKind::Forbidden`]. Default:
    /// [`OriginRules::any`].
    ///
    /// They are asked twice: about the URL, before a name is looked up, and about every address that a
    /// connection could go to. Those that are forbidden are left out; where none is left, there is no
    /// connection. [`Origin::set_rules`] puts others in their place.
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

    /// For how long the addresses of a name are used before it is looked up again. Zero: they are not kept.
    /// Default: 30 s.
    ///
    /// That a name has no address is remembered for 2 s at most, and of 1024 names the latest. Whatever is
    /// remembered is judged by the rules of the moment. Names are looked up by the system, by 8 threads at
    /// most, which live only while there is something to look up.
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
        self.times.name_lifetime = lifetime;
        self
    }

    /// Whether the root certificates of the web are trusted, which they are unless this says otherwise.
    ///
    /// `false` leaves those given here, for a network whose origins all have certificates of their own
    /// authority.
    pub fn web_root_certificates(mut self, trusted: bool) -> Self {
        self.trust.without_web_roots = !trusted;
        self
    }

    /// Trusts these root certificates too: PEM, one or more, anything else in it is passed over.
    ///
    /// May be called more than once.
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trust.roots.push(Pem::Given(pem.into()));
        self
    }

    /// Trusts the root certificates of this PEM file too. It is read once, by
    /// [`build`](Self::build).
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.roots.push(Pem::File(path.into()));
        self
    }

    /// Shows this certificate to servers that ask for one, and proves with its key that it is this program's:
    /// PEM, the certificate first and then those that lead to a root, and a key in PKCS#8, PKCS#1 or SEC1
    /// that is not encrypted. Default: none, and the server decides what it makes of that.
    ///
    /// **Every** server that asks is shown it, whoever it is, and learns who asks. An [`Origin`] with a
    /// certificate is for the servers that are meant to know, not for any URL that comes along: a
    /// [`Client`](crate::Client) takes one for its peers alone.
    ///
    /// The last call counts, of this and of [`client_certificate_files`](Self::client_certificate_files).
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

    /// As [`client_certificate_pem`](Self::client_certificate_pem), from two PEM files, or twice the same one.
    /// They are read once, by [`build`](Self::build).
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

    /// As if none had been chosen.
    pub(crate) fn with_default_user_agent(mut self) -> Self {
        self.user_agent = None;
        self
    }

    /// For servers that are not meant to know who asks.
    pub(crate) fn without_client_certificate(mut self) -> Self {
        self.trust.identity = None;
        self
    }

    /// Checks the options and makes the [`Origin`]. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] for a limit of zero, a `User-Agent` that no field can have, for a file that cannot be read, for PEM
    /// without a certificate or with one that cannot be used, when no root would be trusted at all, and for
    /// a client certificate whose key is not there, cannot be used, or belongs to another.
    pub fn build(self) -> Result<Origin> {
        let times = self.times;
        for (name, limit) in [
            ("resolve", times.resolve),
            ("connect", times.connect),
            ("response", times.response),
            ("read", times.read),
            ("stream", times.stream),
            ("write", times.write),
            ("whole", times.whole.unwrap_or(Duration::MAX)),
        ] {
            if limit.is_zero() {
                return Err(Error::new(
                    ErrorKind::BadOption,
                    format!("the {name} timeout must be longer than zero"),
                ));
            }
        }
        if self.head_limits.bytes == 0 || !(1..=MOST_FIELDS).contains(&self.head_limits.fields) {
            let text = format!("the head of a response has a byte at least, and 1 to {MOST_FIELDS} fields");
            return Err(Error::new(ErrorKind::BadOption, text));
        }
        let user_agent = user_agent(self.user_agent.as_deref().unwrap_or(USER_AGENT))?;
        let tls = self.trust.read()?;
        let (head_limits, idle, rules) = (self.head_limits, self.idle, self.rules);
        Ok(Origin::with_options(Options {
            times,
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
    let bad = || Error::new(ErrorKind::BadOption, format!("{value:?} cannot be the value of User-Agent"));
    Some(value).filter(|value| !value.is_empty()).map(HeaderValue::from_str).transpose().map_err(|_| bad())
}

/// Options that have been checked.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) times: Times,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) head_limits: HeadLimits,
    pub(super) idle: Idle,
    pub(super) rules: OriginRules,
    pub(super) trust: TrustSource,
    /// What was read of it.
    pub(super) tls: TlsConfig,
}

/// An [`Identity`] as ureq takes it.
#[derive(Debug)]
struct ClientIdentity {
    certificate: ClientCert,
    provider: Arc<CryptoProvider>,
}

impl ClientIdentity {
    fn new(identity: &Identity) -> Result<Self> {
        let chain: Vec<_> =
            identity.certified.cert.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        // The one way to give ureq a key of whatever kind; it reads what `Identity` has read.
        let key = PrivateKey::from_pem(&identity.key_text)
            .map_err(|_| Error::new(ErrorKind::BadOption, "the private key cannot be used"))?;
        Ok(Self {
            certificate: ClientCert::new_with_certs(&chain, key),
            provider: Arc::clone(&identity.provider),
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            times: Times::default(),
            user_agent: Some(HeaderValue::from_static(USER_AGENT)),
            head_limits: HeadLimits::default(),
            idle: Idle::default(),
            rules: OriginRules::default(),
            trust: TrustSource::default(),
            tls: TlsConfig::default(),
        }
    }
}

impl Options {
    #[cfg(test)]
    pub(super) fn resolving_within(limit: Duration) -> Self {
        Self { times: Times { resolve: limit, ..Times::default() }, ..Self::default() }
    }

    pub(super) fn name_lifetime(&self) -> Duration {
        self.times.name_lifetime
    }

    /// What ureq is told, with this for TLS.
    pub(super) fn config(&self, tls: TlsConfig) -> Config {
        let (times, idle) = (&self.times, self.idle);
        Config::builder()
            // A response is a response, whatever its status, and redirects are the client's.
            .http_status_as_error(false)
            .max_redirects(0)
            // Otherwise taken from the environment.
            .proxy(None)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .no_delay(true)
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .output_buffer_size(OUTPUT_BUFFER_BYTES)
            .max_idle_connections(idle.of_shard())
            .max_idle_connections_per_host(idle.of_each)
            .max_idle_age(Duration::from_secs(20))
            .timeout_resolve(Some(times.resolve.min(LONGEST)))
            .timeout_connect(Some(times.connect.min(LONGEST)))
            // The other limits are those of the exchange: ureq fixes its own before the head is there.
            .timeout_per_write(Some(times.write.min(LONGEST)))
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
