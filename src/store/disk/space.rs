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

/// How much more than needed is leased at most, so that not every body waits for a transaction.
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
    /// How many bytes more than needed are leased.
    spare: u64,
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

    /// Sets the lease, in KiB. `is_last` states that the next transaction finds no more room by eviction.
    pub(super) fn set_lease(&self, kibibytes: u64, is_last: bool) {
        let mut state = self.state.lock();
        state.lease = kibibytes * KIB;
        state.rounds += u64::from(is_last);
        drop(state);
        self.changed.notify_all();
    }

    /// Returns the lease in bytes.
    pub(super) fn lease(&self) -> u64 {
        self.state.lock().lease
    }

    /// Reserves room for so many bytes. Waits for some seconds until there is room.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.reserve_until(bytes, Instant::now() + PATIENCE)
    }

    fn reserve_until(&self, bytes: u64, until: Instant) -> io::Result<()> {
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
            return Err(if is_late {
                io::Error::new(io::ErrorKind::TimedOut, "the disk is too slow to make room")
            } else {
                io::Error::new(io::ErrorKind::StorageFull, "the store is full")
            });
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

    /// Begins to decide on the lease, with up to `spare` bytes more than needed. Returns how many bytes need room: those that
    /// are reserved, waited for, or may be reserved until the lease is decided.
    pub(super) fn begin_round(&self, spare: u64) -> u64 {
        let mut state = self.state.lock();
        state.spare = spare.min(SPARE);
        let needed = state.reserved + state.wanted;
        state.lease = if needed == 0 { 0 } else { state.lease.min(needed + state.spare) };
        needed.max(state.lease)
    }

    /// Returns the lease that the process needs, if that is not more than `left`, both in KiB. From now on no more than that
    /// can be reserved.
    pub(super) fn next_lease(&self, left: u64) -> u64 {
        let mut state = self.state.lock();
        let needed = state.reserved + state.wanted;
        let lease = if needed == 0 { 0 } else { (needed + state.spare).div_ceil(KIB).min(left) };
        state.lease = state.lease.min(lease * KIB);
        lease
    }

    /// Whether there is a lease that nothing needs.
    pub(super) fn has_idle_lease(&self) -> bool {
        let state = self.state.lock();
        state.lease > 2 * state.spare + 2 * (state.reserved + state.wanted)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_store_and_a_slow_disk_are_told_apart() {
        let (full, slow) = (Arc::new(Space::default()), Space::default());
        let (rounds, later) = (Arc::downgrade(&full), Instant::now() + PATIENCE);
        // Each transaction finds no room.
        full.set_wake(move || {
            let rounds = rounds.clone();
            std::thread::spawn(move || rounds.upgrade().map(|space| space.set_lease(0, true)));
        });
        assert_eq!(full.reserve_until(1, later).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(slow.reserve_until(1, Instant::now()).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn room_for_a_body_that_waits_stays_when_the_next_transaction_begins() {
        const WANTED: u64 = 50 << 20;
        let space = Space::default();
        space.state.lock().wanted = WANTED;
        let needed = space.begin_round(SPARE);
        space.set_lease(space.next_lease(u64::MAX), true);
        // The thread that waits has not run since.
        assert!(needed == WANTED && space.begin_round(SPARE) >= WANTED && space.lease() >= WANTED);
        space.state.lock().wanted = 0;
        assert_eq!((space.begin_round(SPARE), space.lease()), (0, 0));
    }
}
