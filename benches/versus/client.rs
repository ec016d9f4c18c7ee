//! A minimal HTTP client for checks, for filling caches and for idle connections. The measured load comes from wrk.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn length(&self) -> u64 {
        self.body.len() as u64
    }

    /// Returns the first value of a field, given its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The stream of a connection, with or without TLS.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A persistent connection.
#[derive(Debug)]
pub(crate) struct Connection<S: Stream = TcpStream> {
    reader: BufReader<S>,
    host: SocketAddr,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::with_buffer(address, 16 << 10)
    }

    /// Opens a connection with a small buffer, for thousands of connections.
    pub(crate) fn open_small(address: SocketAddr) -> io::Result<Self> {
        Self::with_buffer(address, 512)
    }

    fn with_buffer(address: SocketAddr, bytes: usize) -> io::Result<Self> {
        Self::over(address, bytes, |socket| socket)
    }

    /// Returns whether the connection is open and has nothing to read.
    pub(crate) fn is_idle(&self) -> bool {
        let socket = self.reader.get_ref();
        let asked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
        let reset = socket.set_nonblocking(false);
        asked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) && reset.is_ok()
    }
}

impl<S: Stream> Connection<S> {
    /// Opens a connection over the stream that `layer` creates from the socket.
    pub(crate) fn over(
        address: SocketAddr,
        bytes: usize,
        layer: impl FnOnce(TcpStream) -> S,
    ) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { reader: BufReader::with_capacity(bytes, layer(socket)), host: address })
    }

    pub(crate) fn stream(&self) -> &S {
        self.reader.get_ref()
    }

    /// Returns a reader for a body of this length, after [`send_get`](Self::send_get).
    pub(crate) fn body(&mut self, length: u64) -> impl Read {
        self.reader.by_ref().take(length)
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        let mut answer = self.send_get(path)?;
        if answer.field("transfer-encoding").is_some() {
            while self.chunk(&mut answer.body)? > 0 {}
        } else if let Some(length) = answer.field("content-length") {
            let length = length.parse().map_err(|_| malformed(length))?;
            self.take(length, &mut answer.body)?;
        } else {
            self.reader.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Sends a request and reads the head of the response, but not its body.
    pub(crate) fn send_get(&mut self, path: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.reader.get_mut().write_all(request.as_bytes())?;
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| malformed(&line))?;
        let mut answer = Answer { status, fields: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            answer.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Reads one chunk of a chunked body. Returns its length, which is 0 for the last chunk.
    pub(crate) fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<u64> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        let length = u64::from_str_radix(digits.trim(), 16).map_err(|_| malformed(&line))?;
        self.take(length, body)?;
        // The line end after the chunk, or the empty line after the last chunk (the servers here send no trailers).
        self.line()?;
        Ok(length)
    }

    fn take(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        let taken = self.reader.by_ref().take(length).read_to_end(body)?;
        if (taken as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed: {text:?}"))
}

/// Sends one request on a new connection.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    Connection::open(address)?.get(path)
}
