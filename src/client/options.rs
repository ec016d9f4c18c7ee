//! The options of a [`Client`](super::Client) that its requests consult.

use std::time::Duration;

use crate::base::token::Tokens;

/// How long a peer may take to answer, unless told otherwise.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(70);

/// How long connecting to one may take, unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a purge of all peers may take.
const PURGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The usual [`Inner::collected`]: as much as peers send in one piece.
pub(super) const COLLECTED: u64 = 64 << 10;

/// What a client keeps of what it is told.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) tokens: Option<Tokens>,
    /// For purging and leaving, where they need another one.
    pub(super) operator_tokens: Option<Tokens>,
    /// For how long a request may take that has no deadline of its own.
    pub(super) deadline: Option<Duration>,
    pub(super) soft_deadline: Option<Duration>,
    pub(super) purge_timeout: Duration,
    /// Up to how many bytes a body is read before its response is handed out.
    pub(super) collected: u64,
    /// How long all owners together may take to answer, but for the last connection.
    pub(super) head_timeout: Duration,
    /// How long connecting to a peer may take.
    pub(super) hop: Duration,
    /// Whether 5xx responses that do not say that a peer gave them are the origin's.
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
            collected: COLLECTED,
            head_timeout: HEAD_TIMEOUT,
            hop: CONNECT_TIMEOUT,
            accepts_unmarked: false,
        }
    }
}
