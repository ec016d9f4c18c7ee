//! Changes that wait to be written. Lookups find them as if they were written; one transaction commits all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::message::purge::{Purge, Purged};
use crate::store::{Key, StoreError, StoredResponse};

/// Values by the hash of their key.
pub(super) type ByHash<T> = HashMap<u64, T>;

/// How long a change may wait.
const LONGEST: Duration = Duration::from_millis(900);

/// How many bytes of bodies wait before they are written at once, and before more are refused.
const ENOUGH: u64 = 4 << 20;
const MOST: u64 = 32 << 20;

/// Receives the result after the commit.
pub(super) type Done = Sender<Result<Purged, StoreError>>;

/// A change of the store.
pub(super) enum Op {
    Put(Put),
    /// Removes what is stored under a key. Other processes drop what they have of the URL.
    Remove {
        hash: u64,
        purge: Purge,
        done: Option<Done>,
    },
    /// Removes a key if it still has the body of this number; without a number, if its row is damaged.
    Discard {
        hash: u64,
        number: Option<u64>,
    },
    Purge {
        purge: Purge,
        done: Option<Done>,
    },
}

pub(super) struct Put {
    pub(super) key: Key,
    pub(super) hash: u64,
    /// The last invalidation of another process that was applied before.
    pub(super) applied: u64,
    pub(super) response: Arc<StoredResponse>,
    pub(super) body: Body,
}

/// The place of the body of a new response.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// In memory.
    Memory,
    /// In a file of this number already.
    File(u64),
    /// The beginning is in a file of this number, which is still written.
    Growing(u64),
    /// On disk, as the body of the response that is replaced.
    Unchanged,
}

impl Put {
    fn bytes(&self) -> u64 {
        1024 + self.in_memory()
    }

    /// How many bytes of the body are in memory.
    pub(super) fn in_memory(&self) -> u64 {
        if self.response.remote().is_some() { 0 } else { self.response.body_length() as u64 }
    }
}

/// The next task of the thread that writes.
pub(super) enum Next {
    Write(Vec<Arc<Op>>),
    Tick,
    Closed,
}

#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Op>>,
    bytes: u64,
    /// Since when the oldest waits.
    since: Option<Instant>,
    /// Changes that wait or are being written, by the hash of the key.
    by_hash: ByHash<Vec<Arc<Op>>>,
    is_urgent: bool,
    is_closed: bool,
    /// How often a batch was done with.
    rounds: u64,
}

impl Pending {
    /// Adds a change. Returns false if the store is closed, or if too many bytes of bodies wait.
    pub(super) fn push(&self, hash: u64, op: Op) -> bool {
        let bytes = if let Op::Put(put) = &op { put.bytes() } else { 0 };
        let is_urgent = matches!(&op, Op::Purge { done: Some(_), .. } | Op::Remove { done: Some(_), .. });
        let op = Arc::new(op);
        let mut state = self.state.lock();
        if state.is_closed || (bytes > 0 && state.bytes + bytes > MOST) {
            return false;
        }
        state.bytes += bytes;
        state.since.get_or_insert_with(Instant::now);
        state.is_urgent |= is_urgent || state.bytes > ENOUGH;
        if !matches!(*op, Op::Purge { .. }) {
            state.by_hash.entry(hash).or_default().push(Arc::clone(&op));
        }
        let is_first = state.queue.is_empty();
        state.queue.push_back(op);
        let is_to_wake = is_first || state.is_urgent;
        drop(state);
        if is_to_wake {
            self.changed.notify_all();
        }
        true
    }

    /// Starts the next transaction without delay.
    pub(super) fn hurry(&self) {
        let mut state = self.state.lock();
        state.is_urgent = true;
        drop(state);
        self.changed.notify_all();
    }

    /// Returns the pending changes of a key, the oldest first.
    pub(super) fn of(&self, hash: u64) -> Vec<Arc<Op>> {
        self.state.lock().by_hash.get(&hash).cloned().unwrap_or_default()
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.state.lock().by_hash.contains_key(&hash)
    }

    /// Blocks until changes have to be written, or until the next `tick`.
    ///
    /// The changes are still found until [`done`](Self::done) is called with them.
    pub(super) fn next(&self, tick: Instant) -> Next {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            let due = state.since.map(|since| since + LONGEST);
            if state.is_urgent || state.is_closed || due.is_some_and(|due| due <= now) {
                break;
            }
            if tick <= now {
                return Next::Tick;
            }
            self.changed.wait_until(&mut state, due.map_or(tick, |due| due.min(tick)));
        }
        if state.is_closed && state.queue.is_empty() {
            return Next::Closed;
        }
        state.is_urgent = false;
        state.since = None;
        Next::Write(state.queue.drain(..).collect())
    }

    /// Hides changes that another process has invalidated, until they are discarded.
    pub(super) fn hide(&self, is_void: impl Fn(&Put) -> bool) {
        let is_hidden = |op: &Arc<Op>| matches!(&**op, Op::Put(put) if is_void(put));
        self.state.lock().by_hash.retain(|_, ops| {
            ops.retain(|op| !is_hidden(op));
            !ops.is_empty()
        });
    }

    pub(super) fn done(&self, ops: &[Arc<Op>]) {
        let mut state = self.state.lock();
        for op in ops {
            let hash = match &**op {
                Op::Put(put) => {
                    state.bytes -= put.bytes();
                    put.hash
                }
                Op::Remove { hash, .. } | Op::Discard { hash, .. } => *hash,
                Op::Purge { .. } => continue,
            };
            if let Some(waiting) = state.by_hash.get_mut(&hash) {
                waiting.retain(|other| !Arc::ptr_eq(op, other));
                if waiting.is_empty() {
                    state.by_hash.remove(&hash);
                }
            }
        }
        state.rounds += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until all pending changes are written. Returns false if that takes longer than `within`.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        self.hurry();
        let mut state = self.state.lock();
        while !state.by_hash.is_empty() || !state.queue.is_empty() {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return false;
            }
            if !state.queue.is_empty() && !state.is_urgent {
                state.is_urgent = true;
                self.changed.notify_all();
            }
        }
        true
    }

    /// Accepts no more changes. Pending changes are still written.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}
