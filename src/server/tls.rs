//! [`ServerTls`]: the server's certificate and key, and the verification of clients.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{CipherSuite, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

use super::sessions::Sessions;

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::tls::{Identity, IdentitySource, Pem, add_roots};

/// The certificate and key of a TLS server, and which clients it accepts. All of it comes from PEM files,
/// which the constructor reads and [`reload`](Self::reload) reads again.
///
/// Supports TLS 1.2 and 1.3 (AES-128 preferred) and HTTP/1.1 only. Does not check revocation lists. To lock
/// out one client before its certificate expires, that certificate must come from an authority that signed no
/// others, so that you can remove the authority.
///
/// Clones share their state: a reload through one clone takes effect for all.
///
/// ```no_run
/// use forwardcache::server::ServerTls;
///
/// let tls = ServerTls::from_files("peer.pem", "peer.key")?.client_certificates_from("pool-ca.pem")?;
/// // When the files have changed:
/// tls.reload()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "pass it to ServerConfig::tls"]
pub struct ServerTls {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    /// Held while files are read, so that concurrent reloads cannot install an older reading.
    reloading: Mutex<()>,
    state: RwLock<Arc<TlsState>>,
}

/// The TLS state of new connections, from one reading of the files to the next. Each state has its own
/// session cache, so a session cannot be resumed after a reload.
#[derive(Debug)]
pub(crate) struct TlsState {
    pub(crate) config: Arc<ServerConfig>,
    /// Verifies client certificates; `None` accepts any client.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    sessions: Arc<Sessions>,
}

#[derive(Clone, Debug)]
struct Files {
    identity: IdentitySource,
    client_roots: Option<Pem>,
}

impl ServerTls {
    /// Reads a PEM file with the certificate and its chain, and a PEM file with the unencrypted key in
    /// PKCS#8, PKCS#1 or SEC1. Both may be the same file. Accepts any client.
    ///
    /// ```
    /// use forwardcache::server::ServerTls;
    /// use forwardcache::ErrorKind;
    ///
    /// let error = ServerTls::from_files("/no/such.pem", "/no/such.key").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BadOption);
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if a file cannot be read, is not PEM, has no certificate or key, has an
    /// unusable one, or if the key does not belong to the first certificate.
    pub fn from_files(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self> {
        let (certificates, key) = (Pem::File(certificates.into()), Pem::File(key.into()));
        Self::read(Files { identity: IdentitySource { certificates, key }, client_roots: None })
    }

    /// Requires a certificate from each client, signed directly or through intermediates by a root
    /// certificate in this PEM file. A handshake without one fails. Any subject name is accepted; if the
    /// certificate lists its purposes, client authentication must be among them. If a client resumes a
    /// session, the certificate of that session is verified again.
    ///
    /// Earlier clones continue to accept any client. Default: any client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] if the file cannot be read, is not PEM, or has no certificate or an unusable
    /// one; also the errors of [`from_files`](Self::from_files), because all files are read together.
    pub fn client_certificates_from(self, roots: impl Into<PathBuf>) -> Result<Self> {
        Self::read(Files { client_roots: Some(Pem::File(roots.into())), ..self.inner.files.clone() })
    }

    /// Returns whether the configuration requires client certificates.
    pub(crate) fn requires_certificates(&self) -> bool {
        self.inner.files.client_roots.is_some()
    }

    /// Reads all files again for later connections, which cannot resume earlier sessions. Open connections
    /// continue, even if their client would no longer be accepted.
    ///
    /// # Errors
    ///
    /// The errors of [`from_files`](Self::from_files) and
    /// [`client_certificates_from`](Self::client_certificates_from). The previous state then stays in use.
    /// Reloading after the key was replaced but before the certificate was fails in this way, and succeeds
    /// once both files are replaced.
    pub fn reload(&self) -> Result<()> {
        let _one_at_a_time = self.inner.reloading.lock();
        let state = self.inner.files.read()?;
        *self.inner.state.write() = state;
        Ok(())
    }

    fn read(files: Files) -> Result<Self> {
        let state = RwLock::new(files.read()?);
        Ok(Self { inner: Arc::new(Inner { files, reloading: Mutex::new(()), state }) })
    }

    /// Returns the TLS state for the next connection.
    pub(crate) fn state(&self) -> Arc<TlsState> {
        Arc::clone(&self.inner.state.read())
    }
}

impl TlsState {
    /// Returns whether this state requires client certificates.
    pub(crate) fn requires_certificates(&self) -> bool {
        self.verifier.is_some()
    }

    /// Returns whether a client may be served after its handshake. A full handshake has verified the
    /// certificate already. A client that resumes a session showed its certificate when the session began,
    /// and gets a new session each time. Without another check here, a certificate would stay valid as long
    /// as its client keeps coming back.
    ///
    /// If the certificate is no longer valid, all sessions are discarded, so that every client makes a full
    /// handshake next. This client may have a new certificate by then.
    pub(crate) fn verify_resumed_session(&self, session: &ServerConnection, now: UnixTime) -> bool {
        let Some(verifier) = &self.verifier else { return true };
        if session.handshake_kind() != Some(HandshakeKind::Resumed) {
            return true;
        }
        let is_good =
            session.peer_certificates().and_then(<[_]>::split_first).is_some_and(|(own, others)| {
                let verified = verifier.verify_client_cert(own, others, now);
                verified.inspect_err(|error| log::debug!("a TLS session cannot be resumed: {error}")).is_ok()
            });
        if !is_good {
            self.sessions.clear();
        }
        is_good
    }
}

impl Files {
    fn read(&self) -> Result<Arc<TlsState>> {
        let Identity { certified, provider, .. } = self.identity.read()?;
        let builder = ServerConfig::builder_with_provider(Arc::new(prefer_cheap_ciphers(&provider)))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let verifier = self.client_roots.as_ref().map(|pem| {
            let mut roots = RootCertStore::empty();
            add_roots(&mut roots, pem)?;
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(unusable)
        });
        let verifier = verifier.transpose()?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let sessions = Arc::new(Sessions::default());
        config.ignore_client_order = true;
        config.session_storage = Arc::clone(&sessions) as _;
        // Each resumption uses up one session and creates one.
        config.send_tls13_tickets = 1;
        // A client without HTTP/1.1 learns it in the handshake instead of from unreadable bytes.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(TlsState { config: Arc::new(config), verifier, sessions }))
    }
}

/// Moves the cheapest cipher suites to the front: AES-128 with SHA-256, for which most processors have
/// instructions, also for the keys of a handshake. Each client of TLS 1.3 supports it (RFC 8446 section 9.1),
/// but most clients prefer a suite with SHA-384, for which few processors have instructions.
fn prefer_cheap_ciphers(provider: &CryptoProvider) -> CryptoProvider {
    const CHEAP: [CipherSuite; 3] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut provider = provider.clone();
    provider.cipher_suites.sort_by_key(|suite| !CHEAP.contains(&suite.suite()));
    provider
}

/// Builds the error for a TLS configuration that the cryptography provider rejects.
fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::BadOption, "cannot configure TLS").with_source(error)
}

/// Shows the paths of the files, never their contents.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Files { identity, client_roots } = &self.inner.files;
        f.debug_struct("ServerTls")
            .field("certificates", &identity.certificates)
            .field("key", &identity.key)
            .field("client_roots", client_roots)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
