//! The endpoint of a peer: from a request to a response, independent of sockets.
//!
//! The entry is [`Proxy`]. A request passes `gate` and `admission`, which read only its head and return an `Action` or
//! a refusal. `proxy` then runs the action.
//!
//! | file | content |
//! |---|---|
//! | `pool_view` | [`PoolView`]: the pool, as the endpoint sees it |
//! | `access` | tokens, and the origins that may be fetched |
//! | `own_addresses` | the addresses of this peer, to recognize its own authority and URLs that lead back to it |
//! | `action` | the operation that an admitted request asks for |
//! | `proxy` | [`Proxy`]: runs actions; stored responses, fetches, explanations |
//! | `sharing` | runs actions on a server whose few threads handle all kinds of requests |
//! | `forward_access` | which clients may use prefix form, mirrors, the forward proxy and `CONNECT` |
//! | `tunnel` | CONNECT: which tunnels may be opened, and their connections |
//! | `gate` | refuses requests that are misdirected, come from a web page, or lack a right |
//! | `admission` | from the head of a request to an action |
//! | `purging` | `PURGE`: removes stored responses here and at the other peers |
//! | `status` | `/healthz`, `/readyz` and `/proxy/leaving` |
//! | `readiness` | whether a peer is ready; pure |
//! | `response` | turns a result of the cache into the response of this peer |
//! | `forms` | the forms in which programs name URLs, and see them in responses; pure |
//! | `forwarding` | requests of programs that do not know the pool, which go to the owners of their URLs |
//! | `page_safety` | header fields that keep browsers from running responses of a peer without a token |
//! | `refusal` | responses that the peer generates itself, with a reason in one line |

mod access;
mod action;
mod admission;
mod forms;
mod forward_access;
mod forwarding;
mod gate;
mod own_addresses;
mod page_safety;
mod pool_view;
mod proxy;
mod purging;
mod readiness;
mod refusal;
mod response;
mod sharing;
mod status;
mod tunnel;

pub(super) use access::{AccessRules, Rights};
pub(super) use action::Next;
pub(super) use forms::{FETCH, Forwarding, Mirrors};
pub(super) use own_addresses::OwnAddresses;
pub(super) use pool_view::PoolView;
pub(super) use proxy::Proxy;
pub(super) use refusal::{method_not_allowed, refusal};
pub(super) use tunnel::Tunnels;
