//! An origin in this process with a fixed latency and event streams. Each connection has a thread with a small stack;
//! hundreds of sleeping threads use no CPU time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use std::{fs, str};

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::{Origin, SMALL};
use crate::Result;

const STACK: usize = 256 << 10;

/// The limit for the head of a request; no request here has a body.
const HEAD: usize = 16 << 10;

/// Dropping it stops accepting; open connections end with their clients or after their current response.
#[derive(Debug)]
pub(super) struct Slow {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    delay: Duration,
    tls: Option<Arc<ServerConfig>>,
    requests: AtomicU64,
    has_ended: AtomicBool,
}

impl Slow {
    /// Starts the origin with this latency under [`Origin::DISTINCT`]. With `certificate`, it uses TLS and writes its
    /// certificate to that file.
    pub(super) fn start(delay: Duration, certificate: Option<&Path>) -> Result<Self> {
        let tls = certificate.map(tls_config).transpose()?;
        // The backlog of the standard library is too small for the number of simultaneous connections.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(4096)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        let (requests, has_ended) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { delay, tls, requests, has_ended });
        let of_listener = Arc::clone(&shared);
        thread::Builder::new().name("origin".to_owned()).spawn(move || accept(&listener, &of_listener))?;
        Ok(Self { address, shared })
    }

    pub(super) fn request_count(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        // Connect to wake `accept`, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

fn tls_config(certificate: &Path) -> Result<Arc<ServerConfig>> {
    let names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let made = rcgen::generate_simple_self_signed(names)?;
    fs::write(certificate, made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(Arc::new(config))
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        if shared.has_ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(socket) = socket else { continue };
        let shared = Arc::clone(shared);
        // If no thread can be created, the connection is closed.
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || serve(socket, &shared));
    }
}

/// Serves requests until the client closes the connection.
fn serve(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    match &shared.tls {
        None => serve_on(socket, shared)?,
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            serve_on(StreamOwned::new(connection, socket), shared)?;
        }
    }
    Ok(())
}

fn serve_on(mut stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let small = vec![b'x'; usize::try_from(SMALL.1).unwrap_or(0)];
    let mut head = Vec::with_capacity(1 << 10);
    while read_head(&mut stream, &mut head)? {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let target = str::from_utf8(line).unwrap_or_default().split(' ').nth(1).unwrap_or_default();
        if target.starts_with(Origin::STREAM) {
            return send_events(&mut stream, shared);
        }
        if target.starts_with(Origin::DISTINCT) {
            thread::sleep(shared.delay);
        }
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
             Cache-Control: public, max-age=3600\r\n\r\n",
            small.len()
        )
        .into_bytes();
        answer.extend_from_slice(&small);
        stream.write_all(&answer)?;
        stream.flush()?;
    }
    Ok(())
}

/// Reads the head of a request. Returns `false` at the end of the connection. Clients here do not pipeline.
fn read_head(stream: &mut impl Read, head: &mut Vec<u8>) -> io::Result<bool> {
    head.clear();
    let mut piece = [0; 2048];
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut piece)?;
        if length == 0 || head.len() > HEAD {
            return Ok(false);
        }
        head.extend_from_slice(&piece[..length]);
    }
    Ok(true)
}

/// Sends events until the client disconnects or the origin is dropped.
fn send_events(stream: &mut impl Write, shared: &Shared) -> io::Result<()> {
    // X-Accel-Buffering makes nginx pass on each event immediately.
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\
          Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n\r\n",
    )?;
    let event = format!("{:x}\r\n{}\r\n", Origin::EVENT.len(), Origin::EVENT);
    while !shared.has_ended.load(Ordering::Relaxed) {
        stream.write_all(event.as_bytes())?;
        stream.flush()?;
        thread::sleep(Origin::EVENTS);
    }
    Ok(())
}
