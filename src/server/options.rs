//! The options of a front.

use std::thread;
use std::time::Duration;

use log::Level;

use super::request_head::HeadLimits;
use super::tls::ServerTls;
use crate::scheduler::PoolOptions;

/// How a front serves: threads, queue, limits and deadlines.
///
/// | option | default |
/// |---|---|
/// | [`io_threads`](Self::io_threads) | the number of cores |
/// | [`workers`](Self::workers) | 64 |
/// | [`min_workers`](Self::min_workers) | 0 |
/// | [`stack_size`](Self::stack_size) | 1 MiB |
/// | [`queue_length`](Self::queue_length) | 1,024 requests |
/// | [`max_queue_wait`](Self::max_queue_wait) | 10 s |
/// | [`max_head`](Self::max_head) | 16 KiB |
/// | [`max_fields`](Self::max_fields) | 100 |
/// | [`max_target`](Self::max_target) | 8 KiB |
/// | [`max_body`](Self::max_body) | 64 MiB |
/// | [`max_connections`](Self::max_connections) | 16,384 |
/// | [`max_connections_per_address`](Self::max_connections_per_address) | 4,096 |
/// | [`head_timeout`](Self::head_timeout) | 10 s |
/// | [`idle_timeout`](Self::idle_timeout) | 60 s |
/// | [`handshake_timeout`](Self::handshake_timeout) | 10 s |
/// | [`write_timeout`](Self::write_timeout) | 30 s |
/// | [`min_transfer_rate`](Self::min_transfer_rate) | 256 bytes/s |
/// | [`drain_deadline`](Self::drain_deadline) | 10 s |
/// | [`tls`](Self::tls) | none |
///
/// The front on tiny_http knows `workers`, `queue_length`, `max_body`, `write_timeout` and `drain_deadline`
/// alone: there is no way to tell tiny_http of the others. It has a fixed number of workers, by default 64.
///
/// ```
/// use std::time::Duration;
///
/// use forwardcache::ServerConfig;
///
/// let options = ServerConfig::new().workers(8).drain_deadline(Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(super) io_threads: usize,
    workers: Option<usize>,
    min_workers: usize,
    stack_size: usize,
    pub(super) queue_length: usize,
    max_queue_wait: Duration,
    pub(super) max_head: usize,
    pub(super) max_fields: usize,
    pub(super) max_target: usize,
    pub(super) max_body: u64,
    max_connections: Option<usize>,
    pub(super) max_connections_per_address: usize,
    pub(super) head_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) min_transfer_rate: u64,
    pub(super) drain_deadline: Duration,
    pub(super) tls: Option<ServerTls>,
}

const CONNECTIONS: usize = 16_384;

/// More fields than that are refused, whatever the options say.
pub(super) const MOST_FIELDS: usize = 256;

const MOST_IO_THREADS: usize = 1024;
const MOST_WORKERS: usize = 10_000;
const MOST_QUEUED: usize = 1_000_000;

