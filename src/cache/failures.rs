//! Fetches that failed within the last second, so that a burst of requests does not repeat them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::key_table::KeyTable;
use crate::base::error::{Error, ErrorKind};
use crate::message::url::CanonicalUrl;
use crate::store::Key;

/// How long a failure is remembered.
const LIFETIME: Duration = Duration::from_secs(1);

/// How many failures are remembered.
const CAPACITY: usize = 1024;

/// The failures of the last second, by key, or by origin if no connection was possible.
pub(super) struct Failures {
    /// The errors have no URL: each request that gets one adds its own.
    recent: Mutex<KeyTable<(SystemTime, Error)>>,
}

impl Default for Failures {
    fn default() -> Self {
        Self { recent: Mutex::new(KeyTable::new(CAPACITY)) }
    }
}

impl Failures {
    /// Remembers a failed fetch, if its error is likely to repeat.
    pub(super) fn remember(&self, key: &Key, target: &CanonicalUrl, error: &Error, now: SystemTime) {
        let under = match error.kind() {
            ErrorKind::Unresolved | ErrorKind::Tls => Cow::Owned(of_origin(target)),
            // No connection was possible, so other requests to this origin would fail too.
            ErrorKind::Unreachable if error.is_unsent() => Cow::Owned(of_origin(target)),
            ErrorKind::Unreachable
            | ErrorKind::BadResponse
            | ErrorKind::Timeout
            | ErrorKind::IncompleteBody
            | ErrorKind::Io => Cow::Borrowed(key.as_str()),
            _ => return,
        };
        let error = error.shared().without_url();
        let mut recent = self.recent.lock();
        recent.remove_oldest_while(|(since, _)| !is_recent(*since, now));
        recent.put(&under, (now, error));
    }

    /// Returns the failure that a fetch would repeat, without a URL.
    pub(super) fn recent(&self, key: &Key, target: &CanonicalUrl, now: SystemTime) -> Option<Error> {
        let recent = self.recent.lock();
        // Most often the list is empty: skip computing the origin.
        if recent.is_empty() {
            return None;
        }
        let found = |under: &str| recent.peek(under).filter(|(since, _)| is_recent(*since, now));
        let (_, error) = found(key.as_str()).or_else(|| found(&of_origin(target)))?;
        Some(error.shared())
    }

    /// Forgets the failures of this key and its origin after a successful fetch.
    pub(super) fn forget(&self, key: &Key, target: &CanonicalUrl) {
        let mut recent = self.recent.lock();
        if recent.is_empty() {
            return;
        }
        recent.remove(key.as_str());
        recent.remove(&of_origin(target));
    }
}

fn is_recent(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|past| past < LIFETIME)
}

/// Returns the key of an origin's failures. No other key begins with a space.
fn of_origin(target: &CanonicalUrl) -> String {
    format!(" {}", target.origin())
}

#[cfg(test)]
mod tests;
