//! Makes room before something is written, so that the directory never takes more than its capacity.
//!
//! The limit of the entries is the capacity less a part in which the index grows. The index shrinks late after its entries
//! are removed. If it is larger than the charge of its entries, the files of bodies get less room.

use redb::ReadableTable;

use super::body_file::file_length;
use super::core::{Core, SMALL};
use super::database::failed;
use super::index::{Index, Meta, Tables};
use super::pending::{Op, Put};
use super::rows::{Effects, files, next_place, remove_row};
use super::space::KIB;
use crate::store::StoreError;

/// How many used keys are moved to the end of the order in one transaction.
const MAX_MOVED: u64 = 10_000;

/// How many transactions the index has room for, beyond what its entries are charged for.
const TRANSACTIONS: u64 = 2;

/// Returns how many bytes are left for the index to grow in.
fn spare(core: &Core) -> u64 {
    (core.capacity() / 16).min(64 << 20)
}

/// Returns how many bytes one transaction writes: a transaction copies each page that it changes, and the index has room for
/// these copies only.
fn portion(core: &Core) -> u64 {
    spare(core) / TRANSACTIONS
}

/// Divides changes into those that one transaction writes each. One that is larger than a portion is alone.
pub(super) fn portions<'o, T: AsRef<Op>>(core: &Core, ops: &'o [T]) -> Vec<&'o [T]> {
    let most = portion(core);
    let (mut portions, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, op) in ops.iter().enumerate() {
        let size = size(op.as_ref());
        if at > from && bytes + size > most {
            portions.push(&ops[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
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
        let of_index = meta.kibibytes.saturating_sub(meta.file_kibibytes);
        let excess = self.index.saturating_sub(of_index + self.slack);
        // The rows of files that are still written are charged, and their room is reserved too: it counts once.
        let booked = core.growing.booked() / KIB;
        (self.limit + booked).saturating_sub(meta.kibibytes + excess + self.others)
    }

    /// Evicts until there is room for the changes, and for the unfinished bodies of this process. Returns whether there is.
    pub(super) fn make<T: AsRef<Op>>(
        &self,
        core: &Core,
        tables: &mut Tables<'_>,
        ops: &[T],
        effects: &mut Effects,
    ) -> Result<bool, StoreError> {
        let bodies = core.space.begin_round(portion(core));
        let needed = (bodies + ops.iter().map(|op| size(op.as_ref())).sum::<u64>()).div_ceil(KIB);
        let mut moves_left = effects.meta.keys.min(MAX_MOVED);
        while self.left(core, &effects.meta) < needed {
            let first = tables.order.first().map_err(failed)?;
            let Some((place, hash)) = first.map(|(place, hash)| (place.value(), hash.value())) else {
                return Ok(false);
            };
            let entry = tables.entries.get(hash).map_err(failed)?.map(|entry| entry.value());
            let is_used = core.known.lock().take_use(hash) || entry.is_some_and(|(.., is_used)| is_used);
            if let Some((_, kibibytes, _)) = entry.filter(|_| is_used && moves_left > 0) {
                moves_left -= 1;
                let place = next_place(tables, Some(place), hash, effects)?;
                tables.entries.insert(hash, (place, kibibytes, false)).map_err(failed)?;
                continue;
            }
            let heads = remove_row(tables, hash, effects)?;
            core.at_hand.forget([hash]);
            tables.order.remove(place).map_err(failed)?;
            // At once, to make room before the transaction ends: a row without its file is a miss.
            files(&heads).for_each(|number| _ = core.remove_file(number));
            effects.evicted += 1;
        }
        Ok(true)
    }
}

/// Returns how much a change takes at most in bytes, except for bodies that have a lease.
fn size(op: &Op) -> u64 {
    match op {
        Op::Put(put) => {
            let body = put.in_memory();
            let body = if body <= SMALL { 2 * body } else { file_length(body) + 4096 };
            body + 2048 + 2 * head_size(put)
        }
        Op::Remove { .. } | Op::Discard { .. } | Op::Purge { .. } => 0,
    }
}

fn head_size(put: &Put) -> u64 {
    (put.response.lines().len() + put.key.as_str().len()) as u64
}
