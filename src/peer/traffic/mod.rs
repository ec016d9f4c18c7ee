//! Recent traffic of a peer: what its clients request, and how often the cache had it.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`Traffic`]: receives the sampled requests of the servers |
//! | `top_list` | the names with the largest amounts, in bounded memory; pure |
//! | `windows` | the lists of the last hour; pure |
//! | `history` | hits and misses by minute; pure |
//! | `warnings` | [`RecentWarnings`]: the last warnings of the log |

mod history;
mod top_list;
mod warnings;
mod windows;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

pub(super) use history::Minute;
pub(super) use top_list::{Amounts, Order};
pub use warnings::RecentWarnings;
pub(super) use warnings::Warning;
pub(super) use windows::{Subject, TopNames};

use super::access_log::logged_url;
use super::endpoint::FETCH;
use super::mirror::MIRRORS;
use crate::base::memory_limit::{Hold, Ledger, MemoryUse};
use crate::server::{AccessRecord, TrafficRecorder};

/// The recent traffic of a peer, from a sample of its requests.
pub(super) struct Traffic {
    started: Instant,
    recent: Mutex<Recent>,
}

struct Recent {
    history: history::History,
    windows: windows::Windows,
    /// The memory of the lists, in the ledger.
    hold: Hold,
}

impl Traffic {
    pub(super) fn new(ledger: &Arc<Ledger>, now: Instant) -> Self {
        let recent = Recent {
            history: history::History::default(),
            windows: windows::Windows::new(now),
            hold: ledger.hold(MemoryUse::Statistics, 0),
        };
        Self { started: now, recent: Mutex::new(recent) }
    }

    /// Returns the hits and misses of each minute of the last hour, the oldest first.
    pub(super) fn last_hour(&self, now: Instant) -> Vec<Minute> {
        self.recent.lock().history.last_hour(self.minute(now))
    }

    /// Returns the largest names by subject and order, at most `most` in each list.
    pub(super) fn top(&self, most: usize, now: Instant) -> TopNames {
        self.recent.lock().windows.top(most, now)
    }

    fn minute(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / 60
    }
}

impl TrafficRecorder for Traffic {
    fn record(&self, record: &AccessRecord<'_>, weight: u64, now: Instant) {
        let logged = logged_url(record.target);
        // The URL of prefix form follows its prefix.
        let url = logged.strip_prefix(FETCH).unwrap_or(&logged);
        let is_for_url = url.contains("://") || url.starts_with(MIRRORS);
        let is_hit = match record.outcome {
            _ if !is_for_url => return,
            Some(outcome) => outcome.is_hit(),
            None if record.status >= 500 => Some(false),
            // The request was rejected, or its client left.
            None => return,
        };
        let amounts = Amounts {
            requests: weight,
            bytes: weight.saturating_mul(record.bytes),
            misses: if is_hit == Some(false) { weight } else { 0 },
        };
        let client = record.remote.ip().to_canonical().to_string();
        let recent = &mut *self.recent.lock();
        recent.windows.add(url, &client, amounts, now);
        if let Some(is_hit) = is_hit {
            recent.history.add(self.minute(now), is_hit, weight);
        }
        recent.hold.set(recent.windows.memory());
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("started", &self.started).finish_non_exhaustive()
    }
}
