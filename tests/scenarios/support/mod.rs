//! Helpers shared by the scenarios.
//!
//! | module | subject |
//! |---|---|
//! | `origin` | a scripted origin that checks itself |
//! | `tls` | the same origin behind TLS, with its own certificate authority |
//! | `browser` | Chromium, controlled over a pipe |
//! | `nginx` | a real nginx with a folder per caching behaviour |
//! | `raw` | a client that exchanges raw bytes with a server |
//! | `port` | a reserved loopback port |
//! | `process` | child processes, including the command of this crate |
//! | `output` | captures the output of a child process as it is printed |
//! | `relay` | a TCP relay in front of a server that injects faults |
//! | `store` | a memory store with a check that can fail |
//! | `random` | reproducible pseudo-random numbers |
//! | `wire` | a strict parser for HTTP/1.1 messages |

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) mod browser;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod output;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod relay;
pub(crate) mod store;
pub(crate) mod tls;
pub(crate) mod wire;

/// The longest that a test waits for anything before it fails. A passing test never waits this long.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Blocks until `condition` returns true. Panics with `what` after [`TEST_TIMEOUT`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < TEST_TIMEOUT, "{what}");
        thread::yield_now();
    }
}

/// Blocks until `amount` returns at least `enough`. Panics with `what` if it has not grown for [`TEST_TIMEOUT`].
pub(crate) fn wait_for_growth(what: &str, enough: usize, mut amount: impl FnMut() -> usize) {
    let (mut most, mut since) = (0, Instant::now());
    while most < enough {
        let now = amount();
        if now > most {
            (most, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < TEST_TIMEOUT, "{what}");
        thread::yield_now();
    }
}

/// Sets the flag to true when dropped.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
