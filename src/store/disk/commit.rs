//! One transaction: writes changes, makes room for them, and renews the lease of this process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::ReadableTable;

use super::core::Core;
use super::database::failed;
use super::entry::Entry;
use super::head::Unreadable;
use super::index::{Meta, Tables};
use super::invalidations;
use super::pending::{Body, Op, Put};
use super::process::is_registered;
use super::purging::{Affected, affected, write_purge};
use super::room::Room;
use super::rows::{Effects, remove_row, row, write_put};
use super::space::KIB;
use super::sync::{foreign, has_other_rows};
use crate::message::purge::{Purge, Purged};
use crate::metrics::Eviction;
use crate::store::{StoreError, url_of};

/// How many unlinked bodies are struck off the list in one transaction.
const MAX_STRUCK: usize = 4096;

/// Writes changes, and marks keys as used. Returns the replies to those that wait.
pub(super) fn commit(
    core: &Arc<Core>,
    ops: &[Arc<Op>],
    used: &[u64],
) -> Result<Vec<Result<Purged, StoreError>>, StoreError> {
    let index = core.index()?;
    let set_capacity = core.set_capacity.load(Ordering::Relaxed);
    // A purge looks at all rows before the transaction, which then looks at the rows written since.
    let purges = ops.iter().filter_map(|op| match &**op {
        Op::Purge { purge, .. } => Some(affected(core, &index, purge)),
        _ => None,
    });
    let mut purges = purges.collect::<Result<Vec<_>, _>>()?.into_iter();
    let mut effects = Effects::default();
    let (mut lease, mut first_place) = (0, 0);
    let written = index.write(|tables| {
        let before = tables.meta()?;
        first_place = before.next_place;
        if has_other_rows(&before, &core.meta.lock()) {
            core.at_hand.forget_all();
        }
        effects.meta = before;
        if set_capacity > 0 {
            effects.meta.capacity = set_capacity;
        }
        strike_unlinked(core, tables)?;
        mark(tables, used)?;
        let is_void = invalidated(core, tables, ops, &before)?;
        let others = leases_of_others(core, tables)?;
        let room = Room::new(core, &index, others);
        let has_room = room.make(core, tables, ops, &mut effects)?;
        let is_refused = |put: &Put| !has_room && put.in_memory() > 0;
        let refused = ops.iter().filter(|op| matches!(&***op, Op::Put(put) if is_refused(put)));
        effects.refused = refused.count() as u64;
        let is_void = |put: &Put| is_void(put) || is_refused(put);
        for op in ops {
            write_op(core, tables, op, &is_void, &mut purges, &mut effects)?;
        }
        let sequence = core.sequence.load(Ordering::Relaxed);
        effects.meta.sequence = effects.meta.sequence.max(sequence);
        lease = core.space.next_lease(room.left(core, &effects.meta));
        // What the index has of files that are still written is not counted twice.
        take_lease(core, tables, lease.saturating_sub(core.growing.booked() / KIB))?;
        for number in &effects.unused {
            tables.doomed.insert(*number, ()).map_err(failed)?;
        }
        tables.set_meta(&before, &effects.meta)
    });
    if let Err(error) = written {
        effects.written.into_iter().for_each(|number| _ = core.remove_file(number));
        effects.growing.into_iter().for_each(|number| _ = core.growing.unbook(number));
        return Err(error);
    }
    let _ = core.set_capacity.compare_exchange(set_capacity, 0, Ordering::Relaxed, Ordering::Relaxed);
    let mut known = core.known.lock();
    for (hash, is_there) in &effects.keys {
        if *is_there { known.put(*hash) } else { known.remove(*hash) }
    }
    known.skip(first_place, effects.meta.next_place);
    drop(known);
    core.at_hand.forget(effects.keys.keys().copied());
    {
        let mut meta = core.meta.lock();
        *meta = Meta { keys: meta.keys, partitions: meta.partitions, ..effects.meta };
    }
    core.space.set_lease(lease, !effects.is_making_room);
    if effects.is_making_room {
        core.pending.hurry();
    }
    core.skipped.fetch_add(effects.refused, Ordering::Relaxed);
    core.evictions.fetch_add(effects.evicted, Ordering::Relaxed);
    if let Some(watcher) = core.watcher.get().filter(|_| effects.evicted > 0) {
        let event = Eviction { tier: super::NAME, keys: effects.evicted };
        watcher.tell(|observer| observer.evicted(&event));
    }
    effects.unused.into_iter().for_each(|number| _ = core.remove_file(number));
    Ok(effects.replies)
}

