//! The answering side of a peer: from a request to a response, knowing no socket.
//!
//! | file | what it holds |
//! |---|---|
//! | `proxy` | `/proxy?q=<URL>`: what is asked for, and by whom it is answered |
//! | `purging` | `PURGE`: what is stored is removed, here and at the other peers |
//! | `readiness` | whether a peer should be sent requests; pure |
//! | `allowed` | who may ask, and for what |
//! | `gate` | which requests are refused by their head |
//! | `host_bound` | what an origin says to its own host, for clients that see it at another |
//! | `refusal` | an answer that the peer makes itself, with the reason in one line |
//! | `own_addresses` | how the peer knows a URL that leads back to itself, and an authority that is its own |
//! | `page_safety` | the fields that keep a browser from running a response of a peer without a token |

mod allowed;
mod gate;
mod host_bound;
mod own_addresses;
mod page_safety;
mod proxy;
mod purging;
mod readiness;
mod refusal;

pub(crate) use allowed::{Allowed, Rights};
pub(crate) use own_addresses::OwnAddresses;
pub(crate) use proxy::{Next, PoolView, Proxy};
pub(crate) use refusal::{method_not_allowed, refusal};
