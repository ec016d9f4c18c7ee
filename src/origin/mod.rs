//! The network behind a cache: options of an [`Origin`], the origins that may be asked, and the load on each of them.
//!
//! [`Origin::builder`] is the entry.

// The network: [`Origin`] sends requests to origins over ureq, as a [`RoundTrip`](crate::RoundTrip).
//
// ureq connects, speaks TLS and keeps connections. This hall adds what a shared cache needs: rules for
// allowed origins, time limits that can be cancelled, and a strict reader of response heads and framing.
//
// Files in reading order:
//
// | file | content |
// |---|---|
// | `transport` | [`Origin`], the entry: sends a request, retries it at most once, and returns the response |
// | `builder` | [`OriginBuilder`]: the public options |
// | `options` | the checked options, and the configuration for ureq |
// | `roots` | the trusted root certificates |
// | `request` | the header fields and body of a request as they are sent |
// | `exchange` | the state of one request and its response: time limits, cancellation, current socket |
// | `socket` | TCP connections with time limits, tied to an exchange |
// | `resolver` | resolves a host name to the allowed socket addresses |
// | `connecting` | connects to an origin for a tunnel |
// | `begun` | a connection on which an event loop has sent the request |
// | `event_loop` | encodes a request and reads its response, for an event loop |
// | `connections` | pools of idle connections, sharded by origin |
// | `head_transport` | reads response heads below ureq and gives ureq a head that contains only the framing |
// | `head` | parses the head of a response within limits |
// | `head_lines` | normalises the lines of a head before a strict parser reads them |
// | `framing` | where the body of a response ends |
// | `chunks` | normalises the chunked coding for ureq |
// | `truncation` | distinguishes a reset connection from a closed one |
// | `response` | builds the response and its body stream |
// | `timed` | counts how long an origin takes to respond |
// | `failure` | converts ureq's errors to [`Error`](crate::Error) |
//
// Two folders follow: `access` decides which origins may be fetched, `throttle` limits the
// load on each origin.

pub(crate) mod access;
mod begun;
mod builder;
mod chunks;
#[cfg(feature = "peer")]
mod connecting;
mod connections;
#[cfg(feature = "peer")]
mod event_loop;
mod exchange;
mod failure;
mod framing;
mod head;
mod head_lines;
mod head_transport;
mod options;
#[cfg(test)]
mod recipient_tests;
mod request;
mod resolver;
mod response;
mod roots;
mod socket;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(feature = "peer")]
pub(crate) mod throttle;
#[cfg(feature = "peer")]
pub(crate) mod timed;
mod transport;
mod truncation;

pub use crate::base::cancellation::CancelHook;
pub use crate::message::interim::OnInterim;
pub use crate::message::round_trip::Offline;
pub use crate::message::url::{CanonicalUrl, InvalidUrl};
pub use access::{AddressClass, InvalidOriginRule, OriginPattern, OriginRules, Refused};
pub use builder::OriginBuilder;
#[cfg(feature = "peer")]
pub use throttle::{OriginLimits, Throttle};
pub use transport::Origin;
#[cfg(feature = "peer")]
pub(crate) use {
    begun::{Begun, BegunConnection},
    event_loop::{Arrived, ResponseReader},
};
