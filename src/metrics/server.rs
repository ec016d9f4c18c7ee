//! Connection and request counters of a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::durations::{DurationCounts, Durations};
use crate::base::named::named;
use crate::message::stats::Outcome;

named! {
    /// The reason for refusing a connection.
    #[repr(usize)]
    pub(crate) enum ConnectionRefusal: ALL {
        /// The limit on connections is reached.
        TooMany = "too_many",
        /// The limit on connections from one address is reached.
        TooManyOfAddress = "too_many_from_address",
        /// The system has no free file descriptors or no memory for a socket.
        NoDescriptors = "no_descriptors",
    }
}

named! {
    /// The reason for refusing a request before a handler sees it.
    #[repr(usize)]
    pub(crate) enum RequestRefusal: ALL {
        /// The request is not valid HTTP, or is of a kind that the server does not accept.
        Malformed = "malformed",
        /// The head or the body exceeds its size limit.
        TooLarge = "too_large",
        /// The request did not arrive in time.
        Timeout = "timeout",
        /// The limit on concurrent requests with large bodies is reached.
        TooManyUploads = "too_many_uploads",
        /// The memory account has no room for the body.
        NoMemory = "no_memory",
    }
}

named! {
    /// The result of a TLS handshake.
    #[repr(usize)]
    pub(crate) enum Handshake: ALL {
        /// The handshake created a new session.
        Full = "full",
        /// The handshake resumed an earlier session.
        Resumed = "resumed",
        /// The connection ended before the handshake was complete.
        Failed = "failed",
    }
}

/// The counters of one server, shared by all of its threads. Counting is one relaxed addition, so the counters that are
/// read together need not be from exactly the same moment.
#[derive(Debug, Default)]
pub(crate) struct ServerStats {
    accepted: AtomicU64,
    closed: AtomicU64,
    connection_refusals: [AtomicU64; ConnectionRefusal::ALL.len()],
    request_refusals: [AtomicU64; RequestRefusal::ALL.len()],
    handshakes: [AtomicU64; Handshake::ALL.len()],
    cut_off: AtomicU64,
    durations: Durations,
}

/// Counters with their names.
pub(crate) type Named = Vec<(&'static str, u64)>;

impl ServerStats {
    pub(crate) fn count_accepted(&self) {
        add_one(&self.accepted);
    }

    /// Counts the end of an accepted connection.
    pub(crate) fn count_closed(&self) {
        add_one(&self.closed);
    }

    pub(crate) fn count_connection_refusal(&self, reason: ConnectionRefusal) {
        add_one(&self.connection_refusals[reason as usize]);
    }

    pub(crate) fn count_request_refusal(&self, reason: RequestRefusal) {
        add_one(&self.request_refusals[reason as usize]);
    }

    pub(crate) fn count_handshake(&self, handshake: Handshake) {
        add_one(&self.handshakes[handshake as usize]);
    }

    /// Counts a connection that was closed because its client reads slowly and the memory limit is reached.
    pub(crate) fn count_cut_off(&self) {
        add_one(&self.cut_off);
    }

    /// Counts how long an answered request took.
    pub(crate) fn count_duration(&self, outcome: Option<Outcome>, duration: Duration) {
        self.durations.count(outcome, duration);
    }

    pub(crate) fn durations(&self) -> Vec<DurationCounts> {
        self.durations.counts()
    }

    pub(crate) fn accepted(&self) -> u64 {
        read(&self.accepted)
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> u64 {
        // `closed` is read first, so that a connection that opens and closes in between is not counted as closed only.
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
    fn refusals_are_counted_by_reason() {
        let stats = ServerStats::default();
        stats.count_connection_refusal(ConnectionRefusal::NoDescriptors);
        stats.count_request_refusal(RequestRefusal::NoMemory);
        stats.count_request_refusal(RequestRefusal::NoMemory);
        stats.count_handshake(Handshake::Failed);
        assert_eq!(
            stats.connection_refusals(),
            [("too_many", 0), ("too_many_from_address", 0), ("no_descriptors", 1)]
        );
        assert_eq!(stats.request_refusals().last(), Some(&("no_memory", 2)));
        assert_eq!(stats.handshakes(), [("full", 0), ("resumed", 0), ("failed", 1)]);
    }

    #[test]
    fn connections_count_as_open_until_they_close() {
        let stats = ServerStats::default();
        stats.count_accepted();
        stats.count_accepted();
        stats.count_closed();
        assert_eq!((stats.accepted(), stats.open()), (2, 1));
    }
}
