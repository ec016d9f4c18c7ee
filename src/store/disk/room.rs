//! Makes room before something is written, so that the directory never takes more than its capacity.
//!
//! The limit of the entries is the capacity less a part in which the index grows. The index shrinks late after its entries
//! are removed. If it is larger than the charge of its entries, the files of bodies get less room.

use redb::ReadableTable;

use super::body_file::file_length;
use super::core::{Core, SMALL};
use super::database::failed;
use super::entry::Entry;
use super::index::{Index, Meta, Tables};
use super::pending::Op;
use super::rows::{Effects, files, next_place, take_row};
use super::space::KIB;
use crate::store::StoreError;

/// How many used keys are moved to the end of the order in one transaction, and how many keys are evicted: other changes and other
/// processes wait for it.
const MAX_MOVED: u64 = 10_000;
const MAX_EVICTED: u64 = 10_000;

/// Returns how many bytes are left for the index to grow in. One transaction writes at most as much.
fn spare(core: &Core) -> u64 {
    (core.capacity() / 16).min(64 << 20)
}

/// Divides changes into those that one transaction writes each. A larger change has a transaction of its own.
pub(super) fn portions<'o, T: AsRef<Op>>(core: &Core, ops: &'o [T]) -> Vec<&'o [T]> {
    let most = spare(core);
    let (mut portions, mut from) = (Vec::new(), 0);
    let (mut index, mut files) = (0, 0);
    for (at, op) in ops.iter().enumerate() {
        let op = op.as_ref();
        let (more_index, more_files) = (index_size(op), file_size(op));
        // A transaction copies the pages of the index that it changes, and these copies need room too.
        if at > from && 2 * (index + more_index) + files + more_files > most {
            portions.push(&ops[from..at]);
            (from, index, files) = (at, 0, 0);
        }
        index += more_index;
        files += more_files;
    }
    portions.push(&ops[from..]);
    portions
}

/// The room of the directory, in KiB.
pub(super) struct Room {
    /// The limit of all entries.
    limit: u64,
    /// How much larger the index may be than the charge of its entries.
    slack: u64,
    /// The size of the index on the disk.
    index: u64,
    /// The leases of other processes.
    others: u64,
}

impl Room {
    pub(super) fn new(core: &Core, index: &Index, others: u64) -> Self {
        let limit = core.capacity().saturating_sub(spare(core)) / KIB;
        Self { limit, slack: spare(core) / 2 / KIB, index: index.length() / KIB, others }
    }

    /// Returns what is not taken.
    pub(super) fn left(&self, core: &Core, meta: &Meta) -> u64 {
        self.left_beside(0, core, meta).unwrap_or(0)
    }

    /// Returns what is not taken if so much more is; `None` if that is more than the limit.
    fn left_beside(&self, needed: u64, core: &Core, meta: &Meta) -> Option<u64> {
        let of_index = meta.kibibytes.saturating_sub(meta.file_kibibytes);
        let excess = self.index.saturating_sub(of_index + self.slack);
        // The rows of files that are still written are charged, and their room is reserved too: it counts once.
        let booked = core.growing.booked() / KIB;
        let removed = core.open_bodies.removed_bytes() / KIB;
        (self.limit + booked).checked_sub(meta.kibibytes + excess + self.others + removed + needed)
    }

    /// Evicts until there is room for the changes, and for the unfinished bodies of this process. Returns whether there is room
    /// for the changes.
    pub(super) fn make<T: AsRef<Op>>(
        &self,
        core: &Core,
        tables: &mut Tables<'_>,
        ops: &[T],
        effects: &mut Effects,
    ) -> Result<bool, StoreError> {
        let bodies = core.space.begin_round(spare(core));
        let sizes = ops.iter().map(|op| index_size(op.as_ref()) + file_size(op.as_ref()));
        let of_changes = sizes.sum::<u64>();
        let needed = (bodies + of_changes).div_ceil(KIB);
        let mut moves_left = effects.meta.keys.min(MAX_MOVED);
        while self.left_beside(needed, core, &effects.meta).is_none() {
            let first = tables.order.first().map_err(failed)?;
            let Some((place, hash)) = first.map(|(place, hash)| (place.value(), hash.value())) else {
                return Ok(false);
            };
            let entry = tables.entry(hash)?;
            let is_used =
                core.known.lock().take_use(hash) || entry.as_ref().is_some_and(|entry| entry.is_used);
            if let Some(entry) = entry.filter(|_| is_used && moves_left > 0) {
                moves_left -= 1;
                let place = next_place(tables, Some(place), hash, effects)?;
                tables.set_entry(hash, &Entry { place, is_used: false, ..entry })?;
                continue;
            }
            if effects.evicted >= MAX_EVICTED {
                effects.is_making_room = true;
                return Ok(self.left_beside(of_changes.div_ceil(KIB), core, &effects.meta).is_some());
            }
            let bodies = take_row(tables, hash, effects)?;
            core.at_hand.forget([hash]);
            tables.order.remove(place).map_err(failed)?;
            // At once, to make room before the transaction ends: a row without its file is a miss.
            files(&bodies).for_each(|number| _ = core.remove_file(number));
            effects.evicted += 1;
        }
        Ok(true)
    }
}

/// Returns how much a change takes in the index at most, in bytes.
fn index_size(op: &Op) -> u64 {
    match op {
        Op::Put(put) => {
            let body = Some(put.in_memory()).filter(|body| *body <= SMALL).unwrap_or(0);
            let head = (put.response.lines().len() + put.key.as_str().len()) as u64;
            2048 + 2 * (head + body)
        }
        Op::Remove { .. } | Op::Discard { .. } | Op::Purge { .. } => 0,
    }
}

/// Returns how much a change takes in files, in bytes, except for bodies that have a lease.
fn file_size(op: &Op) -> u64 {
    match op {
        Op::Put(put) if put.in_memory() > SMALL => file_length(put.in_memory()) + 4096,
        _ => 0,
    }
}
