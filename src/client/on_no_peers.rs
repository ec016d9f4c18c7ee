//! What a client may be told to do where its pool does not answer.

/// What a client does with a request for which no peer is left: its pool has none, or all of them failed, just
/// now or lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoPeers {
    /// It goes to its origin, uncached: a cache that is away must not be a program that is away. It is
    /// fetched past the rules on origins that the peers may have. Not where the pool is busy, where a peer reports
    /// that the origin failed, or where all that is wrong is how this client was set up.
    #[default]
    FetchDirectly,
    /// It fails: with the error of the first peer that was asked, or as
    /// [`ErrorKind::OnNoPeers`](crate::ErrorKind::OnNoPeers) when none was.
    Fail,
}
