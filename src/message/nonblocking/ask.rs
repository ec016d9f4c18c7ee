//! [`Ask`]: a request to a peer that an event loop sends itself.

use std::fmt;
use std::net::{SocketAddr, TcpStream};

use http::Response;

use crate::message::body::Body;

/// A request that an event loop may send to a peer, so that no thread waits for the response. If the response is not a
/// simple one, or anything fails, the job that belongs to it runs on a thread as usual.
pub(crate) struct Ask {
    pub(crate) address: SocketAddr,
    /// The request as it goes over the network: a GET request without content.
    pub(crate) bytes: Vec<u8>,
    /// Takes a complete response, once. Returns whether it settles the request: the job then ends without waiting.
    pub(crate) accept: Option<Box<dyn FnOnce(Response<Body>) -> bool + Send>>,
    /// Takes a blocking socket on which the request was sent, with the received part of the response. The job reads the
    /// response from it.
    pub(crate) hand_over: Box<dyn FnOnce(TcpStream, Vec<u8>) + Send>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("address", &self.address).finish_non_exhaustive()
    }
}
