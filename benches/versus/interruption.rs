//! Whoever interrupts the bench has it end as upon a failure: servers ended, folders removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Result;

static ASKED_TO_END: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on `SIGINT` and `SIGTERM` end nothing by themselves, until they come again.
pub(crate) fn watch() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag as it was.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&ASKED_TO_END))?;
        flag::register(signal, Arc::clone(&ASKED_TO_END))?;
    }
    Ok(())
}

/// # Errors
///
/// Once it was interrupted.
pub(crate) fn check() -> std::io::Result<()> {
    // Not of the kind `Interrupted`, which means to try again.
    if ASKED_TO_END.load(Ordering::Relaxed) { Err(std::io::Error::other("interrupted")) } else { Ok(()) }
}
