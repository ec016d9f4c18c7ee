//! A member of the pool: a client that owns a share.
//!
//! | file | what it holds |
//! |---|---|
//! | `member` | [`Peer`]: its own keys in process, all others from their owners; handler and front |
//! | `addresses` | which addresses the members have |
//! | `pool` | what it knows of the pool, for the answering side and for the budgets of origins |
//! | `threads` | on which threads it refreshes |
//! | `admin` | what it says to those who run it |
//! | `metrics` | what it has counted, for Prometheus |
//! | `leaving` | what it says before it ends |
//! | `warm_up` | what a new owner asks of the former one |
//! | `builder` | [`PeerBuilder`]: what it is made of |

mod addresses;
mod admin;
mod builder;
pub(crate) mod endpoint;
mod leaving;
mod member;
mod metrics;
mod pool;
mod threads;
mod warm_up;

pub use builder::PeerBuilder;
pub use member::Peer;
