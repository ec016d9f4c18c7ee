//! The options of a pool.

use std::time::Duration;

/// The options of a pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolOptions {
    /// The name of the threads.
    pub(crate) name: &'static str,
    /// The greatest number of threads; at least one.
    pub(crate) max: usize,
    /// The number of idle threads that do not end.
    pub(crate) min: usize,
    /// The greatest number of queued jobs; at most half of them for one origin, a quarter for one origin and client.
    pub(crate) queue: usize,
    /// How long a job may wait in the queue; `None` means without limit.
    pub(crate) longest_wait: Option<Duration>,
    /// How long a thread stays idle before it ends.
    pub(crate) idle: Duration,
    /// The size of a thread's stack in bytes.
    pub(crate) stack: usize,
}

impl Default for PoolOptions {
    /// Returns the options of an embedded peer.
    fn default() -> Self {
        Self {
            name: "worker",
            max: 64,
            min: 0,
            queue: 1024,
            longest_wait: Some(Duration::from_secs(10)),
            idle: Duration::from_secs(60),
            stack: 1 << 20,
        }
    }
}
