//! Foundations that every other hall may use: errors, time, memory accounting, secrets and name resolution. Start
//! with `error`.
//!
//! | module | content |
//! |---|---|
//! | `error` | [`Error`](error::Error) and [`ErrorKind`](error::ErrorKind): the error type of the public API |
//! | `clock` | [`Clock`](clock::Clock): the system's time, or a time that a test sets |
//! | `byte_size` | [`ByteSize`](byte_size::ByteSize): byte counts such as `64MiB` |
//! | `charged` | the client to which the work of a thread is charged |
//! | `counts` | [`Counts`](counts::Counts): how many of something each key has |
//! | `counted_buffer` | `CountedBuffer`: bytes that grow only as far as the ledger allows |
//! | `cancellation` | [`Cancellation`](cancellation::Cancellation): cancels a fetch from another thread |
//! | `memory_limit` | `Ledger`: the memory account with one limit |
//! | `named` | a macro for enums with a name for each variant |
//! | `redacted` | URLs without their secrets |
//! | `resolver` | a bounded, caching DNS resolver |
//! | `tls` | certificates and keys from PEM files |
//! | `token` | [`Tokens`](token::Tokens): the shared secrets of a pool |
//!
//! This hall imports no other hall.

pub(crate) mod byte_size;
pub(crate) mod cancellation;
pub(crate) mod charged;
pub mod clock;
#[cfg(feature = "peer")]
pub(crate) mod counted_buffer;
pub(crate) mod counts;
pub(crate) mod error;
#[cfg(feature = "peer")]
pub(crate) mod memory_limit;
pub(crate) mod named;
pub(crate) mod redacted;
pub(crate) mod resolver;
pub(crate) mod tls;
pub(crate) mod token;
