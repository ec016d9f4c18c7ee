//! Writes responses behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use http::header::{ETAG, LAST_MODIFIED};

use super::core::{Core, MAX_FETCH, MAX_LIFETIME};
use super::value::{self, Value, encode, judged};
use crate::policy::Validity;
use crate::store::tier::{Position, may_write};
use crate::store::variants::{is_outdated, merged};
use crate::store::{Key, StoreError, StoredResponse};

/// The number of attempts of a write. An attempt fails if another process writes the key or invalidates something.
const ATTEMPTS: usize = 4;

/// For how long a response with a validator is kept at least, so that it can be validated.
const VALIDATION: Duration = Duration::from_secs(600);

/// A response that waits to be written.
pub(super) struct Put {
    pub(super) key: Key,
    pub(super) response: Arc<StoredResponse>,
    pub(super) position: Position,
}

impl Core {
    /// Has a response written. Returns whether it is taken. Never waits.
    pub(super) fn put(
        self: &Arc<Self>,
        key: &Key,
        response: &Arc<StoredResponse>,
        position: Option<Position>,
    ) -> bool {
        let length = value::length(key.as_str(), std::slice::from_ref(response));
        let is_whole = response.status() != StatusCode::PARTIAL_CONTENT;
        let has_place = is_whole && may_write(key, response, self.key.is_some()) && length <= self.max_value;
        let lives = !self.lifetime(response).is_zero();
        let taken = position.filter(|_| has_place && lives && self.is_up()).and_then(|position| {
            let waits = self.waiting.try_add(length, self.ledger.get())?;
            let put = Put { key: key.clone(), response: Arc::clone(response), position };
            let core = Arc::clone(self);
            let work = move || {
                if !core.write_put(&put).unwrap_or(false) {
                    core.skipped.fetch_add(1, Ordering::Relaxed);
                }
                drop(waits);
            };
            self.writes.try_submit(Box::new(work)).ok()
        });
        if taken.is_some() {
            position.inspect(|position| self.circuit.fetched(position.at.elapsed()));
            return true;
        }
        self.skipped.fetch_add(1, Ordering::Relaxed);
        if self.takes(key.as_str()) && !(has_place && lives) {
            // The stored response is older than this one.
            self.discard(key);
        }
        false
    }

    /// For how long a response is kept: while it is fresh, and while it may be served stale or is worth validating.
    fn lifetime(&self, response: &StoredResponse) -> Duration {
        let has_validator = response.field(&ETAG).is_some() || response.field(&LAST_MODIFIED).is_some();
        let validation = if has_validator { VALIDATION } else { Duration::ZERO };
        lifetime(response.validity(), self.max_staleness.get().copied().unwrap_or_default(), validation)
    }

    /// Writes a response beside those of other variants. Returns whether it is written.
    pub(super) fn write_put(&self, put: &Put) -> Result<bool, StoreError> {
        let (key, since) = (put.key.as_str(), put.position.sequence);
        let names = self.names(key);
        for _ in 0..ATTEMPTS {
            if put.position.at.elapsed() > MAX_FETCH {
                return Ok(false);
            }
            let read = self.read(key, &names, Some(since))?;
            let stored = match &read.value {
                Value::Removed(at) if since < *at => return Ok(false),
                // A removal of this key may have been replaced by the value.
                Value::Responses { position, .. } if since < *position => return Ok(false),
                Value::Responses { position, responses } if *position >= read.floor => {
                    judged(key, responses, *position, &read.purges)
                }
                Value::Responses { .. } | Value::Removed(_) | Value::Missing => Vec::new(),
            };
            let new = judged(key, std::slice::from_ref(&put.response), since, &read.purges).pop();
            let Some(new) = new.filter(|_| since >= read.floor) else { return Ok(false) };
            if is_outdated(&stored, &new) {
                return Ok(false);
            }
            let new = self.with_own_body(new, &stored)?;
            let fits = |all: &[Arc<StoredResponse>]| value::length(key, all) <= self.max_value;
            let Some(all) = merged(&stored, &new, fits) else { return Ok(false) };
            let lifetime = all.iter().map(|response| self.lifetime(response)).max().unwrap_or_default();
            let value = encode(read.sequence, key, &all);
            if self.write(&names, &read, &value, lifetime)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The response with its body in memory: that of the stored response that it freshens, or that of another tier.
    fn with_own_body(
        &self,
        new: Arc<StoredResponse>,
        stored: &[Arc<StoredResponse>],
    ) -> Result<Arc<StoredResponse>, StoreError> {
        let Some(remote) = new.remote() else { return Ok(new) };
        let is_same = |old: &&Arc<StoredResponse>| {
            old.digest() == new.digest() && old.body_length() == new.body_length()
        };
        let body = match stored.iter().find(is_same) {
            Some(old) => old.body().clone(),
            None => self.read_all(remote)?,
        };
        Ok(Arc::new(new.with_body(body)))
    }
}

/// For how long a response is kept. `max_staleness` is that of the cache, and a response without staleness is kept for `validation`.
fn lifetime(validity: &Validity, max_staleness: Duration, validation: Duration) -> Duration {
    let fresh = validity.lifetime.saturating_sub(validity.initial_age);
    let by_response = validity.stale_while_revalidate.max(validity.stale_if_error.unwrap_or(max_staleness));
    let stale = if validity.no_cache || validity.must_revalidate {
        validation
    } else {
        by_response.max(max_staleness).max(validation)
    };
    fresh.saturating_add(stale).min(MAX_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::validity;

    #[test]
    fn responses_live_as_long_as_they_may_be_used() {
        let seconds = Duration::from_secs;
        // 60 s of freshness, 3 s of them before it arrived, and no staleness.
        let strict = validity();
        assert_eq!(lifetime(&strict, seconds(100), Duration::ZERO), seconds(57));
        assert_eq!(lifetime(&strict, seconds(100), seconds(10)), seconds(67));
        let lax = Validity { must_revalidate: false, ..strict };
        assert_eq!(lifetime(&lax, seconds(100), seconds(10)), seconds(157));
        assert_eq!(lifetime(&lax, Duration::ZERO, Duration::ZERO), seconds(64));
        let unusable = Validity { lifetime: Duration::ZERO, no_cache: true, ..lax };
        assert!(lifetime(&unusable, seconds(100), Duration::ZERO).is_zero());
        let eternal = Validity { lifetime: Duration::MAX, ..lax };
        assert_eq!(lifetime(&eternal, Duration::MAX, Duration::ZERO), MAX_LIFETIME);
    }
}
