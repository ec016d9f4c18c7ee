//! The HTTP server: reads requests from sockets, passes them to a [`Handler`], and writes the responses.
//!
//! [`Server::bind`] is the entry.

// The HTTP server: reads requests from sockets, passes them to a [`Handler`], and writes the responses.
//
// The entry is [`Server::bind`]: it starts the threads and returns a [`ServerHandle`]. The server processes
// requests and responses only; its [`Handler`] decides about caches and pools.
//
// In reading order:
//
// | file | subject |
// |---|---|
// | `handler` | [`Handler`], the interface for users, and [`Responder`], the non-blocking interface for peers |
// | `options` | [`ServerConfig`]: threads, queue, limits, deadlines |
// | `server_handle` | [`ServerHandle`]: a running server, its shutdown and its end |
// | `access_log` | [`AccessLog`]: receives a record of each answered request |
// | `sampler` | which requests belong to the sample for the status page; pure |
// | `event` | [`Server`]: the event loop over non-blocking sockets |
// | `request_head` | validation of request heads; pure |
// | `response_head` | encoding of response heads, and the framing of bodies; pure |
// | `error_response` | responses that the server itself generates |
// | `listener` | [`Listener`]: a listening socket and the options that accepted sockets inherit |
// | `client_hello` | the first message of a TLS connection; pure |
// | `tunnel_to` | [`TunnelTo`]: where a CONNECT request leads |
// | `proxy_protocol` | the header with which a proxy names the client; pure |
// | `tls` | [`ServerTls`]: the server's certificate, and the verification of clients |
// | `sessions` | the TLS session cache |
// | `tiny_http` | [`TinyHttpServer`]: the second server, on the crate of that name (feature `tiny_http`) |

mod access_log;
mod client_hello;
mod error_response;
mod event;
mod handler;
mod listener;
mod options;
mod proxy_protocol;
mod request_head;
mod response_head;
mod sampler;
mod server_handle;
mod sessions;
#[cfg(feature = "tiny_http")]
mod tiny_http;
mod tls;
mod tunnel_to;

pub(crate) use access_log::TrafficRecorder;
pub use access_log::{AccessLog, AccessRecord};
pub use event::Server;
pub use handler::{Handler, RemoteAddress};
pub(crate) use handler::{Responder, Scratch, Sender, handled};
pub use listener::{Listener, Listeners};
pub use options::ServerConfig;
pub use proxy_protocol::TrustedProxies;
pub use server_handle::{ServerHandle, ShutdownHandle};
#[cfg(feature = "tiny_http")]
pub use tiny_http::TinyHttpServer;
pub use tls::ServerTls;
pub(crate) use tunnel_to::{Destination, TunnelTo};

#[cfg(test)]
pub(crate) use client_hello::{Hello, read_hello};
#[cfg(test)]
pub(crate) use proxy_protocol::{Header, read_header};

/// Validates a request head, for the fuzz tests.
#[cfg(test)]
pub(crate) fn check_request_head<'a>(
    method: &[u8],
    target: &[u8],
    version: (u8, u8),
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<http::Request<()>> {
    const LIMITS: request_head::HeadLimits =
        request_head::HeadLimits { fields: 100, field_bytes: 64 << 10, target: 25 << 10 };
    request_head::check(&LIMITS, method, target, version, fields).ok().map(|head| head.request)
}
