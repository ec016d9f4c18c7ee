//! The owner of a key, and the peers that follow if the owner is down.
//!
//! | file | content |
//! |---|---|
//! | `compatible` | [`Ring`]: points on a circle, with the results of the Go package |
//! | `rendezvous` | [`Rendezvous`]: the peer with the smallest weighted score owns the key; no table |
//! | `mixing` | a 64-bit hash that never changes |
//! | `placement` | the configured one of the two |

mod compatible;
mod mixing;
mod placement;
mod rendezvous;

pub use compatible::{HashFunction, Ring};
pub(crate) use placement::Placement;
pub use placement::RingKind;
pub use rendezvous::Rendezvous;
