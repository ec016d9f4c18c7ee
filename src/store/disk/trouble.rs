//! Says of a disk that fails that it does, once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

const PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<Instant>>);

impl Trouble {
    pub(super) fn report(&self, what: &str, error: &dyn fmt::Display) {
        let now = Instant::now();
        let mut last = self.0.lock();
        if last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE) {
            *last = Some(now);
            warn!("the store on disk cannot {what}: {error}; what it holds counts as not stored");
        }
    }
}
