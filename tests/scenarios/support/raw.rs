//! A client that exchanges raw bytes with a server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use http::HeaderMap;

use super::TEST_TIMEOUT;
use super::wire::{self, Malformed, Reader};

/// A response, possibly incomplete.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body without chunks.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// The error that ended the connection inside the body: `UnexpectedEof` or `ConnectionReset`. `None` if the body
    /// is complete.
    pub(crate) cut: Option<io::ErrorKind>,
}

impl Response {
    /// Returns the first value of a field, or `None` if the field is missing or is not text.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        wire::field(&self.headers, name)
    }
}

/// A connection to a server. Its methods panic if the server does not respond within [`TEST_TIMEOUT`].
pub(crate) struct Connection {
    reader: Reader<RecordingSocket>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, TEST_TIMEOUT)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        socket.set_nodelay(true).expect("TCP_NODELAY can be set on a socket");
        socket.set_read_timeout(Some(TEST_TIMEOUT)).expect("a timeout that is not zero can be set");
        socket.set_write_timeout(Some(TEST_TIMEOUT)).expect("a timeout that is not zero can be set");
        Self { reader: Reader::new(RecordingSocket { socket, received: Vec::new() }) }
    }

    /// Like [`open`](Self::open), from this address in the loopback network.
    pub(crate) fn open_from(from: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket can be created");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of loopback can be bound");
        socket.connect_timeout(&address.into(), TEST_TIMEOUT).expect("a local server can be connected to");
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(TEST_TIMEOUT)).expect("a timeout that is not zero can be set");
        Self { reader: Reader::new(RecordingSocket { socket, received: Vec::new() }) }
    }

    /// Returns whether the server has reset the connection.
    pub(crate) fn is_reset(&self) -> bool {
        self.reader.stream().socket.take_error().is_ok_and(|error| error.is_some())
    }

    /// Returns a second handle to the connection, for writing while the first one reads.
    pub(crate) fn try_clone(&self) -> Self {
        let socket = self.reader.stream().socket.try_clone().expect("a socket can be shared");
        Self { reader: Reader::new(RecordingSocket { socket, received: Vec::new() }) }
    }

    /// Writes these bytes. A closed connection is not an error here: it shows when the response is read.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        match self.reader.stream_mut().socket.write_all(bytes.as_ref()) {
            Err(error) if !is_gone(&error) => panic!("cannot write: {error}"),
            _ => {}
        }
    }

    /// Shuts down the write side; the response can still be read.
    pub(crate) fn finish_writing(&mut self) {
        match self.reader.stream().socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => panic!("cannot finish: {error}"),
            _ => {}
        }
    }

    /// Reads one response according to its framing. Interim responses (`1xx`) are returned separately.
    ///
    /// # Panics
    ///
    /// If the head is incomplete or the response is malformed.
    pub(crate) fn read_response(&mut self) -> Response {
        self.read(false).expect("the connection ended before a response")
    }

    /// Like [`read_response`](Self::read_response), for the response to a `HEAD` request.
    pub(crate) fn read_response_to_head(&mut self) -> Response {
        self.read(true).expect("the connection ended before a response")
    }

    /// Reads up to the end of the connection, including an end by a reset.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = self.reader.rest(&mut bytes) {
            cut_by(&error);
        }
        bytes
    }

    /// Blocks until the unconsumed bytes end with `end`. They stay unconsumed.
    pub(crate) fn wait_for_bytes(&mut self, end: &[u8]) {
        while !self.reader.unused().ends_with(end) {
            let more = self.reader.fill();
            assert!(
                more.is_ok_and(|read| read > 0),
                "received {:?}",
                self.reader.unused().escape_ascii().to_string()
            );
        }
    }

    /// Panics if there is anything to read.
    pub(crate) fn expect_silence(&self) {
        let socket = &self.reader.stream().socket;
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        let there = socket.peek(&mut [0; 64]);
        socket.set_nonblocking(false).expect("a socket can be made blocking");
        let nothing = there.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(nothing, "expected nothing to read: {there:?}");
    }

    /// Reads one response. Returns `None` if the connection ends before the first byte.
    fn read(&mut self, to_head: bool) -> Option<Response> {
        let head = match self.reader.head() {
            Ok(head) => head?,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("incomplete head: {error}"),
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

/// Sends these bytes on a new connection and returns the bytes received: up to the end of the final response, or up
/// to the end of the connection.
pub(crate) fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let to_head = bytes.as_ref().starts_with(b"HEAD ");
    let mut connection = Connection::open(address);
    connection.write(bytes);
    while connection.read(to_head).is_some_and(|response| matches!(response.status, 100..=199)) {}
    std::mem::take(&mut connection.reader.stream_mut().received)
}

/// A socket that records the bytes received.
struct RecordingSocket {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Read for RecordingSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.received.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

fn refuse_malformed<T>(head: &[u8], result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(head)))
}

/// Returns the error kind with which the connection ended.
fn cut_by(error: &io::Error) -> io::ErrorKind {
    if let Some(malformed) = Malformed::within(error) {
        panic!("malformed body: {malformed}");
    }
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            panic!("nothing was received within {TEST_TIMEOUT:?}")
        }
        kind => kind,
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
