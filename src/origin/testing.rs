//! Origins that follow a script: real sockets on the loopback interface, one thread each.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
#[cfg(feature = "peer")]
use std::time::Duration;

use http::{Request, Response};

use super::Origin;
#[cfg(feature = "peer")]
use super::options::Options;
#[cfg(feature = "peer")]
use crate::base::clock::SystemClock;
use crate::base::error::Result;
use crate::base::resolver::Lookup;
#[cfg(feature = "peer")]
use crate::base::resolver::Resolver;
use crate::message::body::Body;
use crate::message::round_trip::RoundTrip;

/// A listener whose connections are served by a script that returns a value.
pub(crate) struct ScriptedOrigin<T> {
    address: SocketAddr,
    script: JoinHandle<T>,
}

impl<T: Send + 'static> ScriptedOrigin<T> {
    pub(crate) fn new(script: impl FnOnce(&TcpListener) -> T + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, script: thread::spawn(move || script(&listener)) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/a?b=c", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the script and returns its value.
    pub(crate) fn finish(self) -> T {
        self.script.join().unwrap()
    }
}

impl ScriptedOrigin<Received> {
    /// Accepts one request, sends these bytes as the response, and closes the connection.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |listener| {
            let mut connection = accept(listener);
            let received = connection.receive();
            connection.send(&answer);
            received
        })
    }
}

pub(crate) fn accept(listener: &TcpListener) -> Connection {
    Connection { stream: BufReader::new(listener.accept().unwrap().0) }
}

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// A request as it was received.
pub(crate) struct Received {
    pub(crate) line: String,
    /// Field lines in lower case, in order.
    pub(crate) fields: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn receive(&mut self) -> Received {
        let line = self.line();
        let mut fields = Vec::new();
        loop {
            let field = self.line().to_lowercase();
            if field.is_empty() {
                break;
            }
            fields.push(field);
        }
        let mut body = Vec::new();
        if fields.iter().any(|field| field == "transfer-encoding: chunked") {
            loop {
                let length = usize::from_str_radix(&self.line(), 16).unwrap();
                let at = body.len();
                body.resize(at + length, 0);
                self.stream.read_exact(&mut body[at..]).unwrap();
                assert_eq!(self.line(), "");
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = fields.iter().find_map(|field| field.strip_prefix("content-length: ")) {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).unwrap();
        }
        Received { line, fields, body }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Waits until the client has closed its end of the connection.
    pub(crate) fn wait_for_close(&mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }
}

/// An origin that looks up each name anew.
#[cfg(feature = "peer")]
pub(crate) fn resolving(lookup: ScriptedLookup) -> Origin {
    let resolver = Resolver::new(lookup, Arc::new(SystemClock), Duration::ZERO);
    Origin::with_resolver(Options::default(), resolver)
}

pub(crate) fn get(origin: &Origin, url: &str) -> Result<Response<Body>> {
    send(origin, Request::get(url), Body::empty())
}

pub(crate) fn send(origin: &Origin, head: http::request::Builder, body: Body) -> Result<Response<Body>> {
    origin.round_trip(head.body(body).unwrap())
}

type LookupScript = dyn Fn(&str, u8) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// A name lookup that follows a script. The script receives the name and the number of the lookup, counted
/// from 1.
#[derive(Clone)]
pub(crate) struct ScriptedLookup {
    script: Arc<LookupScript>,
    count: Arc<AtomicU8>,
}

impl ScriptedLookup {
    pub(crate) fn new(script: impl Fn(&str, u8) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), count: Arc::default() }
    }

    /// Returns the number of lookups so far.
    pub(crate) fn count(&self) -> u8 {
        self.count.load(Ordering::SeqCst)
    }
}

impl Lookup for ScriptedLookup {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.script)(name, self.count.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

impl fmt::Debug for ScriptedLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedLookup").finish_non_exhaustive()
    }
}
