//! URLs of what is fetched and cached, in one spelling.
//!
//! | file | what lives there |
//! |---|---|
//! | `canonical` | [`CanonicalUrl`]: parsed once, spelled canonically, cheap to clone |
//! | `as_spelled` | what is canonical as it is spelled |
//! | `host` | which hosts and ports a URL may name |
//! | `spelling` | percent-escapes and dot segments, normalised (RFC 3986 section 6.2.2) |
//! | `reference` | relative references, resolved (RFC 3986 section 5) |
//! | `invalid_url` | [`InvalidUrl`]: why a text is not such a URL |
//! | `escape` | values of a query, escaped and read as forms do |

mod as_spelled;
mod canonical;
mod escape;
mod host;
mod invalid_url;
mod reference;
mod spelling;

pub use canonical::CanonicalUrl;
pub(crate) use escape::{query_escape, query_value, unescape};
pub use invalid_url::InvalidUrl;
pub(crate) use spelling::push_spelled;
