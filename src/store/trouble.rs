//! Logs the failures of a tier, once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

const PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Trouble {
    store: &'static str,
    last: Mutex<Option<Instant>>,
}

impl Trouble {
    /// Creates a log for the store with this name.
    pub(super) fn of(store: &'static str) -> Self {
        Self { store, last: Mutex::default() }
    }

    pub(super) fn report(&self, what: &str, error: &dyn fmt::Display) {
        let now = Instant::now();
        let mut last = self.last.lock();
        if last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE) {
            *last = Some(now);
            warn!("{} cannot {what}: {error}; what it holds counts as not stored", self.store);
        }
    }
}
