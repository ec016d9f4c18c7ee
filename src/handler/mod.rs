//! The answering side of a peer: from a request to a response, knowing no socket.
//!
//! | file | what it holds |
//! |---|---|
//! | `proxy` | `/proxy?q=<URL>`: what is asked for, and by whom it is answered |
//! | `purging` | `PURGE`: what is stored is removed, here and at the other peers |
//! | `readiness` | whether a peer should be sent requests; pure |
//! | `allowed` | who may ask, and for what |
//! | `host_bound` | what an origin says to its own host, for clients that see it at another |
//! | `refusal` | an answer that the peer makes itself, with the reason in one line |
//! | `own_addresses` | how the peer knows a URL that leads back to itself |

mod allowed;
mod host_bound;
mod own_addresses;
mod proxy;
mod purging;
mod readiness;
mod refusal;

pub(crate) use allowed::Allowed;
pub(crate) use own_addresses::{OwnAddresses, is_of_this_machine};
pub(crate) use proxy::{Next, PoolView, Proxy};
pub(crate) use refusal::{method_not_allowed, refusal};
