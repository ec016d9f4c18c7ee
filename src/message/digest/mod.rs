//! Digests of bodies, which detect bodies that were altered or damaged in transit.
//!
//! | file | content |
//! |---|---|
//! | `sum` | [`Digest`]: the SHA-256 of a stored body, and its form in messages between peers |
//! | `checked` | a body that fails if it does not match its expected digests |
//! | `announced` | the digests in `Content-Digest` and `Repr-Digest` (RFC 9530) |

mod announced;
mod checked;
mod sum;

pub(crate) use announced::{CONTENT_DIGEST, REPR_DIGEST, announced, expected_representation_digests};
pub(crate) use checked::{Expected, checked};
pub(crate) use sum::{Digest, RunningDigest};
