//! What a front proves itself with, and whom it lets in.

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

/// The certificate and the key with which a front speaks TLS, and whose clients it serves. All of it comes
/// from PEM files, which are read at once and again by [`reload`](Self::reload).
///
/// TLS 1.2 and 1.3, preferably with AES-128, and HTTP/1.1 within. Lists of revoked certificates are not looked at: a client that is to
/// be shut out before its certificate ends needs an authority that signed for nobody else.
///
/// Cloning is cheap and gives the same one: what is reloaded by one is reloaded for all.
///
/// ```no_run
/// use forwardcache::ServerTls;
///
/// let tls = ServerTls::from_files("peer.pem", "peer.key")?.client_certificates_from("pool-ca.pem")?;
/// // When the files have changed:
/// tls.reload()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "it is what a front is given to serve with"]
pub struct ServerTls {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    /// Held while the files are read, so that what was read last is what stays.
    reloading: Mutex<()>,
    served: RwLock<Arc<Served>>,
}

/// What connections are served with, from one reading of the files to the next. Its sessions are its own: none that
/// began with other files can be resumed.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) config: Arc<ServerConfig>,
    /// Who says which clients are served, if not all.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    sessions: Arc<Sessions>,
}

#[derive(Clone, Debug)]
struct Files {
    identity: IdentitySource,
    client_roots: Option<Pem>,
}

impl ServerTls {
    /// From a PEM file with the certificate, followed by those that lead to a root, and one with its key
    /// in PKCS#8, PKCS#1 or SEC1, not encrypted. Both may be the same file. Any client is served.
    ///
    /// ```
    /// use forwardcache::{ErrorKind, ServerTls};
    ///
    /// let error = ServerTls::from_files("/no/such.pem", "/no/such.key").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BadOption);
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] when a file cannot be read, is not PEM, holds no certificate or no key or
    /// one that cannot be used, and when the key does not belong to the first certificate.
    pub fn from_files(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self> {
        let (certificates, key) = (Pem::File(certificates.into()), Pem::File(key.into()));
        Self::read(Files { identity: IdentitySource { certificates, key }, client_roots: None })
    }

    /// The same one, for a front that serves those clients alone which show a certificate that one of the
    /// root certificates in this PEM file signed, directly or through others that the client shows too. A
    /// handshake without one fails. Any name will do, and the certificate must be good for clients, if it says what it
    /// is good for. A client that resumes a session shows none: the one of the session is checked again then.
    ///
    /// Clones that were made before serve any client as they did. Default: any client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadOption`] when the file cannot be read, is not PEM, or holds no certificate or one that
    /// cannot be used; and as [`from_files`](Self::from_files), for the files are read together.
    pub fn client_certificates_from(self, roots: impl Into<PathBuf>) -> Result<Self> {
        Self::read(Files { client_roots: Some(Pem::File(roots.into())), ..self.inner.files.clone() })
    }

    /// Whether it serves those alone who show a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.inner.files.client_roots.is_some()
    }

    /// Reads all files again. Connections that come afterwards get what they hold then; no session of before
    /// is resumed. Those that are open keep what they have, also when their client would not be let in
    /// any more.
    ///
    /// # Errors
    ///
    /// As [`from_files`](Self::from_files) and
    /// [`client_certificates_from`](Self::client_certificates_from). Nothing is changed then: what was read
    /// before goes on to be used. A key that was replaced before its certificate is such a failure, and
    /// gone when the other file is there too.
    pub fn reload(&self) -> Result<()> {
        let _one_at_a_time = self.inner.reloading.lock();
        let served = self.inner.files.read()?;
        *self.inner.served.write() = served;
        Ok(())
    }

    fn read(files: Files) -> Result<Self> {
        let served = RwLock::new(files.read()?);
        Ok(Self { inner: Arc::new(Inner { files, reloading: Mutex::new(()), served }) })
    }

    /// What the next connection is served with.
    pub(crate) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.inner.served.read())
    }
}

