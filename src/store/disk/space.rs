//! How much of the disk the bodies that are being written may take.
//!
//! The process has a lease in the index, which counts for all processes. A body reserves its room from the lease; if the
//! lease is too small, the next transaction makes room and increases it.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

pub(super) const KIB: u64 = 1024;

/// How long a body waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many transactions may fail to make room before a body is refused.
const ROUNDS: u64 = 3;

/// How much more than needed is leased, so that not every body waits for a transaction.
const SPARE: u64 = 4 << 20;

/// The space that is reserved for bodies that are being written.
#[derive(Default)]
pub(super) struct Space {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The bytes that the bodies may take.
    lease: u64,
    /// The bytes that are reserved.
    reserved: u64,
    /// The bytes that bodies wait for.
    wanted: u64,
    /// The bytes of finished bodies whose entries are not in the index yet, by number.
    finished: HashMap<u64, u64>,
    /// How often the lease was decided.
    rounds: u64,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    is_closed: bool,
}

impl Space {
    /// Sets the function that starts a transaction.
    pub(super) fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.state.lock().wake = Some(Box::new(wake));
    }

    /// Sets the lease, in KiB.
    pub(super) fn set_lease(&self, kibibytes: u64) {
        let mut state = self.state.lock();
        state.lease = kibibytes * KIB;
        state.rounds += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Returns the lease in bytes.
    pub(super) fn lease(&self) -> u64 {
        self.state.lock().lease
    }

    /// Reserves room for so many bytes. Waits for some seconds until there is room.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        if state.reserved + bytes <= state.lease {
            state.reserved += bytes;
            return Ok(());
        }
        state.wanted += bytes;
        let (mut is_late, enough) = (false, state.rounds + ROUNDS);
        while state.reserved + bytes > state.lease && !is_late && !state.is_closed && state.rounds < enough {
            if let Some(wake) = &state.wake {
                wake();
            }
            is_late = self.changed.wait_until(&mut state, until).timed_out();
        }
        state.wanted -= bytes;
        if state.reserved + bytes > state.lease {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the store is full"));
        }
        state.reserved += bytes;
        Ok(())
    }

    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.reserved = state.reserved.saturating_sub(bytes);
        drop(state);
        self.changed.notify_all();
    }

    /// Releases the room of a body when its entry is in the index.
    pub(super) fn release_later(&self, number: u64, bytes: u64) {
        self.state.lock().finished.insert(number, bytes);
    }

    /// Notes that the entry of a body is in the index, or that the body is removed.
    pub(super) fn note_counted(&self, number: u64) {
        let bytes = self.state.lock().finished.remove(&number);
        self.release(bytes.unwrap_or(0));
    }

    /// Returns what is reserved or waited for, in bytes.
    pub(super) fn needed(&self) -> u64 {
        let state = self.state.lock();
        state.reserved + state.wanted
    }

    /// Returns the lease that the process needs, in KiB.
    pub(super) fn wanted_lease(&self) -> u64 {
        match self.needed() {
            0 => 0,
            needed => (needed + SPARE).div_ceil(KIB),
        }
    }

    /// Whether there is a lease that nothing needs.
    pub(super) fn has_idle_lease(&self) -> bool {
        let state = self.state.lock();
        state.lease > 2 * SPARE + 2 * (state.reserved + state.wanted)
            || (state.lease > 0 && state.reserved + state.wanted == 0)
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.wake = None;
        drop(state);
        self.changed.notify_all();
    }
}
