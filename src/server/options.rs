//! The options of a server.

mod proxies;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use log::Level;

use super::access_log::{AccessLog, TrafficRecorder};
use super::proxy_protocol::TrustedProxies;
use super::request_head::HeadLimits;
use super::tls::ServerTls;
use crate::scheduler::PoolOptions;

/// The options of a server: threads, queue, limits and deadlines.
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
/// | [`access_log`](Self::access_log) | none |
/// | [`proxy_protocol_from`](Self::proxy_protocol_from) | no proxies |
/// | [`http_proxy`](Self::http_proxy) | no |
/// | [`max_tunnels`](Self::max_tunnels) | 4,096 |
/// | [`tunnel_idle_timeout`](Self::tunnel_idle_timeout) | 10 minutes |
///
/// `TinyHttpServer` supports only `workers`, `queue_length`, `max_body`, `write_timeout` and
/// `drain_deadline`: tiny_http has no settings for the others. It starts a fixed number of workers, by
/// default 64.
///
/// ```
/// use std::time::Duration;
///
/// use forwardcache::server::ServerConfig;
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
    pub(super) access_log: Option<Arc<dyn AccessLog>>,
    pub(super) recorder: Option<Arc<dyn TrafficRecorder>>,
    pub(super) http_proxy: bool,
    max_tunnels: usize,
    pub(super) tunnel_idle_timeout: Duration,
    trusted_proxies: Vec<TrustedProxies>,
}

const DEFAULT_MAX_CONNECTIONS: usize = 16_384;

/// Upper bound of [`ServerConfig::max_fields`].
pub(super) const FIELDS_LIMIT: usize = 256;

const IO_THREADS_LIMIT: usize = 1024;
const WORKERS_LIMIT: usize = 10_000;
const QUEUE_LIMIT: usize = 1_000_000;