fn write_op(
    core: &Core,
    tables: &mut Tables<'_>,
    op: &Op,
    is_void: &impl Fn(&Put) -> bool,
    purges: &mut impl Iterator<Item = Affected>,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    match op {
        Op::Put(put) if is_void(put) => {
            if let Body::File(number) = put.body {
                effects.unused.push(number);
            }
        }
        Op::Put(put) => write_put(core, tables, put, effects)?,
        Op::Remove { hash, purge, done } => {
            let responses = remove_row(tables, *hash, effects)?;
            list_invalidation(core, tables, purge, effects)?;
            if done.is_some() {
                effects.replies.push(Ok(Purged::new(responses, 0)));
            }
        }
        Op::Discard { hash, number } => {
            let is_meant = match (row(tables, *hash)?, number) {
                (Some(Ok((_, heads))), Some(number)) => heads.iter().any(|head| head.number == *number),
                (Some(Err(Unreadable::Damaged(_))) | None, _) => true,
                (Some(_), _) => false,
            };
            if is_meant {
                remove_row(tables, *hash, effects)?;
            }
        }
        Op::Purge { purge, done } => {
            let purged = write_purge(tables, purge, purges.next().unwrap_or_default(), effects)?;
            list_invalidation(core, tables, purge, effects)?;
            if done.is_some() {
                effects.replies.push(Ok(purged));
            }
        }
    }
    Ok(())
}

/// Lists an invalidation for other processes.
fn list_invalidation(
    core: &Core,
    tables: &mut Tables<'_>,
    purge: &Purge,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    effects.meta.invalidations += 1;
    let number = effects.meta.invalidations;
    tables.invalidations.insert(number, &*invalidations::encode(core.process.id(), purge)).map_err(failed)?;
    if let Some(oldest) = number.checked_sub(invalidations::LISTED) {
        tables.invalidations.remove(oldest).map_err(failed)?;
    }
    Ok(())
}

/// Returns whether another process has invalidated a response since it was put.
fn invalidated(
    core: &Core,
    tables: &Tables<'_>,
    ops: &[Arc<Op>],
    meta: &Meta,
) -> Result<impl Fn(&Put) -> bool + use<>, StoreError> {
    let applied = ops.iter().filter_map(|op| match &**op {
        // A greater number is one of an index that was removed.
        Op::Put(put) => Some(if put.applied > meta.invalidations { 0 } else { put.applied }),
        _ => None,
    });
    let purges = match applied.min() {
        Some(applied) if applied < meta.invalidations => foreign(core, tables.invalidations_after(applied)?),
        _ => Vec::new(),
    };
    Ok(move |put: &Put| purges.iter().any(|purge| purge.is_about(url_of(put.key.as_str()), &put.response)))
}

/// Strikes bodies off the list of those that no row names, and unlinks those that a killed process left there.
fn strike_unlinked(core: &Core, tables: &mut Tables<'_>) -> Result<(), StoreError> {
    let doomed = tables.doomed.iter().map_err(failed)?.take(MAX_STRUCK);
    let numbers = doomed.map(|row| row.map(|(number, _)| number.value()).map_err(failed));
    for number in numbers.collect::<Result<Vec<_>, _>>()? {
        if core.remove_file(number) {
            tables.doomed.remove(number).map_err(failed)?;
        }
    }
    Ok(())
}

/// Marks keys as used, so that they are not evicted by their next turn.
fn mark(tables: &mut Tables<'_>, used: &[u64]) -> Result<(), StoreError> {
    for hash in used {
        if let Some(entry) = tables.entry(*hash)?.filter(|entry| !entry.is_used) {
            tables.set_entry(*hash, &Entry { is_used: true, ..entry })?;
        }
    }
    Ok(())
}

/// Returns the sum of the leases of other processes in KiB, and cancels those of processes that ended.
fn leases_of_others(core: &Core, tables: &mut Tables<'_>) -> Result<u64, StoreError> {
    let leases = tables.leases.iter().map_err(failed)?;
    let leases = leases.map(|lease| lease.map(|(id, lease)| (id.value(), lease.value())).map_err(failed));
    let mut sum = 0;
    for (id, lease) in leases.collect::<Result<Vec<_>, _>>()? {
        if id == core.process.id() {
            continue;
        }
        if is_registered(&core.directory, id) {
            sum += lease;
        } else {
            tables.leases.remove(id).map_err(failed)?;
        }
    }
    Ok(sum)
}

fn take_lease(core: &Core, tables: &mut Tables<'_>, lease: u64) -> Result<(), StoreError> {
    let id = core.process.id();
    if lease == 0 {
        tables.leases.remove(id).map_err(failed)?;
    } else {
        tables.leases.insert(id, lease).map_err(failed)?;
    }
    Ok(())
}