impl Served {
    /// Whether clients have to show certificates.
    pub(crate) fn verifies(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether a client may be served whose handshake is done. One that resumes a session has shown its certificate when
    /// the session began, and gets a new session each time: a certificate that was good once would be good for as long as
    /// its client comes back.
    ///
    /// Where it is good no more, no session is resumed that began before: the next handshake of each client is a whole
    /// one, also of this client, which may have a new certificate by now.
    pub(crate) fn admits(&self, session: &ServerConnection, now: UnixTime) -> bool {
        let Some(verifier) = &self.verifier else { return true };
        if session.handshake_kind() != Some(HandshakeKind::Resumed) {
            return true;
        }
        let is_good =
            session.peer_certificates().and_then(<[_]>::split_first).is_some_and(|(own, others)| {
                let verified = verifier.verify_client_cert(own, others, now);
                verified.inspect_err(|error| log::debug!("a session is not resumed: {error}")).is_ok()
            });
        if !is_good {
            self.sessions.clear();
        }
        is_good
    }
}

impl Files {
    fn read(&self) -> Result<Arc<Served>> {
        let Identity { certified, provider, .. } = self.identity.read()?;
        let builder = ServerConfig::builder_with_provider(Arc::new(quick(&provider)))
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
        // Each connection that resumes a session takes it away, and leaves one.
        config.send_tls13_tickets = 1;
        // Who speaks only something else is told so in the handshake, and not by bytes that mean nothing.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Served { config: Arc::new(config), verifier, sessions }))
    }
}

/// The same cryptography, with the cipher first that costs least: AES-128 with SHA-256, for which most processors have
/// instructions, also for the keys of a handshake. Each client of TLS 1.3 has it (RFC 8446 section 9.1); most put one first
/// with SHA-384, for which few processors have any.
fn quick(provider: &CryptoProvider) -> CryptoProvider {
    const QUICK: [CipherSuite; 3] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut provider = provider.clone();
    provider.cipher_suites.sort_by_key(|suite| !QUICK.contains(&suite.suite()));
    provider
}

/// What is left to go wrong once the files are good: cryptography of the program's own choice.
fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::BadOption, format!("TLS cannot be served: {error}")).with_source(error)
}

/// The files, and nothing of what is in them.
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
mod tests {
    use std::fs;
    use std::io;
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        AlertDescription, CertificateError, ClientConfig, ClientConnection, SupportedProtocolVersion,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::base::tls::provider;
    use crate::base::tls::testing::{Authority, Made};

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

    /// The files of a front, which tests write and break.
    struct Folder(TempDir);

    impl Folder {
        fn new(made: &Made) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.replace(made);
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn replace(&self, made: &Made) {
            self.write("certificate", &made.certificate);
            self.write("key", &made.key);
        }

        fn tls(&self) -> Result<ServerTls> {
            ServerTls::from_files(self.path("certificate"), self.path("key"))
        }

        fn tls_for_clients_of(&self, authority: &Authority) -> ServerTls {
            self.write("roots", &authority.certificate);
            self.tls().unwrap().client_certificates_from(self.path("roots")).unwrap()
        }
    }

    fn client(
        trusts: &Authority,
        shows: Option<&Made>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusts.certificate.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(made) => {
                let chain = vec![CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }

    /// Both ends of a connection, with nothing between them.
    struct Connected {
        client: ClientConnection,
        server: ServerConnection,
    }

    impl Connected {
        /// The first end that refuses, and why.
        fn new(tls: &ServerTls, client: &Arc<ClientConfig>) -> Result<Self, rustls::Error> {
            let name = "localhost".try_into().unwrap();
            let mut both = Self {
                client: ClientConnection::new(Arc::clone(client), name).unwrap(),
                server: ServerConnection::new(Arc::clone(&tls.served().config)).unwrap(),
            };
            both.exchange()?;
            assert!(!both.client.is_handshaking() && !both.server.is_handshaking());
            Ok(both)
        }

        /// Until neither has anything to say.
        fn exchange(&mut self) -> Result<(), rustls::Error> {
            let mut wire = Vec::new();
            loop {
                while self.client.wants_write() {
                    self.client.write_tls(&mut wire).unwrap();
                }
                let silent = wire.is_empty();
                feed(&wire, |bytes| self.server.read_tls(bytes));
                self.server.process_new_packets()?;
                wire.clear();
                while self.server.wants_write() {
                    self.server.write_tls(&mut wire).unwrap();
                }
                if silent && wire.is_empty() {
                    return Ok(());
                }
                feed(&wire, |bytes| self.client.read_tls(bytes));
                self.client.process_new_packets()?;
                wire.clear();
            }
        }

        fn is_resumed(&self) -> bool {
            self.server.handshake_kind() == Some(HandshakeKind::Resumed)
        }

        fn certificate(&self) -> &CertificateDer<'static> {
            &self.client.peer_certificates().unwrap()[0]
        }
    }

    fn feed(mut wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> io::Result<usize>) {
        while !wire.is_empty() {
            read(&mut wire).unwrap();
        }
    }

    fn der(made: &Made) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()
    }

