//! Handles `SIGINT` and `SIGTERM` like a failure: servers are stopped and folders removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Result;

static ASKED_TO_END: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Installs the signal handlers. The first signal sets a flag; the second one exits at once.
pub(crate) fn watch() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order, the first signal sees the flag as unset.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&ASKED_TO_END))?;
        flag::register(signal, Arc::clone(&ASKED_TO_END))?;
    }
    Ok(())
}

/// # Errors
///
/// Returns an error after the first signal.
pub(crate) fn check() -> std::io::Result<()> {
    // Not `ErrorKind::Interrupted`, which callers would retry.
    if ASKED_TO_END.load(Ordering::Relaxed) { Err(std::io::Error::other("interrupted")) } else { Ok(()) }
}
