//! Learns what other processes have written and purged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::DiskStore;
use super::core::Core;
use super::index::{Meta, Snapshot};
use super::invalidations;
use crate::message::purge::Purge;
use crate::store::{StoreError, url_of};

/// How many keys are read at a time.
const CHUNK: usize = 10_000;

impl DiskStore {
    /// Learns at once what other processes have stored and purged, which otherwise takes up to 250 ms.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the index cannot be read.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let snapshot = sync(self.core())?;
        if self.core().known.lock().is_loaded() { learn(self.core(), &snapshot) } else { Ok(()) }
    }
}

/// Reads the state of the directory, and applies the invalidations of other processes.
pub(super) fn sync(core: &Arc<Core>) -> Result<Snapshot, StoreError> {
    let snapshot = core.index()?.snapshot()?;
    let meta = snapshot.meta()?.ok_or_else(|| StoreError::new("the index lost its format"))?;
    let before = std::mem::replace(&mut *core.meta.lock(), meta);
    if has_other_rows(&before, &meta) {
        core.at_hand.forget_all();
    }
    core.sequence.fetch_max(meta.sequence, Ordering::Relaxed);
    let applied = core.applied.load(Ordering::SeqCst);
    if meta.invalidations > applied {
        for purge in foreign(core, snapshot.invalidations(applied)?) {
            apply(core, &purge);
        }
        // Only now: what is put from here on was judged with these invalidations.
        core.applied.fetch_max(meta.invalidations, Ordering::SeqCst);
    }
    Ok(snapshot)
}

/// Whether the rows of two states differ: each change of rows changes one of these numbers.
pub(super) fn has_other_rows(one: &Meta, other: &Meta) -> bool {
    let numbers = |meta: &Meta| (meta.kibibytes, meta.next_place, meta.invalidations);
    numbers(one) != numbers(other)
}

/// Decodes the invalidations of other processes. Missing ones count as invalidations of everything.
pub(super) fn foreign(core: &Core, records: Option<Vec<Vec<u8>>>) -> Vec<Purge> {
    let Some(records) = records else { return vec![Purge::all()] };
    records.iter().filter_map(|record| invalidations::decode(core.process.id(), record)).collect()
}

fn apply(core: &Core, purge: &Purge) {
    let listeners: Vec<_> = core.listeners.lock().iter().filter_map(std::sync::Weak::upgrade).collect();
    for listener in listeners {
        listener(purge);
    }
    core.pending.hide(|put| purge.is_about(url_of(put.key.as_str()), &put.response));
}

/// Reads the keys that are not known yet.
pub(super) fn learn(core: &Core, snapshot: &Snapshot) -> Result<(), StoreError> {
    let meta = *core.meta.lock();
    if core.known.lock().is_outgrown(meta.keys) {
        core.known.lock().reload();
    }
    loop {
        let (place, is_loaded) = {
            let known = core.known.lock();
            (known.place(), known.is_loaded())
        };
        if (is_loaded && place >= meta.next_place) || core.is_closing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (hashes, next) = snapshot.order(place, CHUNK)?;
        let is_all = hashes.len() < CHUNK;
        let next = if is_all { next.max(meta.next_place) } else { next };
        core.known.lock().learn(&hashes, next, is_all);
    }
}
