//! A client that speaks to a server byte by byte.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use http::HeaderMap;

use super::PATIENCE;
use super::wire::{self, Malformed, Reader};

/// A response as far as it came.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body without chunks.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// How the connection ended inside the body: `UnexpectedEof` or `ConnectionReset`. `None` if the
    /// body is whole.
    pub(crate) cut: Option<io::ErrorKind>,
}

impl Response {
    /// The first value of a field, if it is there and is text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        wire::field(&self.headers, name)
    }
}

/// A connection to a server. Each method panics when the server lets it wait for [`PATIENCE`].
pub(crate) struct Connection {
    reader: Reader<Recorded>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        socket.set_nodelay(true).expect("TCP_NODELAY can be set on a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero can be set");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout that is not zero can be set");
        Self { reader: Reader::new(Recorded { socket, came: Vec::new() }) }
    }

    /// As [`open`](Self::open), from this address of the loopback network.
    pub(crate) fn open_from(from: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("there are sockets");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of loopback can be bound");
        socket.connect_timeout(&address.into(), PATIENCE).expect("a local server can be connected to");
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero can be set");
        Self { reader: Reader::new(Recorded { socket, came: Vec::new() }) }
    }

    /// Whether the server has reset the connection.
    pub(crate) fn is_reset(&self) -> bool {
        self.reader.stream().socket.take_error().is_ok_and(|error| error.is_some())
    }

    /// The same connection, to write on while this one is read.
    pub(crate) fn try_clone(&self) -> Self {
        let socket = self.reader.stream().socket.try_clone().expect("a socket can be shared");
        Self { reader: Reader::new(Recorded { socket, came: Vec::new() }) }
    }

    /// Sends these bytes now. That the server does not want them shows in what it answers.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        match self.reader.stream_mut().socket.write_all(bytes.as_ref()) {
            Err(error) if !is_gone(&error) => panic!("cannot write: {error}"),
            _ => {}
        }
    }

    /// Tells the server that nothing follows, and still reads.
    pub(crate) fn finish_writing(&mut self) {
        match self.reader.stream().socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => panic!("cannot finish: {error}"),
            _ => {}
        }
    }

    /// Reads one response by its framing; interim ones (`1xx`) are responses of their own.
    ///
    /// # Panics
    ///
    /// When the head is not whole, or anything is malformed.
    pub(crate) fn read_response(&mut self) -> Response {
        self.read(false).expect("the connection ended before a response")
    }

    /// As [`read_response`](Self::read_response), for the answer to a `HEAD`.
    pub(crate) fn read_response_to_head(&mut self) -> Response {
        self.read(true).expect("the connection ended before a response")
    }

    /// Reads up to the end of the connection. A reset ends it as well.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = self.reader.rest(&mut bytes) {
            cut_by(&error);
        }
        bytes
    }

    /// Blocks until exactly these bytes are the end of what came and is not used. They stay unused.
    pub(crate) fn wait_for_bytes(&mut self, end: &[u8]) {
        while !self.reader.unused().ends_with(end) {
            let more = self.reader.fill();
            assert!(
                more.is_ok_and(|read| read > 0),
                "{:?} came",
                self.reader.unused().escape_ascii().to_string()
            );
        }
    }

    /// Nothing is there to be read.
    pub(crate) fn expect_silence(&self) {
        let socket = &self.reader.stream().socket;
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        let there = socket.peek(&mut [0; 64]);
        socket.set_nonblocking(false).expect("a socket can be made blocking");
        let nothing = there.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(nothing, "expected silence: {there:?}");
    }

    /// One response, or `None` if the connection ends before a byte of it.
    fn read(&mut self, to_head: bool) -> Option<Response> {
        let head = match self.reader.head() {
            Ok(head) => head?,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no whole head: {error}"),
        };
        let (status, headers) = refuse_malformed(&head, wire::response_head(&head));
        let framing = refuse_malformed(&head, wire::response_framing(status, to_head, &headers));
        let mut body = Vec::new();
        let (trailers, cut) = match self.reader.body(framing, &mut body) {
            Ok(trailers) => (trailers, None),
            Err(error) => (HeaderMap::new(), Some(cut_by(&error))),
        };
        Some(Response { status, headers, body, trailers, cut })
    }
}

/// Sends these bytes on a new connection and returns what comes back, byte by byte as it came: a
/// whole final response, or as much as came before the connection ended.
pub(crate) fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let to_head = bytes.as_ref().starts_with(b"HEAD ");
    let mut connection = Connection::open(address);
    connection.write(bytes);
    while connection.read(to_head).is_some_and(|response| matches!(response.status, 100..=199)) {}
    std::mem::take(&mut connection.reader.stream_mut().came)
}

/// A socket that remembers what came.
struct Recorded {
    socket: TcpStream,
    came: Vec<u8>,
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.came.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

fn refuse_malformed<T>(head: &[u8], result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(head)))
}

/// How the connection ended.
fn cut_by(error: &io::Error) -> io::ErrorKind {
    if let Some(malformed) = Malformed::within(error) {
        panic!("a malformed body: {malformed}");
    }
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => panic!("nothing came in {PATIENCE:?}"),
        kind => kind,
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
