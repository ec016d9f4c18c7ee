//! One request to a peer and its response: since when the client waits, and why it gave up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::circuit_breaker::Epoch;
use super::peers::PeerEntry;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Cause, Error, ErrorKind};

/// After so long without a byte a peer is asked whether it is there.
pub(super) const LATE: Duration = Duration::from_micros(LATE_MICROS);
const LATE_MICROS: u64 = 1_000_000;

/// A request to a peer, and the response to it.
pub(super) struct Exchange {
    pub(super) peer: Arc<PeerEntry>,
    pub(super) ticket: Epoch,
    pub(super) cancellation: Cancellation,
    pub(super) epoch: Instant,
    /// Since when it is waited for, in microseconds after the epoch; 0 while it is not.
    pub(super) waiting_since: AtomicU64,
    /// When the peer was last found to be there while this was waited for.
    pub(super) asked_at: AtomicU64,
    /// When the head has to be there; 0 where nothing says so, or it is.
    pub(super) head_by: AtomicU64,
    /// Whether it may go on elsewhere.
    pub(super) may_be_repeated: AtomicBool,
    pub(super) given_up: AtomicU8,
}

pub(super) const SILENT: u8 = 1;
pub(super) const OUT_OF_TIME: u8 = 2;

impl Exchange {
    pub(super) fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// It is waited for from now on.
    pub(super) fn wait(&self) {
        self.waiting_since.store(self.micros(Instant::now()), Ordering::Relaxed);
    }

    /// Something has come.
    pub(super) fn has_come(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// The head has come. `may_be_repeated`: the rest of the body may come from elsewhere.
    pub(super) fn has_head(&self) {
        self.has_come();
        self.head_by.store(0, Ordering::Relaxed);
    }

    pub(super) fn set_may_be_repeated(&self, may_be_repeated: bool) {
        self.may_be_repeated.store(may_be_repeated, Ordering::Relaxed);
    }

    /// When it may be late, in microseconds after the epoch.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.waiting_since.load(Ordering::Relaxed);
        let late = since.max(self.asked_at.load(Ordering::Relaxed)) + LATE_MICROS;
        let head_by = Some(self.head_by.load(Ordering::Relaxed)).filter(|head_by| *head_by > 0);
        let due = head_by.map_or(late, |head_by| head_by.min(late));
        (since > 0).then(|| self.epoch + Duration::from_micros(due))
    }

    pub(super) fn is_late(&self, now: u64) -> bool {
        let since = self.waiting_since.load(Ordering::Relaxed);
        since > 0 && now.saturating_sub(since) >= LATE_MICROS
    }

    pub(super) fn is_out_of_time(&self, now: u64) -> bool {
        let head_by = self.head_by.load(Ordering::Relaxed);
        head_by > 0 && now >= head_by
    }

    pub(super) fn give_up(&self, why: u8) {
        // The first reason is told.
        let _ = self.given_up.compare_exchange(0, why, Ordering::AcqRel, Ordering::Relaxed);
        self.cancellation.cancel();
    }

    /// Why it failed: what the transport says of an exchange that was given up is of no use.
    pub(super) fn failed(&self, error: Error) -> Error {
        match self.given_up.load(Ordering::Acquire) {
            SILENT => {
                let text = "the peer is late, and does not say that it is there";
                Error::new(ErrorKind::Timeout, text).because(Cause::Silent).with_source(error)
            }
            OUT_OF_TIME => Error::new(ErrorKind::Timeout, "no answer in time").with_source(error),
            _ => error,
        }
    }
}

/// The exchanges with peers that last.
#[derive(Clone, Default)]
pub(super) struct Watch(pub(super) Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) exchanges: HashMap<u64, Arc<Exchange>>,
    pub(super) next: u64,
    pub(super) is_running: bool,
}

impl Watch {
    pub(super) fn all(&self) -> Vec<Arc<Exchange>> {
        self.0.lock().exchanges.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
