//! Connection and request counters of a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::durations::{DurationCounts, Histograms};
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
        /// The limit on tunnels is reached.
        TooManyTunnels = "too_many_tunnels",
        /// The memory account has no room for the body.
        NoMemory = "no_memory",
    }
}

named! {
    /// The reason for refusing a CONNECT request, or for ending its tunnel at once.
    #[repr(usize)]
    pub(crate) enum TunnelRefusal: ALL {
        /// The client lacks a credential.
        Unauthorized = "unauthorized",
        /// The port, the host or its address is not allowed.
        Forbidden = "forbidden",
        /// The limit on tunnels or on waiting requests is reached.
        TooMany = "too_many",
        /// The host cannot be resolved or connected to.
        Unreachable = "unreachable",
        /// The request is not valid.
        Malformed = "malformed",
        /// The first bytes are not a TLS ClientHello.
        NotTls = "not_tls",
        /// The ClientHello names another server.
        WrongName = "wrong_name",
    }
}

impl TunnelRefusal {
    /// Returns the reason for a response with this status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Self::Unauthorized,
            StatusCode::FORBIDDEN | StatusCode::LOOP_DETECTED | StatusCode::METHOD_NOT_ALLOWED => {
                Self::Forbidden
            }
            StatusCode::SERVICE_UNAVAILABLE => Self::TooMany,
            StatusCode::BAD_REQUEST => Self::Malformed,
            _ => Self::Unreachable,
        }
    }

    /// Returns the reason as text.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::WrongName => "the ClientHello names another server than the CONNECT request",
            Self::NotTls => "the client does not begin with a TLS ClientHello",
            _ => self.name(),
        }
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

/// The label of requests without an outcome, such as a purge or a rejected request.
const NO_OUTCOME: &str = "none";

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
    tunnels_opened: AtomicU64,
    tunnels_closed: AtomicU64,
    tunnel_refusals: [AtomicU64; TunnelRefusal::ALL.len()],
    /// Bytes from clients, and to clients.
    tunnelled: [AtomicU64; 2],
    /// By outcome; the last is for requests without one.
    durations: Histograms<{ Outcome::NAMES.len() + 1 }>,
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

    pub(crate) fn count_tunnel_opened(&self) {
        add_one(&self.tunnels_opened);
    }

    pub(crate) fn count_tunnel_closed(&self) {
        add_one(&self.tunnels_closed);
    }

    pub(crate) fn count_tunnel_refusal(&self, reason: TunnelRefusal) {
        add_one(&self.tunnel_refusals[reason as usize]);
    }

    /// Counts bytes that tunnels have sent to servers and to clients.
    pub(crate) fn count_tunnelled(&self, to_server: u64, to_client: u64) {
        for (counter, count) in self.tunnelled.iter().zip([to_server, to_client]) {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Counts how long an answered request took.
    pub(crate) fn count_duration(&self, outcome: Option<Outcome>, duration: Duration) {
        self.durations.count(outcome.map_or(Outcome::NAMES.len(), Outcome::index), duration);
    }

    pub(crate) fn durations(&self) -> Vec<DurationCounts> {
        self.durations.counts(Outcome::NAMES.into_iter().chain([NO_OUTCOME]))
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

    pub(crate) fn tunnels_opened(&self) -> u64 {
        read(&self.tunnels_opened)
    }

    /// Returns the number of open tunnels.
    pub(crate) fn tunnels_open(&self) -> u64 {
        let closed = read(&self.tunnels_closed);
        self.tunnels_opened().saturating_sub(closed)
    }

    pub(crate) fn tunnel_refusals(&self) -> Named {
        by_name(TunnelRefusal::ALL.map(TunnelRefusal::name), &self.tunnel_refusals)
    }

    pub(crate) fn tunnelled(&self) -> Named {
        by_name(["to_server", "to_client"], &self.tunnelled)
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
