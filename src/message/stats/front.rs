//! What the server of a peer counts of its connections.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::named::named;

named! {
    /// Why a connection is refused.
    #[repr(usize)]
    pub(crate) enum ConnectionRefusal: ALL {
        /// There are as many connections as there may be.
        TooMany = "too_many",
        /// There are as many from its address.
        TooManyOfAddress = "too_many_of_address",
        /// The system has no more file descriptors, or no memory for a socket.
        NoDescriptors = "no_descriptors",
    }
}

named! {
    /// Why the server refuses a request before a handler sees it.
    #[repr(usize)]
    pub(crate) enum RequestRefusal: ALL {
        /// It is no HTTP request that the server accepts.
        Malformed = "malformed",
        /// Its head or its content is larger than allowed.
        TooLarge = "too_large",
        /// It did not come in time.
        Late = "late",
        /// Too many requests with long content are on their way.
        TooManyUploads = "too_many_uploads",
        /// There is no memory for its content.
        NoMemory = "no_memory",
    }
}

named! {
    /// How a TLS handshake ends.
    #[repr(usize)]
    pub(crate) enum Handshake: ALL {
        Full = "full",
        /// It resumes an earlier session.
        Resumed = "resumed",
        /// It began, and the connection ended before it was complete.
        Failed = "failed",
    }
}

/// The counters of one server, shared by all of its threads. Counting is one relaxed addition; reading them is not a
/// consistent cut.
#[derive(Debug, Default)]
pub(crate) struct ServerStats {
    accepted: AtomicU64,
    closed: AtomicU64,
    connection_refusals: [AtomicU64; ConnectionRefusal::ALL.len()],
    request_refusals: [AtomicU64; RequestRefusal::ALL.len()],
    handshakes: [AtomicU64; Handshake::ALL.len()],
    cut_off: AtomicU64,
}

/// Counts with the names of what was counted.
pub(crate) type Named = Vec<(&'static str, u64)>;

impl ServerStats {
    pub(crate) fn count_accepted(&self) {
        add_one(&self.accepted);
    }

    /// A connection that was accepted has ended.
    pub(crate) fn count_closed(&self) {
        add_one(&self.closed);
    }

    pub(crate) fn count_connection_refusal(&self, why: ConnectionRefusal) {
        add_one(&self.connection_refusals[why as usize]);
    }

    pub(crate) fn count_request_refusal(&self, why: RequestRefusal) {
        add_one(&self.request_refusals[why as usize]);
    }

    pub(crate) fn count_handshake(&self, handshake: Handshake) {
        add_one(&self.handshakes[handshake as usize]);
    }

    /// A connection was closed because its client reads slowly and the memory limit is reached.
    pub(crate) fn count_cut_off(&self) {
        add_one(&self.cut_off);
    }

    pub(crate) fn accepted(&self) -> u64 {
        read(&self.accepted)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u64 {
        // The end is read first, so that no connection is seen to end before it was accepted.
        let closed = read(&self.closed);
        self.accepted().saturating_sub(closed)
    }

    pub(crate) fn cut_off(&self) -> u64 {
        read(&self.cut_off)
    }

    pub(crate) fn connection_refusals(&self) -> Named {
        by_name(ConnectionRefusal::ALL.map(ConnectionRefusal::name), &self.connection_refusals)
    }

    pub(crate) fn request_refusals(&self) -> Named {
        by_name(RequestRefusal::ALL.map(RequestRefusal::name), &self.request_refusals)
    }

    pub(crate) fn handshakes(&self) -> Named {
        by_name(Handshake::ALL.map(Handshake::name), &self.handshakes)
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn by_name<const N: usize>(names: [&'static str; N], counters: &[AtomicU64; N]) -> Named {
    names.into_iter().zip(counters.iter().map(read)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_under_its_name() {
        let stats = ServerStats::default();
        stats.count_connection_refusal(ConnectionRefusal::NoDescriptors);
        stats.count_request_refusal(RequestRefusal::NoMemory);
        stats.count_request_refusal(RequestRefusal::NoMemory);
        stats.count_handshake(Handshake::Failed);
        assert_eq!(
            stats.connection_refusals(),
            [("too_many", 0), ("too_many_of_address", 0), ("no_descriptors", 1)]
        );
        assert_eq!(stats.request_refusals().last(), Some(&("no_memory", 2)));
        assert_eq!(stats.handshakes(), [("full", 0), ("resumed", 0), ("failed", 1)]);
    }

    #[test]
    fn connections_are_open_until_they_are_closed() {
        let stats = ServerStats::default();
        stats.count_accepted();
        stats.count_accepted();
        stats.count_closed();
        assert_eq!((stats.accepted(), stats.open()), (2, 1));
    }
}
