//! The way to origins: a [`RoundTrip`](crate::RoundTrip) over ureq.
//!
//! | file | what it holds |
//! |---|---|
//! | `transport` | [`Origin`]: a request goes out, its response comes back, one retry at most |
//! | `options` | [`OriginBuilder`]: time limits and roots, and what ureq is told |
//! | `roots` | which root certificates are trusted |
//! | `resolver` | from the host of a URL to the socket addresses that may be connected to |
//! | `request` | what of a request is sent on, and how its body is framed |
//! | `exchange` | one request with its retry and its body: time limits, cancellation, the socket in use |
//! | `socket` | connecting, waiting within limits, and belonging to an exchange |
//! | `truncation` | a connection that was cut, told from one that was closed |
//! | `head_transport` | reads heads below ureq, and tells it the framing alone |
//! | `head` | the head of a response, read from pieces, within limits |
//! | `head_lines` | the lines of a head, spelled as a strict parser reads them |
//! | `chunks` | the chunked coding, spelled as ureq reads it |
//! | `framing` | where the body of a response ends, where that can be trusted |
//! | `response` | a response, and its body on its way in |
//! | `connections` | which connections are kept, by origin |
//! | `failure` | from ureq's errors to ours |

pub(crate) mod access;
mod chunks;
mod connections;
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
mod transport;
mod truncation;

pub use options::OriginBuilder;
pub use transport::Origin;
