//! A client that speaks TLS, and how many handshakes a server does: each connection asks for one small body.

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
use crate::wrk::Seen;

/// Clients that connect at a time.
const CLIENTS: u32 = 8;

/// Makes a certificate with a key for ECDSA on P-256, which a server shows: both in one file.
pub(crate) fn make_certificate(folder: &Path) -> Result<PathBuf> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let file = folder.join("server.pem");
    fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem())?;
    Ok(file)
}

/// TLS 1.3 with X25519, trusting whoever answers: what the client checks is no work of the server.
pub(crate) fn config(resumes: bool) -> io::Result<Arc<ClientConfig>> {
    let mut provider = ring::default_provider();
    provider.kx_groups = vec![ring::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
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
struct Anybody;

impl ServerCertVerifier for Anybody {
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

/// Connects for that long, again and again, and asks once on each connection. The times are those of connections, from
/// the first byte to the last.
///
/// # Errors
///
/// When any answer is an error or has another length, any connection breaks, or a session is resumed where none is to
/// be, or the other way round.
pub(crate) fn handshakes(server: &Server, resumes: bool, seconds: u32) -> Result<Seen> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let begun = Instant::now();
    let (address, path) = (server.address, server.path(SMALL.0));
    let shares = thread::scope(|scope| {
        let start = |_| scope.spawn(|| share(address, &path, resumes, until));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        let joined =
            clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??));
        joined.collect::<Result<Vec<Vec<f64>>>>()
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    Ok(Seen::of(shares.concat(), elapsed, SMALL.1)?)
}

/// The microseconds that each connection took.
fn share(address: SocketAddr, path: &str, resumes: bool, until: Instant) -> io::Result<Vec<f64>> {
    let config = config(resumes)?;
    let mut times = Vec::new();
    // The first connection of a client has no session to resume.
    for is_first in std::iter::once(true).chain(std::iter::repeat(false)) {
        interruption::check()?;
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        let kind = once(address, path, &config)?;
        if (kind == Some(HandshakeKind::Resumed)) != (resumes && !is_first) {
            return Err(io::Error::other(format!("a handshake is {kind:?}")));
        }
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// One connection with one request.
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
