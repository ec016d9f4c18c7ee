//! Logs failures of a tier, at most once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

/// The least time between two log messages.
const PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Trouble {
    store: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logged: Option<Instant>,
    #[cfg(all(test, feature = "disk"))]
    reports: u64,
}

impl Trouble {
    /// Creates a log for the store with this name.
    pub(super) fn of(store: &'static str) -> Self {
        Self { store, state: Mutex::default() }
    }

    /// Logs that the store cannot do something.
    pub(super) fn report(&self, what: &str, error: &dyn fmt::Display) {
        let now = Instant::now();
        let mut state = self.state.lock();
        #[cfg(all(test, feature = "disk"))]
        {
            state.reports += 1;
        }
        if state.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= PAUSE) {
            state.logged = Some(now);
            warn!("{} cannot {what}: {error}; what it holds counts as not stored", self.store);
        }
    }

    #[cfg(all(test, feature = "disk"))]
    pub(super) fn reports(&self) -> u64 {
        self.state.lock().reports
    }
}
