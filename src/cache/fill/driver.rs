//! Who moves a body on whose readers do not wait.

use std::sync::Arc;
use std::time::Instant;

use super::state::Progress;
use super::transfer::Fill;
use crate::message::body::{Driver, FINISHING};

/// The work of moving this body on to its end; `None` where somebody has it already, or nothing is left
/// to do. Whoever has it and drops it undone leaves it to the next one.
pub(super) fn drive(fill: &Arc<Fill>) -> Option<Driver> {
    let mut state = fill.state.lock();
    if state.is_driven || state.has_ended() {
        return None;
    }
    state.is_driven = true;
    drop(state);
    let driving = Driving { fill: Arc::clone(fill), has_run: false };
    Some(Box::new(move || driving.run()))
}

/// Held by the one who drives.
struct Driving {
    fill: Arc<Fill>,
    has_run: bool,
}

impl Driving {
    /// Reads from the source until its end, for as long as somebody reads or little is missing. Where all of
    /// them have something to read and the body runs too far ahead, it is left to whoever has read that: no
    /// slow reader holds the thread that this runs on.
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
                    let is_late = now >= *deadline.get_or_insert(now + FINISHING);
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

impl Drop for Driving {
    fn drop(&mut self) {
        let mut state = self.fill.state.lock();
        state.is_driven = false;
        // Where nothing was done there is nothing to tell: a reader that is woken in vain looks for a driver
        // again, and there may be no thread for it again.
        if self.has_run || state.readers.is_empty() {
            self.fill.give_up_unread(state);
        }
    }
}
