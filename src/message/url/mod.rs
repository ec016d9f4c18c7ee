//! URLs in their canonical form. `canonical` is the entry.
//!
//! | file | content |
//! |---|---|
//! | `canonical` | [`CanonicalUrl`]: a parsed URL in canonical form, cheap to clone |
//! | `already_canonical` | a fast check for URLs that are already canonical |
//! | `host` | valid hosts and ports |
//! | `normalization` | normalization of percent-escapes and dot segments (RFC 3986 section 6.2.2) |
//! | `reference` | resolution of relative references (RFC 3986 section 5) |
//! | `invalid_url` | [`InvalidUrl`]: the reason why a text is not a valid URL |
//! | `escape` | escaping of query values as in HTML forms |

mod already_canonical;
mod canonical;
mod escape;
mod host;
mod invalid_url;
mod normalization;
mod reference;

pub use canonical::CanonicalUrl;
pub(crate) use escape::{query_escape, query_value, unescape};
pub use invalid_url::InvalidUrl;
pub(crate) use normalization::push_normalized;
pub(crate) use reference::{has_scheme, reference};