impl ServerConfig {
    /// Creates the options with their default values.
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
            access_log: None,
            recorder: None,
            http_proxy: false,
            max_tunnels: 4096,
            tunnel_idle_timeout: Duration::from_secs(600),
            trusted_proxies: Vec::new(),
        }
    }

    /// Sets the number of I/O threads, from 1 to 1024. They read requests, serve stored responses, and never
    /// wait for an origin. Default: the number of cores.
    #[must_use]
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.io_threads = threads.clamp(1, IO_THREADS_LIMIT);
        self
    }

    /// Sets a log that receives a record of each answered request. Default: none.
    #[must_use]
    pub fn access_log(mut self, log: impl AccessLog + 'static) -> Self {
        self.access_log = Some(Arc::new(log));
        self
    }

    /// Sets the maximum number of worker threads, from 1 to 10,000. Workers fetch from origins and run the
    /// handler. A process that starts more threads may exhaust its memory maps, which ends it.
    ///
    /// The server starts workers on demand, and each ends after a minute without work. A peer starts fewer if
    /// its memory, its file descriptors or its control group do not suffice. A fetch starts only if fewer
    /// workers wait for the same origin than are free, so an unresponsive origin takes at most half of the
    /// workers. One client takes at most two thirds. Default: 64.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.clamp(1, WORKERS_LIMIT));
        self
    }

    /// Sets how many [`workers`](Self::workers) are kept when idle. Default: 0.
    #[must_use]
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.min_workers = workers;
        self
    }

    /// Sets the stack size of a worker, in bytes; at least 64 KiB. A custom [`RoundTrip`](crate::RoundTrip)
    /// runs on this stack. Default: 1 MiB.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes.max(64 << 10);
        self
    }

    /// Returns the fixed number of workers of the tiny_http server.
    #[cfg(feature = "tiny_http")]
    pub(super) fn worker_count(&self) -> usize {
        self.workers.unwrap_or(PoolOptions::default().max)
    }

    pub(super) fn worker_options(&self) -> PoolOptions {
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

    /// Sets how long a request may wait for a worker. After that time the server responds with 503 and
    /// `Retry-After: 1`. Default: 10 s.
    #[must_use]
    pub fn max_queue_wait(mut self, longest: Duration) -> Self {
        self.max_queue_wait = longest;
        self
    }

    /// Sets how many requests may wait for a worker, from 1 to 1,000,000; at most half of them for one
    /// origin. The server rejects further requests with 503 and `Retry-After: 1`. Default: 1024.
    #[must_use]
    pub fn queue_length(mut self, requests: usize) -> Self {
        self.queue_length = requests.clamp(1, QUEUE_LIMIT);
        self
    }

    /// Sets the maximum size of a request head (request line and fields), in bytes; at least 256. A larger
    /// head gets 431. Default: 16 KiB.
    #[must_use]
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes.max(256);
        self
    }

    /// Sets the maximum number of fields in a request head, at most 256. More fields get 431. Default: 100.
    #[must_use]
    pub fn max_fields(mut self, fields: usize) -> Self {
        self.max_fields = fields.min(FIELDS_LIMIT);
        self
    }

    /// Sets the maximum length of a request target, in bytes. A longer target gets 414. Default: 8 KiB.
    #[must_use]
    pub fn max_target(mut self, bytes: usize) -> Self {
        self.max_target = bytes;
        self
    }

    /// Sets the maximum size of a request body, in bytes. A larger body gets 413. Response bodies have no
    /// limit. Default: 64 MiB.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets the maximum number of open connections; at least 1. The server sends 503 on a further connection
    /// and closes it. The limit is lower if the process may not open enough files (`ulimit -n`): a quarter of
    /// them (at most 2,048, but at least one for each of the [`workers`](Self::workers)) is reserved for
    /// connections to origins. Default: 16,384.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections.max(1));
        self
    }

    /// Returns the maximum number of connections if the open-file limit permits `allowed`. Logs a warning if
    /// that is fewer than the program configured.
    pub(super) fn max_connections_within(&self, allowed: usize) -> usize {
        let wanted = self.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        if allowed < wanted {
            let level = if self.max_connections.is_some() { Level::Warn } else { Level::Info };
            log::log!(
                level,
                "the limit of open files permits {allowed} connections, not {wanted}: raise it with ulimit -n"
            );
        }
        wanted.min(allowed)
    }

    /// Sets the maximum number of open connections of one client (an IPv4 address or a /64 IPv6 network); at
    /// least 1. Default: 4,096.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = connections.max(1);
        self
    }

    /// Sets the time between the first and the last byte of a request head. A later head gets 408. Default:
    /// 10 s.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Sets how long a connection may be idle before the server closes it. Default: 60 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how long a TLS handshake may take. Default: 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Sets how long a client may read nothing of its response, or send nothing of its request body, before
    /// the server closes the connection; at least 100 ms. The server measures
    /// [`min_transfer_rate`](Self::min_transfer_rate) over the same time. Default: 30 s.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// Sets the minimum rate, in bytes per second, at which a client must send its request body and read its
    /// response. Zero accepts any rate. The server sends 408 to a slower client, if no response has started,
    /// and closes the connection. Default: 256.
    #[must_use]
    pub fn min_transfer_rate(mut self, bytes_per_second: u64) -> Self {
        self.min_transfer_rate = bytes_per_second;
        self
    }

    /// Sets how long a shutdown waits for requests that are in progress or queued. Then the server aborts
    /// them; `TinyHttpServer` responds with 503 to those still queued. Default: 10 s.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Returns the maximum number of tunnels if the limit of open files permits `allowed`.
    pub(super) fn max_tunnels_within(&self, allowed: usize) -> usize {
        if self.http_proxy { self.max_tunnels.min(allowed) } else { 0 }
    }

    /// Serves TLS only. A [reload](ServerTls::reload) takes effect for later connections. Default: no TLS.
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
    fn values_that_serve_no_request_are_raised() {
        let options = ServerConfig::new()
            .io_threads(0)
            .workers(0)
            .queue_length(0)
            .max_head(0)
            .max_connections(0)
            .max_connections_per_address(0)
            .write_timeout(Duration::ZERO);
        assert_eq!((options.io_threads, options.worker_options().max, options.queue_length), (1, 1, 1));
        assert_eq!((options.max_connections_within(usize::MAX), options.max_connections_per_address), (1, 1));
        assert_eq!(
            (
                ServerConfig::new().max_connections_within(9),
                ServerConfig::new().max_connections_within(usize::MAX)
            ),
            (9, 16_384)
        );
        assert!(options.write_timeout > Duration::ZERO && options.max_head > 0);
    }

    #[test]
    fn values_that_exhaust_the_process_are_lowered() {
        let options = ServerConfig::new().io_threads(usize::MAX).workers(usize::MAX).queue_length(usize::MAX);
        assert_eq!((options.io_threads, options.queue_length), (IO_THREADS_LIMIT, QUEUE_LIMIT));
        assert_eq!(options.worker_options().max, WORKERS_LIMIT);
    }
}
