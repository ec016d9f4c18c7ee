//! The members of a pool, which of them owns a URL, and what peers say to each other.
//!
//! | module | content |
//! |---|---|
//! | `peer_url`, `member` | the base URL of a peer, and its weight |
//! | `ring` | who owns a URL: [`Rendezvous`](ring::Rendezvous), and the ring of the Go package |
//! | `discovery` | where the list of members comes from: a file, DNS, a closure |
//! | `protocol` | paths and header fields between clients and peers |
//! | `purge` | purges between peers: requests and reports |
//!
//! This hall imports `base` and `message`.

pub(crate) mod discovery;
pub(crate) mod member;
pub(crate) mod peer_url;
pub(crate) mod protocol;
pub(crate) mod purge;
pub(crate) mod ring;
