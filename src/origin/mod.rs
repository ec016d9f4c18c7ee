//! The way to origins: a [`RoundTrip`](crate::RoundTrip) over ureq.
//!
//! | file | what it holds |
//! |---|---|
//! | `transport` | [`Origin`]: a request goes out, its response comes back, one retry at most |
//! | `options` | [`OriginBuilder`]: time limits and roots, and what ureq is told |
//! | `roots` | which root certificates are trusted |
//! | `resolver` | from the host of a URL to the socket addresses that may be connected to |
//! | `names` | which addresses a name has: looked up, and remembered for a while |
//! | `request` | what of a request is sent on, and how its body is framed |
//! | `response` | which framing of a response is trusted, and its body |
//! | `cut` | a connection that was cut, told from one that was closed |
//! | `failure` | from ureq's errors to ours |

mod cut;
mod failure;
mod names;
mod options;
mod request;
mod resolver;
mod response;
mod roots;
#[cfg(test)]
mod testing;
mod transport;

pub(crate) use names::{Lookup, Names, NoAnswer, SystemLookup};
pub use options::OriginBuilder;
pub use transport::Origin;
