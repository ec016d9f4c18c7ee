use std::fs;
use std::io;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, SupportedProtocolVersion};
use tempfile::TempDir;

use super::*;
use crate::base::tls::provider;
use crate::base::tls::testing::{Authority, Made};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The PEM files of a test server.
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

/// A TLS client and server connected in memory.
struct Connected {
    client: ClientConnection,
    server: ServerConnection,
}

impl Connected {
    /// Completes the handshake, or returns the first error.
    fn new(tls: &ServerTls, client: &Arc<ClientConfig>) -> Result<Self, rustls::Error> {
        let name = "localhost".try_into().unwrap();
        let mut both = Self {
            client: ClientConnection::new(Arc::clone(client), name).unwrap(),
            server: ServerConnection::new(Arc::clone(&tls.state().config)).unwrap(),
        };
        both.exchange()?;
        assert!(!both.client.is_handshaking() && !both.server.is_handshaking());
        Ok(both)
    }

    /// Passes bytes between both ends until neither has more to send.
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

/// All test authorities have the same name, so a foreign certificate fails by its signature.
fn another_authority() -> rustls::Error {
    CertificateError::BadSignature.into()
}

fn rejection(tls: &ServerTls, client: &Arc<ClientConfig>) -> rustls::Error {
    Connected::new(tls, client).err().expect("the handshake fails")
}

#[test]
fn the_cheapest_cipher_suite_is_preferred() {
    let authority = Authority::new();
    let tls = Folder::new(&authority.sign("localhost")).tls().unwrap();
    for version in VERSIONS {
        let both = Connected::new(&tls, &client(&authority, None, version)).unwrap();
        let suite = both.server.negotiated_cipher_suite().unwrap().suite();
        assert!(format!("{suite:?}").ends_with("AES_128_GCM_SHA256"), "{suite:?}");
    }
}

#[test]
fn a_client_that_trusts_the_root_is_served() {
    let authority = Authority::new();
    let tls = Folder::new(&authority.sign("localhost")).tls().unwrap();
    for version in VERSIONS {
        Connected::new(&tls, &client(&authority, None, version)).unwrap();
        let error = rejection(&tls, &client(&Authority::new(), None, version));
        assert_eq!(error, another_authority());
    }
}

#[test]
fn only_http_1_1_is_negotiated() {
    let authority = Authority::new();
    let tls = Folder::new(&authority.sign("localhost")).tls().unwrap();
    let speaking = |protocols: &[&[u8]]| {
        let mut config = client(&authority, None, &TLS13);
        Arc::make_mut(&mut config).alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    };
    let both = Connected::new(&tls, &speaking(&[b"h2", b"http/1.1"])).unwrap();
    assert_eq!(both.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(rejection(&tls, &speaking(&[b"h2"])), rustls::Error::NoApplicationProtocol);
}

#[test]
fn a_required_client_certificate_must_be_valid() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let folder = Folder::new(&authority.sign("localhost"));
    let tls = folder.tls_for_clients_of(&of_clients);
    for version in VERSIONS {
        let good = of_clients.sign("a client");
        let both = Connected::new(&tls, &client(&authority, Some(&good), version)).unwrap();
        assert_eq!(both.server.peer_certificates(), Some(&[der(&good)][..]));

        assert_eq!(
            rejection(&tls, &client(&authority, None, version)),
            rustls::Error::NoCertificatesPresented
        );
        let of_another = authority.sign("a client");
        assert_eq!(rejection(&tls, &client(&authority, Some(&of_another), version)), another_authority());
        let expired = of_clients.sign_until("a client", 2020);
        let error = rejection(&tls, &client(&authority, Some(&expired), version));
        assert!(matches!(error, rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })));
    }
}

#[test]
fn a_reload_takes_effect_for_later_connections() {
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
fn a_session_is_resumed_until_a_reload() {
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
fn a_session_is_resumed_while_the_client_certificate_is_valid() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let folder = Folder::new(&authority.sign("localhost"));
    let tls = folder.tls_for_clients_of(&of_clients);
    let (now, later) = (UnixTime::now(), UnixTime::since_unix_epoch(Duration::from_secs(100_000_000_000)));
    for version in VERSIONS {
        let certificate = of_clients.sign("a client");
        let [client, another] = [(); 2].map(|()| client(&authority, Some(&certificate), version));
        let state = tls.state();
        for who in [&client, &another] {
            let both = Connected::new(&tls, who).unwrap();
            assert!(!both.is_resumed() && state.verify_resumed_session(&both.server, now));
            // The handshake has verified the certificate, so the time does not matter.
            assert!(state.verify_resumed_session(&both.server, later));
        }
        for _ in 0..3 {
            let both = Connected::new(&tls, &client).unwrap();
            assert!(both.is_resumed() && state.verify_resumed_session(&both.server, now));
            assert_eq!(both.server.peer_certificates(), Some(&[der(&certificate)][..]));
        }
        let both = Connected::new(&tls, &client).unwrap();
        assert!(both.is_resumed() && !state.verify_resumed_session(&both.server, later));
        for who in [&client, &another] {
            assert!(!Connected::new(&tls, who).unwrap().is_resumed());
            assert!(Connected::new(&tls, who).unwrap().is_resumed());
        }

        folder.write("roots", &authority.certificate);
        tls.reload().unwrap();
        assert_eq!(rejection(&tls, &client), another_authority());
        folder.write("roots", &of_clients.certificate);
        tls.reload().unwrap();
        assert!(!Connected::new(&tls, &client).unwrap().is_resumed());
    }
}

#[test]
fn a_failed_reload_changes_nothing() {
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
fn invalid_files_are_reported_at_construction() {
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
fn debug_output_has_no_key() {
    let made = Authority::new().sign("localhost");
    let folder = Folder::new(&made);
    let text = format!("{:?}", folder.tls().unwrap());
    assert!(text.contains("certificate") && !text.contains(made.key.lines().nth(1).unwrap()), "{text}");
}

#[test]
fn a_rejected_client_gets_an_alert() {
    let authority = Authority::new();
    let folder = Folder::new(&authority.sign("localhost"));
    let tls = folder.tls_for_clients_of(&authority);
    let mut client =
        ClientConnection::new(client(&authority, None, &TLS13), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(&tls.state().config)).unwrap();
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
