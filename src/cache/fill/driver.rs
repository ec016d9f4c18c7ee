//! Reads a body from its source on a worker, for readers that do not block.

use std::sync::Arc;
use std::time::Instant;

use super::state::Progress;
use super::transfer::Fill;
use crate::message::body::{Driver, FINISH_TIMEOUT};

/// Returns the work of reading this body to its end; `None` if it is taken already or the body has ended. If the work
/// is dropped before it is done, the next caller can take it.
pub(super) fn drive(fill: &Arc<Fill>) -> Option<Driver> {
    let mut state = fill.state.lock();
    if state.is_driven || state.has_ended() {
        return None;
    }
    state.is_driven = true;
    drop(state);
    let guard = DriverGuard { fill: Arc::clone(fill), has_run: false };
    Some(Box::new(move || guard.run()))
}

/// Marks the fill as driven until it is dropped.
struct DriverGuard {
    fill: Arc<Fill>,
    has_run: bool,
}

impl DriverGuard {
    /// Reads from the source until its end, as long as the body has readers or little of it is missing. If the body
    /// is a window ahead of its slowest reader and no reader waits, the driver returns and a later reader starts
    /// another one. So slow readers do not occupy a thread.
    fn run(mut self) {
        self.has_run = true;
        let fill = &self.fill;
        let (mut reads, mut deadline) = (0, None);
        let mut state = fill.state.lock();
        loop {
            match state.progress {
                Progress::Ended(_) => return,
                Progress::Busy => fill.changed.wait(&mut state),
                Progress::Idle(_) if state.readers.is_empty() => {
                    let now = Instant::now();
                    let is_late = now >= *deadline.get_or_insert(now + FINISH_TIMEOUT);
                    if is_late || !fill.is_worth_finishing(&state, reads) {
                        return;
                    }
                    reads += 1;
                    fill.advance(&mut state);
                }
                Progress::Idle(_) if state.is_far_ahead() => return,
                Progress::Idle(_) => fill.advance(&mut state),
            }
        }
    }
}

impl Drop for DriverGuard {
    fn drop(&mut self) {
        let mut state = self.fill.state.lock();
        state.is_driven = false;
        // A driver that never ran has nothing to report. Waking a reader would only make it look for a driver
        // again, and all threads may still be busy.
        if self.has_run || state.readers.is_empty() {
            self.fill.give_up_unread(state);
        }
    }
}
