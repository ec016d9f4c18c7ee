//! Logs failures of the disk, at most once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

/// The least time between two log messages.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Trouble(Mutex<State>);

#[derive(Default)]
struct State {
    logged: Option<Instant>,
    #[cfg(test)]
    reports: u64,
}

impl Trouble {
    /// Logs that the store cannot do something.
    pub(super) fn report(&self, what: &str, error: &dyn fmt::Display) {
        let now = Instant::now();
        let mut state = self.0.lock();
        #[cfg(test)]
        {
            state.reports += 1;
        }
        if state.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= PAUSE) {
            state.logged = Some(now);
            warn!("the store on disk cannot {what}: {error}; what it holds counts as not stored");
        }
    }

    #[cfg(test)]
    pub(super) fn reports(&self) -> u64 {
        self.0.lock().reports
    }
}
