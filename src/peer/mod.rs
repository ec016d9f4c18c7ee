//! A member of the pool: a client that owns a share.
//!
//! | file | what it holds |
//! |---|---|
//! | `member` | [`Peer`]: its own keys in process, all others from their owners; handler and front |
//! | `admin` | what it says to those who run it |
//! | `leaving` | what it says before it ends |
//! | `handover` | what a new owner asks of the former one |
//! | `builder` | [`PeerBuilder`]: what it is made of |

mod admin;
mod builder;
mod handover;
mod leaving;
mod member;

pub use builder::PeerBuilder;
pub use member::Peer;