    /// All authorities are called the same here: it is the signature that tells.
    fn another_authority() -> rustls::Error {
        CertificateError::BadSignature.into()
    }

    fn refusal(tls: &ServerTls, client: &Arc<ClientConfig>) -> rustls::Error {
        Connected::new(tls, client).err().expect("the handshake fails")
    }

    #[test]
    fn the_cipher_that_costs_least_is_taken() {
        let authority = Authority::new();
        let tls = Folder::new(&authority.sign("localhost")).tls().unwrap();
        for version in VERSIONS {
            let both = Connected::new(&tls, &client(&authority, None, version)).unwrap();
            let suite = both.server.negotiated_cipher_suite().unwrap().suite();
            assert!(format!("{suite:?}").ends_with("AES_128_GCM_SHA256"), "{suite:?}");
        }
    }

    #[test]
    fn who_trusts_the_root_is_served() {
        let authority = Authority::new();
        let tls = Folder::new(&authority.sign("localhost")).tls().unwrap();
        for version in VERSIONS {
            Connected::new(&tls, &client(&authority, None, version)).unwrap();
            let error = refusal(&tls, &client(&Authority::new(), None, version));
            assert_eq!(error, another_authority());
        }
    }

    #[test]
    fn nothing_but_http_1_1_is_spoken() {
        let authority = Authority::new();
        let tls = Folder::new(&authority.sign("localhost")).tls().unwrap();
        let speaking = |protocols: &[&[u8]]| {
            let mut config = client(&authority, None, &TLS13);
            Arc::make_mut(&mut config).alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            config
        };
        let both = Connected::new(&tls, &speaking(&[b"h2", b"http/1.1"])).unwrap();
        assert_eq!(both.server.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(refusal(&tls, &speaking(&[b"h2"])), rustls::Error::NoApplicationProtocol);
    }

    #[test]
    fn who_has_to_show_a_certificate_shows_a_good_one() {
        let (authority, of_clients) = (Authority::new(), Authority::new());
        let folder = Folder::new(&authority.sign("localhost"));
        let tls = folder.tls_for_clients_of(&of_clients);
        for version in VERSIONS {
            let good = of_clients.sign("a client");
            let both = Connected::new(&tls, &client(&authority, Some(&good), version)).unwrap();
            assert_eq!(both.server.peer_certificates(), Some(&[der(&good)][..]));

            assert_eq!(
                refusal(&tls, &client(&authority, None, version)),
                rustls::Error::NoCertificatesPresented
            );
            let of_another = authority.sign("a client");
            assert_eq!(refusal(&tls, &client(&authority, Some(&of_another), version)), another_authority());
            let expired = of_clients.sign_until("a client", 2020);
            let error = refusal(&tls, &client(&authority, Some(&expired), version));
            assert!(matches!(
                error,
                rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
            ));
        }
    }

    #[test]
    fn what_is_reloaded_is_for_those_who_come_later() {
        let authority = Authority::new();
        let (before, after) = (authority.sign("localhost"), authority.sign("localhost"));
        let folder = Folder::new(&before);
        let tls = folder.tls().unwrap();
        let client = client(&authority, None, &TLS13);
        let mut early = Connected::new(&tls, &client).unwrap();
        folder.replace(&after);
        assert_eq!(*Connected::new(&tls, &client).unwrap().certificate(), der(&before));

        tls.clone().reload().unwrap();
        assert_eq!(*Connected::new(&tls, &client).unwrap().certificate(), der(&after));
        io::Write::write_all(&mut early.client.writer(), b"still here").unwrap();
        early.exchange().unwrap();
        let mut text = [0; 10];
        io::Read::read_exact(&mut early.server.reader(), &mut text).unwrap();
        assert_eq!(&text, b"still here");
    }

    #[test]
    fn a_session_is_resumed_until_the_files_are_read_again() {
        let authority = Authority::new();
        let folder = Folder::new(&authority.sign("localhost"));
        let tls = folder.tls().unwrap();
        for version in VERSIONS {
            let client = client(&authority, None, version);
            for _ in 0..2 {
                assert!(!Connected::new(&tls, &client).unwrap().is_resumed());
                assert!(Connected::new(&tls, &client).unwrap().is_resumed());
                tls.reload().unwrap();
            }
        }
    }

    #[test]
    fn a_session_is_resumed_for_as_long_as_the_certificate_of_its_client_is_good() {
        let (authority, of_clients) = (Authority::new(), Authority::new());
        let folder = Folder::new(&authority.sign("localhost"));
        let tls = folder.tls_for_clients_of(&of_clients);
        let (now, later) =
            (UnixTime::now(), UnixTime::since_unix_epoch(Duration::from_secs(100_000_000_000)));
        for version in VERSIONS {
            let certificate = of_clients.sign("a client");
            let [client, another] = [(); 2].map(|()| client(&authority, Some(&certificate), version));
            let served = tls.served();
            for who in [&client, &another] {
                let both = Connected::new(&tls, who).unwrap();
                assert!(!both.is_resumed() && served.admits(&both.server, now));
                // It was checked in the handshake.
                assert!(served.admits(&both.server, later));
            }
            for _ in 0..3 {
                let both = Connected::new(&tls, &client).unwrap();
                assert!(both.is_resumed() && served.admits(&both.server, now));
                assert_eq!(both.server.peer_certificates(), Some(&[der(&certificate)][..]));
            }
            let both = Connected::new(&tls, &client).unwrap();
            assert!(both.is_resumed() && !served.admits(&both.server, later));
            for who in [&client, &another] {
                assert!(!Connected::new(&tls, who).unwrap().is_resumed());
                assert!(Connected::new(&tls, who).unwrap().is_resumed());
            }

            folder.write("roots", &authority.certificate);
            tls.reload().unwrap();
            assert_eq!(refusal(&tls, &client), another_authority());
            folder.write("roots", &of_clients.certificate);
            tls.reload().unwrap();
            assert!(!Connected::new(&tls, &client).unwrap().is_resumed());
        }
    }

    #[test]
    fn a_reload_that_fails_changes_nothing() {
        let authority = Authority::new();
        let before = authority.sign("localhost");
        let folder = Folder::new(&before);
        let tls = folder.tls_for_clients_of(&authority);
        let client = client(&authority, Some(&authority.sign("a client")), &TLS13);
        for (name, text, says) in [
            ("certificate", "", "there is no certificate in "),
            ("key", "", "there is no private key in "),
            ("key", &authority.sign("localhost").key, "does not belong to the first certificate in "),
            ("key", &before.certificate, "there is no private key in "),
            ("roots", "", "there is no root certificate in "),
        ] {
            let good = fs::read_to_string(folder.path(name)).unwrap();
            folder.write(name, text);
            let error = tls.reload().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadOption);
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().contains(folder.path(name).to_str().unwrap()), "{error}");
            assert_eq!(*Connected::new(&tls, &client).unwrap().certificate(), der(&before));
            folder.write(name, &good);
        }
        tls.reload().unwrap();
    }

    #[test]
    fn files_are_checked_at_once() {
        let authority = Authority::new();
        let folder = Folder::new(&authority.sign("localhost"));
        folder.write("roots", "");
        let error = folder.tls().unwrap().client_certificates_from(folder.path("roots")).unwrap_err();
        assert!(error.to_string().contains("there is no root certificate in "), "{error}");
        folder.write("key", &authority.sign("localhost").key);
        assert!(folder.tls().unwrap_err().to_string().contains("does not belong"));
        fs::remove_file(folder.path("key")).unwrap();
        assert!(folder.tls().unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn no_key_is_shown() {
        let made = Authority::new().sign("localhost");
        let folder = Folder::new(&made);
        let text = format!("{:?}", folder.tls().unwrap());
        assert!(text.contains("certificate") && !text.contains(made.key.lines().nth(1).unwrap()), "{text}");
    }

    #[test]
    fn who_is_refused_is_told_why() {
        let authority = Authority::new();
        let folder = Folder::new(&authority.sign("localhost"));
        let tls = folder.tls_for_clients_of(&authority);
        let mut client =
            ClientConnection::new(client(&authority, None, &TLS13), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&tls.served().config)).unwrap();
        let mut refused = false;
        while !refused {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            feed(&wire, |bytes| server.read_tls(bytes));
            refused = server.process_new_packets().is_err();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            feed(&wire, |bytes| client.read_tls(bytes));
            let told = client.process_new_packets().err();
            let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
            assert_eq!(told, refused.then_some(alert));
        }
    }
}
