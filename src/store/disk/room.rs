//! How much of the disk may still be taken.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long a body that is being written waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often room is made before it is clear that there is none.
const ROUNDS: u64 = 3;

/// The room for bodies that are on their way to the disk.
#[derive(Default)]
pub(super) struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What may be taken beside what is stored.
    free: u64,
    /// What bodies on their way take, or may take in a moment.
    reserved: u64,
    /// What somebody waits for.
    wanted: u64,
    /// What bodies take that are whole and not in the books.
    finished: HashMap<u64, u64>,
    /// How often room was made, or could not be.
    rounds: u64,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    is_closed: bool,
}

impl Room {
    /// Whoever makes room is called by this.
    pub(super) fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.state.lock().wake = Some(Box::new(wake));
    }

    /// Says how much is free beside what is stored.
    pub(super) fn set_free(&self, free: u64) {
        let mut state = self.state.lock();
        state.free = free;
        state.rounds += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Takes room for so many bytes. Waits until it is made, for some seconds.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        if state.reserved + bytes <= state.free {
            state.reserved += bytes;
            return Ok(());
        }
        state.wanted += bytes;
        let (mut is_late, enough) = (false, state.rounds + ROUNDS);
        while state.reserved + bytes > state.free && !is_late && !state.is_closed && state.rounds < enough {
            if let Some(wake) = &state.wake {
                wake();
            }
            is_late = self.changed.wait_until(&mut state, until).timed_out();
        }
        state.wanted -= bytes;
        if state.reserved + bytes > state.free {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "there is no room for it in the store"));
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

    /// Releases the room of a body when it is in the books.
    pub(super) fn release_later(&self, number: u64, bytes: u64) {
        self.state.lock().finished.insert(number, bytes);
    }

    /// The body is in the books, or gone.
    pub(super) fn is_booked(&self, number: u64) {
        let bytes = self.state.lock().finished.remove(&number);
        self.release(bytes.unwrap_or(0));
    }

    /// How much is needed beside what is stored, what others wait for included.
    pub(super) fn needed(&self) -> u64 {
        let state = self.state.lock();
        state.reserved + state.wanted
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.wake = None;
        drop(state);
        self.changed.notify_all();
    }
}
