//! Which peer owns a key, and who follows when it is away.
//!
//! | file | what it holds |
//! |---|---|
//! | `compatible` | [`Ring`]: points on a circle, as the Go package has it |
//! | `rendezvous` | [`Rendezvous`]: the peer of the smallest score, by weight, without a table |
//! | `mixing` | a hash of 64 bits that stays as it is |
//! | `placement` | one of the two, as chosen |

mod compatible;
mod mixing;
mod placement;
mod rendezvous;

pub use compatible::{HashFunction, Ring};
pub(crate) use placement::Placement;
pub use placement::RingKind;
pub use rendezvous::Rendezvous;
