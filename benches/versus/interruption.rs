//! Handles `SIGINT` and `SIGTERM` like a failure: servers are stopped and folders removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Result;

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Installs the signal handlers. The first signal sets a flag; the second one exits at once.
pub(crate) fn watch() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order, the first signal sees the flag as unset.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&INTERRUPTED))?;
        flag::register(signal, Arc::clone(&INTERRUPTED))?;
    }
    Ok(())
}

/// # Errors
///
/// Returns an error after the first signal.
pub(crate) fn check() -> std::io::Result<()> {
    // Not `ErrorKind::Interrupted`, which callers would retry.
    if INTERRUPTED.load(Ordering::Relaxed) { Err(std::io::Error::other("interrupted")) } else { Ok(()) }
}
