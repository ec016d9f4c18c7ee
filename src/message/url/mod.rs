//! URLs of what is fetched and cached, in one spelling.
//!
//! | file | what lives there |
//! |---|---|
//! | `canonical` | [`Target`]: parsed once, spelled canonically, cheap to clone |
//! | `as_spelled` | what is canonical as it is spelled |
//! | `host` | which hosts and ports a URL may name |
//! | `spelling` | percent-escapes and dot segments, normalised (RFC 3986 section 6.2.2) |
//! | `reference` | relative references, resolved (RFC 3986 section 5) |
//! | `bad_target` | [`BadTarget`]: why a text is not such a URL |
//! | `escape` | values of a query, escaped and read as forms do |

mod as_spelled;
mod bad_target;
mod canonical;
mod escape;
mod host;
mod reference;
mod spelling;

pub use bad_target::BadTarget;
pub use canonical::Target;
pub(crate) use escape::{query_escape, query_value, unescape};
pub(crate) use spelling::push_spelled;
