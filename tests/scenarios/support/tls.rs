//! The scripted origin behind TLS, with its own certificate authority.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::NamedTempFile;

use super::origin::{Origin, Received, Reply, Socket, Stream, in_order};

/// An [`Origin`] that uses TLS, for `localhost` and `127.0.0.1`. Its certificate is signed by a certificate authority
/// created for this origin.
pub(crate) struct TlsOrigin {
    origin: Origin,
    ca_pem: String,
    ca_file: NamedTempFile,
    client_file: NamedTempFile,
}

impl TlsOrigin {
    /// Like [`Origin::start`].
    pub(crate) fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_as(false, handler)
    }

    /// Like [`start`](Self::start), but accepts only clients with a certificate of the same authority.
    pub(crate) fn start_with_client_auth(
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_as(true, handler)
    }

    fn start_as(
        requires_client_auth: bool,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let Certified { ca_pem, client_pem, config, .. } = certified(requires_client_auth);
        let (ca_file, client_file) = (file(&ca_pem), file(&client_pem));
        let layer = move |socket| -> io::Result<Box<dyn Stream>> {
            let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok(Box::new(TlsStream(StreamOwned::new(session, socket))))
        };
        Self { origin: Origin::start_over("https", layer, handler), ca_pem, ca_file, client_file }
    }

    /// Like [`Origin::replies`].
    pub(crate) fn replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(in_order(replies))
    }

    /// Like [`Origin::may_be_unused`].
    pub(crate) fn may_be_unused(self) -> Self {
        Self { origin: self.origin.may_be_unused(), ..self }
    }

    /// Returns the URL of a path with the host `localhost`; [`url`](Origin::url) uses the address instead.
    pub(crate) fn url_by_name(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address().port())
    }

    /// Returns the certificate of the authority.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A file with the certificate of the authority. It exists as long as the origin.
    pub(crate) fn ca_file(&self) -> &Path {
        self.ca_file.path()
    }

    /// A file with a client certificate signed by this authority and its key. It exists as long as the origin.
    pub(crate) fn client_file(&self) -> &Path {
        self.client_file.path()
    }
}

impl Deref for TlsOrigin {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        &self.origin
    }
}

/// Returns a TLS client for the server with this name, which trusts only the authority in the file.
pub(crate) fn client(ca_file: &Path, name: &'static str) -> rustls::ClientConnection {
    use rustls::pki_types::pem::PemObject;
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca_file).expect("the file is PEM");
    roots.add(authority).expect("the authority is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = name.try_into().expect("the name is valid");
    rustls::ClientConnection::new(Arc::new(config), name).expect("the configuration is complete")
}

/// A certificate authority for one test, with a server certificate for `localhost` and `127.0.0.1` and a client
/// certificate, each with its key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_file: NamedTempFile,
    server_file: NamedTempFile,
    client_file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let Certified { issuer, ca_pem, server_pem, client_pem, .. } = certified(false);
        let [ca_file, server_file, client_file] = [&ca_pem, &server_pem, &client_pem].map(|pem| file(pem));
        Self { issuer, ca_file, server_file, client_file }
    }

    /// Like [`new`](Self::new), with a client certificate that is valid for this time from now on, in whole seconds.
    pub(crate) fn with_client_for(time: Duration) -> Self {
        let mut authority = Self::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
        let until = Duration::from_secs((now + time).as_secs());
        authority.client_file = file(&client_of(&authority.issuer, Some(until)));
        authority
    }

    pub(crate) fn ca_file(&self) -> &Path {
        self.ca_file.path()
    }

    /// Returns a TLS client for the server, which trusts only this authority.
    pub(crate) fn client(&self, name: &'static str) -> rustls::ClientConnection {
        client(self.ca_file(), name)
    }

    pub(crate) fn server_file(&self) -> &Path {
        self.server_file.path()
    }

    pub(crate) fn client_file(&self) -> &Path {
        self.client_file.path()
    }
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text.as_bytes()).expect("a temporary file can be written");
    file
}

struct TlsStream(StreamOwned<ServerConnection, Socket>);

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for TlsStream {
    fn socket(&self) -> &TcpStream {
        self.0.sock.socket()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()
    }
}

/// The certificates and keys of an authority, in PEM, and the configuration of its server.
struct Certified {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    server_pem: String,
    client_pem: String,
    config: Arc<ServerConfig>,
}

/// Creates a client certificate with its key, valid until this time after 1970.
fn client_of(issuer: &Issuer<'static, KeyPair>, until: Option<Duration>) -> String {
    let mut client = CertificateParams::new(Vec::new()).expect("an empty list of names is valid");
    if let Some(until) = until {
        client.not_after = date_time_ymd(1970, 1, 1) + until;
    }
    let key = KeyPair::generate().expect("a key can be made");
    client.signed_by(&key, issuer).expect("the authority signs").pem() + &key.serialize_pem()
}

fn certified(requires_client_auth: bool) -> Certified {
    let mut authority = CertificateParams::new(Vec::new()).expect("an empty list of names is valid");
    // OpenSSL selects an authority by its name.
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("authority {} for one test", NUMBER.fetch_add(1, Ordering::Relaxed));
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate().expect("a key can be made");
    let ca = authority.self_signed(&authority_key).expect("a key signs its own certificate");
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let server = CertificateParams::new(names).expect("the names are valid");
    let server_key = KeyPair::generate().expect("a key can be made");
    let certificate = server.signed_by(&server_key, &issuer).expect("the authority signs");
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));

    let client_pem = client_of(&issuer, None);

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for the default versions");
    let builder = if requires_client_auth {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).expect("the certificate is that of an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(chain, key).expect("the key matches the certificate");
    Certified {
        ca_pem: ca.pem(),
        server_pem: certificate.pem() + &server_key.serialize_pem(),
        client_pem,
        issuer,
        config: Arc::new(config),
    }
}
