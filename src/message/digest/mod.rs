//! Digests of bodies: that what arrives is what was sent.
//!
//! | file | what it holds |
//! |---|---|
//! | `sum` | [`Digest`]: the SHA-256 of a stored body, and how peers say it to each other |
//! | `announced` | what `Content-Digest` and `Repr-Digest` say of the content of a message (RFC 9530) |
//! | `checked` | a body that fails where it is not the one that was announced |

mod announced;
mod checked;
mod sum;

pub(crate) use announced::{CONTENT_DIGEST, REPR_DIGEST, announced, announced_of_whole};
pub(crate) use checked::{Expected, checked};
pub(crate) use sum::{Digest, RunningDigest};
