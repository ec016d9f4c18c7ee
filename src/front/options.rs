//! The options of a front.

use std::thread;
use std::time::Duration;

/// How a front serves: threads, queue, limits and deadlines.
///
/// ```
/// use std::time::Duration;
///
/// use forwardcache::FrontOptions;
///
/// let options = FrontOptions::new().workers(8).drain_deadline(Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct FrontOptions {
    pub(super) workers: usize,
    pub(super) queue_length: usize,
    pub(super) max_body: u64,
    pub(super) write_timeout: Duration,
    pub(super) drain_deadline: Duration,
}

impl FrontOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        Self {
            workers: (2 * cores).max(4),
            queue_length: 1024,
            max_body: 64 << 20,
            write_timeout: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(10),
        }
    }

    /// How many threads run the handler; at least one.
    ///
    /// The number is fixed: as many requests are handled at once, and no more.
    /// Default: twice the number of cores, at least four.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// How many requests may wait for a worker; at least one. Whoever comes on top of that is
    /// turned away with 503 and `Retry-After: 1`. Default: 1024.
    #[must_use]
    pub fn queue_length(mut self, requests: usize) -> Self {
        self.queue_length = requests.max(1);
        self
    }

    /// How large the body of a request may be, in bytes; a larger one is answered with 413.
    /// Bodies of responses have no limit. Default: 64 MiB.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// How long one write may wait for a client that does not read, before the client is given up;
    /// at least 100 ms. Default: 30 s.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// How long a shutdown waits for requests that are in flight or queued. What is still queued
    /// then is answered with 503. Default: 10 s.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_serve_nobody_is_raised() {
        let options = FrontOptions::new().workers(0).queue_length(0).write_timeout(Duration::ZERO);
        assert_eq!((options.workers, options.queue_length), (1, 1));
        assert!(options.write_timeout > Duration::ZERO);
    }
}
