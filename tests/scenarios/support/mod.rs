//! What scenarios are made of.
//!
//! | module | subject |
//! |---|---|
//! | `origin` | a scripted origin that checks itself |
//! | `tls` | the same origin behind TLS, with an authority of its own |
//! | `nginx` | a real nginx with a folder for each way to be cached |
//! | `raw` | a client that speaks to a server byte by byte |
//! | `port` | a port that nobody else takes |
//! | `process` | a child, and the command of this crate as one |
//! | `output` | what a child prints, as it prints it |
//! | `relay` | a relay before a server, which can do harm to what it relays |
//! | `store` | a store over memory that a test can make fail |
//! | `random` | chance that can be had again |
//! | `wire` | HTTP/1.1 messages read strictly |

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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

/// How long anything here waits for what must come before the test fails. No test passes by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Blocks until it is so, and fails saying `what` is wrong where it never is.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

/// It is over when this is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
