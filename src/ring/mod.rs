//! Which peer owns a key, and who follows when it is away.
//!
//! | file | what it holds |
//! |---|---|
//! | `compatible` | [`Ring`]: points on a circle, as the Go package has it |
//! | `balanced` | [`BalancedRing`]: a table of slots, of which each peer has its fair share |
//! | `assignment` | who gets which slot of it |
//! | `succession` | who follows in it |
//! | `mixing` | a hash of 64 bits that stays as it is |
//! | `placement` | one of the two, as chosen |

mod assignment;
mod balanced;
mod compatible;
mod mixing;
mod placement;
mod succession;

pub use balanced::BalancedRing;
pub use compatible::{HashFunction, Ring};
pub(crate) use placement::Placement;
pub use placement::RingKind;
