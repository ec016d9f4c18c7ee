//! The members of a pool, the owner of each URL, and the protocol between peers.
//!
//! Entry: `ring::Placement`, which names the owners of a URL. Reading order:
//!
//! | module | content |
//! |---|---|
//! | `peer_url`, `member` | the base URL of a peer, and its weight |
//! | `ring` | the owner of a URL: [`Rendezvous`](ring::Rendezvous), and the ring of the Go package |
//! | `discovery` | sources for the list of members: a file, DNS, a closure |
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
