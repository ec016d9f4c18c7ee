//! The options of an [`Origin`](super::Origin), and the configuration for ureq.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::crypto::CryptoProvider;
use ureq::config::Config;
use ureq::tls::{Certificate, ClientCert, PrivateKey, TlsConfig};

use super::connections::IdleLimits;
use super::head::HeadLimits;
use super::roots::Roots;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::{Identity, IdentitySource, Pem};
use crate::origin::access::OriginRules;

/// The size of the input buffer of a connection, in bytes.
const INPUT_BUFFER_BYTES: usize = 16 * 1024;

/// The size of the output buffer, in bytes. Each line of a request (start line or field) has to fit.
pub(super) const OUTPUT_BUFFER_BYTES: usize = 32 * 1024;

/// The `User-Agent` for requests that have none.
pub(super) const USER_AGENT: &str =
    concat!("forwardcache/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// The longest time limit that ureq receives. ureq adds limits to the current time without a check for
/// overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);

/// The sources of the root certificates and the client certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustSource {
    pub(super) without_web_roots: bool,
    pub(super) roots: Vec<Pem>,
    pub(super) identity: Option<IdentitySource>,
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

/// The time limits of an origin.
#[derive(Clone, Debug)]
pub(super) struct Timeouts {
    pub(super) resolve: Duration,
    pub(super) connect: Duration,
    /// The time up to the end of the response head.
    pub(super) response: Duration,
    /// The longest silence within a body.
    pub(super) read: Duration,
    /// The longest silence within an event stream.
    pub(super) stream: Duration,
    pub(super) write: Duration,
    pub(super) whole: Option<Duration>,
    pub(super) name_lifetime: Duration,
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
        let key = PrivateKey::from_pem(&identity.key_text).map_err(|_| {
            Error::new(ErrorKind::BadOption, "cannot use the private key of the client certificate")
        })?;
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
