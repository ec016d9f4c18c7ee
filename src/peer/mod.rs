//! The options of a [`Peer`].
//!
//! [`Peer::builder`] is the entry.

// A member of the pool: it sends requests like a client, and it owns and serves a share of the URLs.
//
// The entry is [`Peer`]. Its own share is an `HttpCache`; requests for all other URLs go through its `Client`.
//
// | file | content |
// |---|---|
// | `member` | [`Peer`]: requests, purges, changes of the pool and of rules |
// | `builder` | [`PeerBuilder`]: options, and how the parts of a peer are assembled |
// | `serving` | handler and servers of a peer |
// | `endpoint` | from a request to a response: `/proxy`, purging, access, health |
// | `mirror` | [`Mirror`]: an origin that a peer serves below a path of its own |
// | `client_pool` | the pool of the client, as the endpoint sees it |
// | `addresses` | the IP addresses of the members |
// | `threads` | threads for background refreshes |
// | `warm_up` | takes stored responses over from the previous owner after a change of the pool |
// | `leaving` | announces that the peer is leaving |
// | `admin` | the address for operators: health, metrics, status, purging |
// | `access_log` | one line in a file for each request |
// | `traffic` | recent requests, and warnings, for the status |
// | `status` | the state for operators: text, JSON, a page |
// | `metrics` | counters in the text format of Prometheus |

mod access_log;
mod addresses;
mod admin;
mod builder;
mod client_pool;
mod endpoint;
mod leaving;
mod member;
mod metrics;
mod mirror;
mod serving;
mod status;
mod threads;
mod traffic;
mod warm_up;

pub use access_log::{AccessLogFile, AccessLogFormat};
pub use builder::PeerBuilder;
pub use member::Peer;
pub use mirror::Mirror;
pub use traffic::RecentWarnings;
