//! What every other module may use: errors, time, memory, secrets and names.
//!
//! | module | content |
//! |---|---|
//! | `error` | [`Error`](error::Error) and [`ErrorKind`](error::ErrorKind), the one error of the public API |
//! | `clock` | [`Clock`](clock::Clock): wall time, or a time that a test sets |
//! | `byte_size` | [`ByteSize`](byte_size::ByteSize): `64MiB` as text |
//! | `cancellation` | [`Cancellation`](cancellation::Cancellation): ends a request from another thread |
//! | `ledger` | `Ledger`: the one memory budget of a peer |
//! | `named` | a macro for enums whose variants have names |
//! | `names` | a bounded, caching DNS resolver |
//! | `tls` | certificates and keys from PEM files |
//! | `token` | [`Tokens`](token::Tokens): shared secrets of a pool |
//!
//! This hall imports no other.

pub(crate) mod byte_size;
pub(crate) mod cancellation;
pub(crate) mod clock;
pub(crate) mod error;
#[cfg(feature = "peer")]
pub(crate) mod ledger;
pub(crate) mod named;
pub(crate) mod names;
pub(crate) mod tls;
pub(crate) mod token;
