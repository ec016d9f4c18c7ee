//! A TLS client, and the rate of handshakes of a server: each connection sends one request for a small body.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, StreamOwned,
};

use crate::Result;
use crate::client::Connection;
use crate::interruption;
use crate::servers::{SMALL, Server};
use crate::wrk::LoadResult;

/// The number of concurrent clients.
const CLIENTS: u32 = 8;

/// Creates a server certificate with an ECDSA P-256 key, both in one file.
pub(crate) fn make_certificate(folder: &Path) -> Result<PathBuf> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let file = folder.join("server.pem");
    fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem())?;
    Ok(file)
}

/// TLS 1.3 with X25519. Any certificate is accepted, because verification by the client is not measured.
pub(crate) fn config(resumes: bool) -> io::Result<Arc<ClientConfig>> {
    let mut provider = ring::default_provider();
    provider.kx_groups = vec![ring::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny))
        .with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

pub(crate) type TlsConnection = Connection<StreamOwned<ClientConnection, TcpStream>>;

pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsConnection> {
    let name = ServerName::IpAddress(address.ip().into());
    let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    Connection::over(address, 16 << 10, |socket| StreamOwned::new(session, socket))
}

#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Opens connections for this time and sends one request on each. The times are those of whole connections.
///
/// # Errors
///
/// If a response is an error or has a wrong length, if a connection breaks, or if a session is resumed contrary to
/// `resumes`.
pub(crate) fn handshakes(server: &Server, resumes: bool, seconds: u32) -> Result<LoadResult> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let started = Instant::now();
    let (address, path) = (server.address, server.path(SMALL.0));
    let times = thread::scope(|scope| {
        let start = |_| scope.spawn(|| run_client(address, &path, resumes, until));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        let joined =
            clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
        joined.collect::<Result<Vec<Vec<f64>>>>()
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    Ok(LoadResult::of(times.concat(), elapsed, SMALL.1)?)
}

/// Returns the duration of each connection in microseconds.
fn run_client(address: SocketAddr, path: &str, resumes: bool, until: Instant) -> io::Result<Vec<f64>> {
    let config = config(resumes)?;
    let mut times = Vec::new();
    // The first connection of a client has no session to resume.
    for is_first in std::iter::once(true).chain(std::iter::repeat(false)) {
        interruption::check()?;
        let started = Instant::now();
        if started >= until {
            break;
        }
        let kind = once(address, path, &config)?;
        if (kind == Some(HandshakeKind::Resumed)) != (resumes && !is_first) {
            return Err(io::Error::other(format!("unexpected kind of handshake: {kind:?}")));
        }
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// Opens a connection and sends one request. Returns the kind of handshake.
pub(crate) fn once(
    address: SocketAddr,
    path: &str,
    config: &Arc<ClientConfig>,
) -> io::Result<Option<HandshakeKind>> {
    let mut connection = connect(address, config)?;
    let answer = connection.get(path)?;
    if answer.status != 200 || answer.length() != SMALL.1 {
        let text = format!("status {} with {} bytes", answer.status, answer.length());
        return Err(io::Error::other(text));
    }
    Ok(connection.stream().conn.handshake_kind())
}
