//! One connection to a server, with or without TLS. No command takes longer than the timeout, however the server sends its
//! response.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::{Credentials, Node};
use super::failure::Failure;
use super::resp::{self, Allowance, Reply};
use crate::base::resolver::{LookupError, Resolver};

/// How long the responses are that are not a value, in bytes.
const SHORT: u64 = 16 << 10;

pub(super) struct Connection {
    reader: BufReader<Stream>,
    timeout: Duration,
    /// Whether it is known what the next response belongs to.
    is_in_order: bool,
}

enum Stream {
    Plain(Timed),
    Secure(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A socket whose operations end at a moment.
struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Connection {
    /// Connects, and shows the credentials. Of the addresses of a node, the one with this number is tried first.
    pub(super) fn open(
        node: &Node,
        resolver: &Arc<Resolver>,
        first_address: usize,
        credentials: &Credentials,
        tls: Option<&Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let until = Instant::now() + timeout;
        let timed = Timed { socket: connect(node, resolver, first_address, until)?, until };
        let stream = match tls {
            None => Stream::Plain(timed),
            Some(config) => {
                let name = ServerName::try_from(node.host.clone()).map_err(io::Error::other)?;
                let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Stream::Secure(StreamOwned::new(session, timed).into())
            }
        };
        let mut connection = Self { reader: BufReader::new(stream), timeout, is_in_order: true };
        if let Some(password) = &credentials.password {
            let password = password.read()?;
            let user = credentials.user.as_deref().map(str::as_bytes);
            let words: Vec<&[u8]> =
                [&b"AUTH"[..]].into_iter().chain(user).chain([password.as_bytes()]).collect();
            connection.exchange(&words).map_err(|error| match error {
                // The text of the server could repeat the password.
                Failure::Refused { code, .. } => Failure::Refused { code, text: "to AUTH".to_owned() },
                error => error,
            })?;
        }
        if credentials.database != 0 {
            connection.exchange(&[b"SELECT", credentials.database.to_string().as_bytes()])?;
        }
        Ok(connection)
    }

    /// Sends a command with a short response, and waits for it up to the timeout.
    pub(super) fn command(&mut self, words: &[&[u8]]) -> Result<Reply, Failure> {
        self.command_within(words, &mut Allowance::of(SHORT))
    }

    /// Sends a command, and waits for its response up to the timeout. The response takes no more memory than allowed.
    pub(super) fn command_within(
        &mut self,
        words: &[&[u8]],
        allowance: &mut Allowance,
    ) -> Result<Reply, Failure> {
        self.reader.get_mut().timed().until = Instant::now() + self.timeout;
        self.exchange_within(words, allowance)
    }

    /// Sends a command within the time that is left.
    fn exchange(&mut self, words: &[&[u8]]) -> Result<Reply, Failure> {
        self.exchange_within(words, &mut Allowance::of(SHORT))
    }

    fn exchange_within(&mut self, words: &[&[u8]], allowance: &mut Allowance) -> Result<Reply, Failure> {
        self.is_in_order = false;
        let stream = self.reader.get_mut();
        resp::write(stream, words)?;
        let result = resp::read(&mut self.reader, allowance);
        let is_complete = matches!(result, Ok(_) | Err(Failure::Refused { .. }));
        self.is_in_order = is_complete && self.reader.buffer().is_empty();
        result
    }

    /// Whether the connection can be used for another command.
    pub(super) fn is_usable(&self) -> bool {
        self.is_in_order
    }
}

/// Connects to the first address of a node that accepts. One that does not respond leaves no time for those after it.
fn connect(
    node: &Node,
    resolver: &Arc<Resolver>,
    first_address: usize,
    until: Instant,
) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let addresses = addresses(node, resolver, until)?;
    let first = first_address % addresses.len().max(1);
    for address in addresses[first..].iter().chain(&addresses[..first]) {
        match TcpStream::connect_timeout(&SocketAddr::new(*address, node.port), left(until)?) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    resolver.forget(&node.host);
    Err(failure)
}

fn addresses(node: &Node, resolver: &Arc<Resolver>, until: Instant) -> io::Result<Arc<[IpAddr]>> {
    if let Ok(address) = node.host.parse::<IpAddr>() {
        return Ok([address].into());
    }
    resolver.addresses(&node.host, Some(until)).map_err(|error| match error {
        LookupError::Timeout => {
            io::Error::new(io::ErrorKind::TimedOut, "the lookup of its name takes too long")
        }
        LookupError::Failed(error) => error,
    })
}

/// The time that is left, at least a millisecond.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left.max(Duration::from_millis(1))) }
}

/// The system reports a timeout of a socket as `WouldBlock`.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.until)?))?;
        self.socket.read(buffer).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.until)?))?;
        self.socket.write(bytes).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Secure(stream) => &mut stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use parking_lot::Mutex;

    use super::*;
    use crate::base::resolver::Lookup;

    /// A lookup that ends when the other end of a channel is dropped.
    #[derive(Debug)]
    struct Hanging(Mutex<mpsc::Receiver<()>>);

    impl Lookup for Hanging {
        fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            let _ = self.0.lock().recv();
            Ok(Vec::new())
        }
    }

    #[test]
    fn name_whose_lookup_hangs_takes_only_the_timeout() {
        let (end, hanging) = mpsc::channel();
        let resolver = Resolver::uncached(Hanging(Mutex::new(hanging)));
        let node = Node { host: "redis.example".to_owned(), port: 1 };
        let opened =
            Connection::open(&node, &resolver, 0, &Credentials::default(), None, Duration::from_millis(20));
        let Err(Failure::Transport(error)) = opened else { panic!("it is not connected") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(end);
    }

    /// A name with two addresses.
    #[derive(Debug)]
    struct Two;

    impl Lookup for Two {
        fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()])
        }
    }

    #[test]
    fn each_address_of_a_name_is_the_first_in_turn() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let node = Node { host: "redis.example".to_owned(), port: listener.local_addr().unwrap().port() };
        let resolver = Resolver::uncached(Two);
        let until = Instant::now() + Duration::from_secs(60);
        let addresses = [0, 1, 2].map(|first| {
            connect(&node, &resolver, first, until).unwrap().peer_addr().unwrap().ip().to_string()
        });
        assert_eq!(addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.1"]);
    }
}
