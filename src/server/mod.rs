//! Fronts: from sockets to a [`Handler`], and back.
//!
//! | file | what it holds |
//! |---|---|
//! | `serve` | [`Handler`], and what a front tells it beside the request |
//! | `options` | [`ServerConfig`]: threads, queue, limits, deadlines |
//! | `serving` | [`ServerHandle`]: a front that runs; shutting it down, waiting for its end |
//! | `tls` | [`ServerTls`]: what a front proves itself with, and whom it lets in |
//! | `sessions` | TLS sessions that clients may resume |
//! | `request_head` | which heads are refused, and with what; pure |
//! | `response_head` | the head of a response as bytes, and how its body is framed; pure |
//! | `answer` | what a front says itself |
//! | `listener` | the listening socket and the options that accepted sockets inherit |
//! | `event` | [`Server`]: the front on sockets that never wait |
//! | `tiny_http` | [`TinyHttpServer`]: the front on the crate of that name (feature `tiny_http`) |

mod answer;
mod event;
mod listener;
mod options;
mod request_head;
mod response_head;
mod serve;
mod serving;
mod sessions;
#[cfg(feature = "tiny_http")]
mod tiny_http;
mod tls;

pub use event::Server;
pub use options::ServerConfig;
pub use serve::{Handler, RemoteAddress};
pub(crate) use serve::{Responder, Scratch, handled};
pub use serving::{ServerHandle, ShutdownHandle};
#[cfg(feature = "tiny_http")]
pub use tiny_http::TinyHttpServer;
pub use tls::ServerTls;

/// What the front makes of a request head, for tests of all that reads one.
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
