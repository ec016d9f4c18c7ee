//! Extensions of requests and responses inside one process. They are never sent.

use std::time::Duration;

/// A response extension: the response comes from a peer that is about to shut down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsLeaving;

/// A response extension: the response does not come from a peer, because no peer was available.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchedDirectly;

/// A response extension: the client wants the digest, if the content is known before the head is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantsDigest;

/// A request extension: the request is sent to a peer, so its `Proxy-Authorization` is meant for that peer and must not
/// be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentToPeer;

/// A request extension: the time limit for the head of the response, if it is shorter than the transport's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadTimeout(pub(crate) Duration);

/// A request extension: the time limit for connecting, if it is shorter than the transport's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectTimeout(pub(crate) Duration);

/// A request extension: the time limit for the head of the response, counted from its first byte. A peer writes a head
/// in one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadReadTimeout(pub(crate) Duration);
