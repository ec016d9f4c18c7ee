//! Encodes a request and reads its response, for an event loop that owns the socket.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};

use super::framing::{self, Framing};
use super::head::{Head, HeadLimits, HeadReader};
use super::transport::Origin;
use super::{request, response};
use crate::message::body::Body;
use crate::message::url::CanonicalUrl;

impl Origin {
    /// Returns the bytes of a request without content to an `http` URL, and an address of its host. `None` if the request
    /// cannot be sent, or if no address is known without a lookup. Never blocks.
    pub(crate) fn encode(&self, request: Request<Body>) -> Option<(SocketAddr, Vec<u8>)> {
        let target =
            CanonicalUrl::parse(&request.uri().to_string()).ok().filter(|target| !target.is_https())?;
        let address = match target.literal_address() {
            Some(address) => address,
            None => *self.resolver().known_addresses(target.host())?.first()?,
        };
        self.rules().may_connect(&target, address).ok()?;
        let (head, None) = request::prepare(request).ok()? else { return None };
        let path = head.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut bytes = Vec::with_capacity(512);
        let host = target.authority().as_bytes();
        for part in [head.method().as_str().as_bytes(), b" ", path.as_bytes(), b" HTTP/1.1\r\nhost: ", host] {
            bytes.extend_from_slice(part);
        }
        for (name, value) in head.headers() {
            for part in [b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        Some((SocketAddr::new(address, target.port()), bytes))
    }
}

/// The longest body of a short response, in bytes.
const MAX_BODY: usize = 64 << 10;

/// Reads a short response to a GET request.
#[derive(Debug, Default)]
pub(crate) struct ResponseReader {
    /// The head, its length, and the length of the whole response.
    head: Option<(Head, usize, usize)>,
}

/// The received part of a response.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// More bytes are needed.
    Partly,
    /// All of it.
    Whole {
        response: Response<Body>,
        /// Whether the connection can be used for another request.
        is_reusable: bool,
    },
    /// A response that is not short, or that another reader has to interpret.
    Other,
}

impl ResponseReader {
    /// Reads the response again after more bytes have arrived.
    pub(crate) fn read(&mut self, received: &[u8]) -> Arrived {
        if self.head.is_none() {
            let mut reader = HeadReader::new(HeadLimits::default(), false);
            match reader.push(received) {
                Ok((_, None)) if reader.take_interim().is_empty() => return Arrived::Partly,
                Ok((length, Some(head))) if reader.take_interim().is_empty() => {
                    let body = match head.framing {
                        Framing::NoBody => 0,
                        Framing::Length(body) if body <= MAX_BODY as u64 => {
                            usize::try_from(body).unwrap_or(MAX_BODY)
                        }
                        _ => return Arrived::Other,
                    };
                    self.head = Some((head, length, length + body));
                }
                _ => return Arrived::Other,
            }
        }
        match self.head.take() {
            Some((head, begin, end)) if received.len() >= end => {
                let is_reusable =
                    received.len() == end && !framing::closes_connection(head.version, &head.headers);
                let body = match head.framing {
                    Framing::NoBody => Body::empty(),
                    _ => Body::from(Bytes::copy_from_slice(&received[begin..end])),
                };
                Arrived::Whole { response: response::assemble(head, body), is_reusable }
            }
            head => {
                self.head = head;
                Arrived::Partly
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_response_is_read_as_it_arrives_and_others_are_left() {
        let text =
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nhello";
        let mut reader = ResponseReader::default();
        for length in 0..text.len() {
            assert!(matches!(reader.read(&text[..length]), Arrived::Partly), "{length}");
        }
        let Arrived::Whole { response, is_reusable } = reader.read(text) else { panic!("all has arrived") };
        assert!(is_reusable && response.headers().len() == 2);
        assert_eq!(response.into_body().as_bytes().unwrap(), "hello");
        let read = |text: &str| ResponseReader::default().read(text.as_bytes());
        for (text, reusable) in [
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", false),
        ] {
            let Arrived::Whole { is_reusable, .. } = read(text) else { panic!("{text}") };
            assert_eq!(is_reusable, reusable, "{text}");
        }
        for text in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "SSH-2.0",
        ] {
            assert!(matches!(read(text), Arrived::Other), "{text}");
        }
    }
}