impl ServerConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        Self {
            io_threads: cores,
            workers: None,
            min_workers: 0,
            stack_size: 1 << 20,
            queue_length: 1024,
            max_queue_wait: Duration::from_secs(10),
            max_head: 16 << 10,
            max_fields: 100,
            max_target: 8 << 10,
            max_body: 64 << 20,
            max_connections: None,
            max_connections_per_address: 4096,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            min_transfer_rate: 256,
            drain_deadline: Duration::from_secs(10),
            tls: None,
        }
    }

    /// How many threads read and write; at least one. They never wait for an origin, and answer what is
    /// stored themselves; 1024 at most. Default: the number of cores.
    #[must_use]
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.io_threads = threads.clamp(1, MOST_IO_THREADS);
        self
    }

    /// How many threads may wait for origins, or run the handler; at least one and at most 10,000: a process that starts
    /// more may run out of memory maps, which ends it.
    ///
    /// They are started when there is something to do, and end after a minute without. A peer has fewer of them where
    /// its memory, its file descriptors or its control group do not suffice. A fetch starts only while fewer threads
    /// wait for its origin than are free, so that an origin that does not answer takes half of them at most; a client
    /// has two thirds at most. Default: 64.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.clamp(1, MOST_WORKERS));
        self
    }

    /// How many of the [`workers`](Self::workers) stay when they have nothing to do. Default: none.
    #[must_use]
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.min_workers = workers;
        self
    }

    /// The stack of a worker, in bytes; at least 64 KiB. A [`RoundTrip`](crate::RoundTrip) of one's own runs on it.
    /// Default: 1 MiB.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes.max(64 << 10);
        self
    }

    /// The number of threads where it is fixed: on tiny_http.
    #[cfg(feature = "tiny_http")]
    pub(super) fn worker_count(&self) -> usize {
        self.workers.unwrap_or(PoolOptions::default().max)
    }

    pub(super) fn pool(&self) -> PoolOptions {
        let defaults = PoolOptions::default();
        PoolOptions {
            max: self.workers.unwrap_or(defaults.max),
            min: self.min_workers,
            stack: self.stack_size,
            queue: self.queue_length,
            longest_wait: Some(self.max_queue_wait),
            ..defaults
        }
    }

    /// How long a request may wait for a worker. One that has waited for longer is answered with 503 and
    /// `Retry-After: 1`. Default: 10 s.
    #[must_use]
    pub fn max_queue_wait(mut self, longest: Duration) -> Self {
        self.max_queue_wait = longest;
        self
    }

    /// How many requests may wait for a worker, and half as many for one origin; at least one and at most 1,000,000. Whoever comes on top of
    /// that is turned away with 503 and `Retry-After: 1`. Default: 1024.
    #[must_use]
    pub fn queue_length(mut self, requests: usize) -> Self {
        self.queue_length = requests.clamp(1, MOST_QUEUED);
        self
    }

    /// How large the head of a request may be, request line and fields, in bytes; at least 256. A longer one
    /// is answered with 431. Default: 16 KiB.
    #[must_use]
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes.max(256);
        self
    }

    /// How many fields the head of a request may have, 256 at most; more are answered with 431. Default: 100.
    #[must_use]
    pub fn max_fields(mut self, fields: usize) -> Self {
        self.max_fields = fields.min(MOST_FIELDS);
        self
    }

    /// How long a request target may be, in bytes; a longer one is answered with 414. Default: 8 KiB.
    #[must_use]
    pub fn max_target(mut self, bytes: usize) -> Self {
        self.max_target = bytes;
        self
    }

    /// How large the body of a request may be, in bytes; a larger one is answered with 413.
    /// Bodies of responses have no limit. Default: 64 MiB.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// How many connections there may be at a time; at least one. One more is answered with 503 and closed. Fewer where
    /// the process may not open that many files (`ulimit -n`), of which a quarter, up to 2,048, or one for each of the
    /// [`workers`](Self::workers) is left for origins. Default: 16,384.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections.max(1));
        self
    }

    /// The same, where so many are allowed. That there are fewer than somebody said is a warning.
    pub(super) fn connections(&self, allowed: usize) -> usize {
        let wanted = self.max_connections.unwrap_or(CONNECTIONS);
        if allowed < wanted {
            let level = if self.max_connections.is_some() { Level::Warn } else { Level::Info };
            log::log!(
                level,
                "{allowed} connections at most, not {wanted}: this process may open no more files"
            );
        }
        wanted.min(allowed)
    }

    /// How many of them may come from one client (an address, or an IPv6 network of 64 bits); at least one. Default: 4,096.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = connections.max(1);
        self
    }

    /// How long the head of a request may take from its first byte to its last, however it comes. A later one
    /// is answered with 408. Default: 10 s.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// How long a connection may be without a request before it is closed. Default: 60 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long a TLS handshake may take. Default: 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long a client may take nothing of its response, or send nothing of its request's body, before it
    /// is given up; at least 100 ms. The smallest rate is measured over as long. Default: 30 s.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// How many bytes a second a client has to send or take while it is waited for. Zero: any. One that is
    /// slower is answered with 408, if it can be, and its connection closed. Default: 256.
    #[must_use]
    pub fn min_transfer_rate(mut self, bytes_per_second: u64) -> Self {
        self.min_transfer_rate = bytes_per_second;
        self
    }

    /// How long a shutdown waits for requests that are in flight or queued. What is not answered then is
    /// broken off; `TinyHttpServer` answers with 503 what is still queued. Default: 10 s.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Serves with TLS, and nothing without it. What is [reloaded](ServerTls::reload) is for connections that
    /// are made from then on. Default: without TLS.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    pub(super) fn head_limits(&self) -> HeadLimits {
        HeadLimits { fields: self.max_fields, field_bytes: self.max_head, target: self.max_target }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_serve_nobody_is_raised() {
        let options = ServerConfig::new()
            .io_threads(0)
            .workers(0)
            .queue_length(0)
            .max_head(0)
            .max_connections(0)
            .max_connections_per_address(0)
            .write_timeout(Duration::ZERO);
        assert_eq!((options.io_threads, options.pool().max, options.queue_length), (1, 1, 1));
        assert_eq!((options.connections(usize::MAX), options.max_connections_per_address), (1, 1));
        assert_eq!(
            (ServerConfig::new().connections(9), ServerConfig::new().connections(usize::MAX)),
            (9, 16_384)
        );
        assert!(options.write_timeout > Duration::ZERO && options.max_head > 0);
    }

    #[test]
    fn what_would_end_the_process_is_lowered() {
        let options = ServerConfig::new().io_threads(usize::MAX).workers(usize::MAX).queue_length(usize::MAX);
        assert_eq!((options.io_threads, options.queue_length), (MOST_IO_THREADS, MOST_QUEUED));
        assert_eq!(options.pool().max, MOST_WORKERS);
    }
}
