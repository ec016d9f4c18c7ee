//! One request to a peer and its response: since when the client waits, and why it gave up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::peer_circuit_breaker::Epoch;
use super::peers::PeerEntry;
use crate::base::cancellation::Cancellation;
use crate::base::error::{Cause, Error, ErrorKind};

/// A peer that sends no byte for this time is probed.
pub(super) const LATE_AFTER: Duration = Duration::from_micros(LATE_MICROS);
const LATE_MICROS: u64 = 1_000_000;

/// A request in progress to a peer.
pub(super) struct Exchange {
    pub(super) peer: Arc<PeerEntry>,
    pub(super) epoch: Epoch,
    pub(super) cancellation: Cancellation,
    pub(super) begun: Instant,
    /// Since when the client has been waiting, in microseconds after `begun`; 0 while it is not waiting.
    pub(super) waiting_since: AtomicU64,
    /// When the last probe during this wait succeeded, in microseconds after `begun`.
    pub(super) alive_at: AtomicU64,
    /// Time limit of the response head, in microseconds after `begun`; 0 if there is none or the head has
    /// arrived.
    pub(super) head_by: AtomicU64,
    /// Whether another peer may continue the exchange.
    pub(super) may_be_repeated: AtomicBool,
    pub(super) given_up: AtomicU8,
}

pub(super) const SILENT: u8 = 1;
pub(super) const TIMED_OUT: u8 = 2;

impl Exchange {
    pub(super) fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Records that the client starts to wait.
    pub(super) fn start_waiting(&self) {
        self.waiting_since.store(self.micros(Instant::now()), Ordering::Relaxed);
    }

    /// Records that data has arrived.
    pub(super) fn stop_waiting(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Records that the response head has arrived.
    pub(super) fn receive_head(&self) {
        self.stop_waiting();
        self.head_by.store(0, Ordering::Relaxed);
    }

    pub(super) fn set_may_be_repeated(&self, may_be_repeated: bool) {
        self.may_be_repeated.store(may_be_repeated, Ordering::Relaxed);
    }

    /// Returns when the exchange has to be checked next; `None` while the client is not waiting.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.waiting_since.load(Ordering::Relaxed);
        let late = since.max(self.alive_at.load(Ordering::Relaxed)) + LATE_MICROS;
        let head_by = Some(self.head_by.load(Ordering::Relaxed)).filter(|head_by| *head_by > 0);
        let due = head_by.map_or(late, |head_by| head_by.min(late));
        (since > 0).then(|| self.begun + Duration::from_micros(due))
    }

    pub(super) fn is_late(&self, now: u64) -> bool {
        let since = self.waiting_since.load(Ordering::Relaxed);
        since > 0 && now.saturating_sub(since) >= LATE_MICROS
    }

    pub(super) fn is_timed_out(&self, now: u64) -> bool {
        let head_by = self.head_by.load(Ordering::Relaxed);
        head_by > 0 && now >= head_by
    }

    pub(super) fn give_up(&self, why: u8) {
        // The first reason is kept.
        let _ = self.given_up.compare_exchange(0, why, Ordering::AcqRel, Ordering::Relaxed);
        self.cancellation.cancel();
    }

    /// Returns the reason if the client gave up this exchange, instead of the transport's error, which only
    /// reports the cancellation.
    pub(super) fn explain_failure(&self, error: Error) -> Error {
        match self.given_up.load(Ordering::Acquire) {
            SILENT => {
                let text = "the peer is late and its health check got no response";
                Error::new(ErrorKind::Timeout, text).because(Cause::Silent).with_source(error)
            }
            TIMED_OUT => Error::new(ErrorKind::Timeout, "the peer did not respond within the time limit")
                .with_source(error),
            _ => error,
        }
    }
}

/// The exchanges in progress.
#[derive(Clone, Default)]
pub(super) struct Exchanges(pub(super) Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) exchanges: HashMap<u64, Arc<Exchange>>,
    pub(super) next: u64,
    pub(super) is_running: bool,
}

impl Exchanges {
    pub(super) fn all(&self) -> Vec<Arc<Exchange>> {
        self.0.lock().exchanges.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
