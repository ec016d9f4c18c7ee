//! The options of a [`Client`](super::Client) that its requests consult.

use std::time::Duration;

use crate::base::token::Tokens;

/// Default of [`response_timeout`](super::ClientBuilder::response_timeout).
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(70);

/// Default of [`connect_timeout`](super::ClientBuilder::connect_timeout).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Default of [`purge_timeout`](super::ClientBuilder::purge_timeout).
const PURGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Default of [`Options::buffer_limit`]: as much as peers send in one piece.
pub(super) const DEFAULT_BUFFER_LIMIT: u64 = 64 << 10;

/// The options of a client, set by its builder.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) tokens: Option<Tokens>,
    /// Tokens for purges and leave notices, if they differ from `tokens`.
    pub(super) operator_tokens: Option<Tokens>,
    /// Time limit of requests that have no deadline of their own.
    pub(super) deadline: Option<Duration>,
    pub(super) soft_deadline: Option<Duration>,
    pub(super) purge_timeout: Duration,
    /// Bodies of up to this many bytes are read before their response is returned.
    pub(super) buffer_limit: u64,
    /// Time limit for the response heads of all owners together; the last attempt may add `connect_timeout`.
    pub(super) head_timeout: Duration,
    /// Time limit for connecting to one peer.
    pub(super) connect_timeout: Duration,
    /// The maximum number of redirects to follow.
    pub(super) redirects: u32,
    /// Whether 5xx responses without the mark of a peer count as the origin's.
    pub(super) accepts_unmarked: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: None,
            operator_tokens: None,
            deadline: None,
            soft_deadline: None,
            purge_timeout: PURGE_TIMEOUT,
            buffer_limit: DEFAULT_BUFFER_LIMIT,
            head_timeout: HEAD_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            redirects: 0,
            accepts_unmarked: false,
        }
    }
}
