//! The option for requests that no peer can answer.

/// Selects how a client handles a request when no peer is left: the pool is empty, or every peer has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnNoPeers {
    /// Fetches the URL from its origin without a cache, so that a program keeps working while its cache is
    /// down. Origin rules of the peers do not apply. The client never fetches directly when a peer is busy,
    /// when a peer reports that the origin failed, or when only the configuration of this client or its peers
    /// is wrong.
    #[default]
    FetchDirectly,
    /// Fails with the error of the first peer that was asked, or with
    /// [`ErrorKind::NoPeers`](crate::ErrorKind::NoPeers) if no peer was asked.
    Fail,
}
