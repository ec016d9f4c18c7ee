//! The thread that writes: what has come in a second is one transaction.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::body_file;
use super::core::{Core, SMALL};
use super::head::{Head, decode};
use super::index::{Index, Tables, failed};
use super::known::Known;
use super::part::cut_unfinished;
use super::pending::{Body, Op, Put};
use super::rows::{Effects, files, remove_body, remove_row, row, write_put, write_row};
use crate::message::purge::{Purge, Purged};
use crate::store::{StoreError, StoredResponse, url_of};

/// How long a disk that failed is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// The part of the capacity that is left for what the index needs beside its rows.
const SPARE: u64 = 16;

/// Writes until the store is closed.
pub(super) fn run(core: &Arc<Core>) {
    load(core);
    let mut down: Option<Instant> = None;
    while let Some(ops) = core.pending.next() {
        if down.is_some_and(|since| since.elapsed() >= PAUSE) {
            match reopen(core) {
                Ok(()) => down = None,
                Err(error) => {
                    core.trouble.report("be opened", &error);
                    down = Some(Instant::now());
                }
            }
        }
        let committed = commit(core, &ops);
        let failure = committed.as_ref().err().map(ToString::to_string);
        if let Err(error) = &committed {
            let cause =
                std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            core.trouble.report("write", &format!("{error}{cause}"));
            // The database takes nothing more after an error: it is opened anew.
            *core.index.write() = None;
            down.get_or_insert_with(Instant::now);
            for op in &ops {
                if let Op::Put(Put { body: Body::File(number), .. }) = &**op {
                    let _ = fs::remove_file(core.file_of(*number));
                }
            }
        }
        for op in &ops {
            if let Op::Put(Put { body: Body::File(number), .. }) = &**op {
                core.room.is_booked(*number);
                core.growing.end(*number);
            }
        }
        core.room.set_free(free(core));
        core.pending.done(&ops);
        let mut replies = committed.unwrap_or_default().into_iter();
        for op in &ops {
            let (Op::Remove { done: Some(done), .. } | Op::Purge { done, .. }) = &**op else { continue };
            let failed = || Err(StoreError::new(failure.clone().unwrap_or_default()));
            // Whoever does not wait any more needs no answer.
            let _ = done.send(replies.next().unwrap_or_else(failed));
        }
    }
}

/// Learns what is in the index, and then sweeps files that no row names.
fn load(core: &Arc<Core>) {
    match core.index().and_then(|index| known(&index)) {
        Ok(known) => *core.known.lock() = known,
        Err(error) => core.trouble.report("be read", &error),
    }
    if let Err(error) = core.index().and_then(|index| cut_unfinished(core, &index)) {
        core.trouble.report("cut a file", &error);
    }
    core.room.set_free(free(core));
    let (first, own) = (core.numbers_given(), Arc::downgrade(core));
    let directory = core.directory.join("bodies");
    core.lane.submit_always(Box::new(move || {
        for folder in fs::read_dir(directory).into_iter().flatten().flatten() {
            let names = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            let numbers = names.filter_map(|file| u64::from_str_radix(file.file_name().to_str()?, 16).ok());
            let numbers = numbers.filter(|number| *number < first).collect();
            let Some(core) = own.upgrade() else { return };
            let orphans = core.index().and_then(|index| index.orphans(numbers)).unwrap_or_default();
            for number in orphans {
                let _ = fs::remove_file(core.file_of(number));
            }
        }
    }));
}

fn reopen(core: &Core) -> Result<(), StoreError> {
    let (index, _) = Index::open(&core.directory.join("index.redb"), [0; 2])?;
    *core.known.lock() = known(&index)?;
    *core.index.write() = Some(Arc::new(index));
    Ok(())
}

/// What is in the index. It is made without a lock, for which threads would have to wait that never wait for a disk.
fn known(index: &Index) -> Result<Known, StoreError> {
    let mut entries = index.entries()?;
    entries.sort_unstable_by_key(|(_, place, _)| *place);
    let mut known = Known::default();
    for (hash, _, kibibytes) in entries {
        known.put(hash, kibibytes);
    }
    known.set_loaded();
    Ok(known)
}

/// How much may be stored.
fn limit(core: &Core) -> u64 {
    let capacity = core.capacity();
    capacity - (capacity / SPARE).min(64 << 20)
}

pub(super) fn free(core: &Core) -> u64 {
    (limit(core) + core.growing.booked(None)).saturating_sub(core.known.lock().bytes())
}

fn commit(core: &Arc<Core>, ops: &[Arc<Op>]) -> Result<Vec<Result<Purged, StoreError>>, StoreError> {
    let index = core.index()?;
    let needed = core.room.needed() + ops.iter().map(|op| size(op)).sum::<u64>();
    let mut effects = Effects::default();
    let mut victims = Vec::new();
    let mut limit = limit(core) + core.growing.booked(None);
    let mut known = core.known.lock();
    while known.bytes() + needed > limit {
        let Some((hash, _)) = known.evict() else { break };
        limit -= core.growing.booked(Some(hash));
        victims.push(hash);
    }
    drop(known);
    // A purge looks at all rows, before the transaction: what comes meanwhile is in none of them.
    let purges = ops.iter().filter_map(|op| match &**op {
        Op::Purge { purge, .. } => Some(affected(core, &index, purge)),
        _ => None,
    });
    let mut purges = purges.collect::<Result<Vec<_>, _>>()?.into_iter();
    let written = index.write(|tables| {
        for hash in &victims {
            effects.evicted += 1;
            for number in remove_row(tables, *hash)?.iter().flat_map(|heads| files(heads)) {
                // At once, so that there is room for what comes in its place: a row without its file is a miss.
                core.remove_file(number);
            }
            effects.charges.insert(*hash, None);
        }
        for op in ops {
            match &**op {
                Op::Put(put) => write_put(core, tables, put, &mut effects)?,
                Op::Remove { hash, done } => {
                    let heads = remove_row(tables, *hash)?;
                    effects.charges.insert(*hash, None);
                    let count = heads.as_ref().map_or(0, Vec::len) as u64;
                    effects.unused.extend(heads.iter().flat_map(|heads| files(heads)));
                    if done.is_some() {
                        effects.replies.push(Ok(Purged::new(count, 0)));
                    }
                }
                Op::Purge { purge, .. } => {
                    let purged = write_purge(tables, purge, purges.next().unwrap_or_default(), &mut effects)?;
                    effects.replies.push(Ok(purged));
                }
            }
        }
        let sequence = core.sequence.load(Ordering::Relaxed);
        for (name, value) in [("next-number", core.numbers_given()), ("sequence", sequence)] {
            tables.meta.insert(name, value).map_err(failed)?;
        }
        Ok(())
    });
    if let Err(error) = written {
        for number in effects.written {
            let _ = fs::remove_file(core.file_of(number));
        }
        return Err(error);
    }
    let mut known = core.known.lock();
    for (hash, charge) in &effects.charges {
        match charge {
            Some(kibibytes) => known.put(*hash, *kibibytes),
            None => known.remove(*hash),
        }
    }
    drop(known);
    core.evictions.fetch_add(effects.evicted, Ordering::Relaxed);
    for number in effects.unused {
        core.remove_file(number);
    }
    for (number, hash, length) in effects.growing {
        if effects.charges.get(&hash).is_some_and(Option::is_some) {
            core.growing.book(number, hash, length);
        }
    }
    Ok(effects.replies)
}

/// How much a change takes at most, of what room was not made for before.
fn size(op: &Op) -> u64 {
    match op {
        Op::Put(put) => {
            let body = put.in_memory();
            let body = if body <= SMALL { 2 * body } else { body_file::file_length(body) + 4096 };
            body + 4096
        }
        Op::Remove { .. } | Op::Purge { .. } => 0,
    }
}

/// The keys of which something is to be purged.
fn affected(core: &Core, index: &Index, purge: &Purge) -> Result<Vec<u64>, StoreError> {
    if let Some(url) = purge.single_url() {
        return Ok(vec![core.hash(url)]);
    }
    let mut hashes = Vec::new();
    index.each_row(|hash, row| {
        // What cannot be read answers for nothing, and takes room.
        let is_meant = decode(row).map_or(true, |(key, heads)| {
            heads.iter().any(|head| purge.changes(url_of(&key), &head.response))
        });
        if is_meant {
            hashes.push(hash);
        }
    })?;
    Ok(hashes)
}

/// Purges these keys, and what was put in the same transaction.
fn write_purge(
    tables: &mut Tables<'_>,
    purge: &Purge,
    hashes: Vec<u64>,
    effects: &mut Effects,
) -> Result<Purged, StoreError> {
    let own: Vec<u64> =
        effects.charges.iter().filter(|(_, charge)| charge.is_some()).map(|(hash, _)| *hash).collect();
    let hashes: HashSet<u64> = hashes.into_iter().chain(own).collect();
    let mut purged = Purged::default();
    for hash in hashes {
        let Some((key, heads)) = row(tables, hash)? else {
            remove_row(tables, hash)?;
            effects.charges.insert(hash, None);
            continue;
        };
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        let before = purged.responses;
        for head in heads {
            if !purge.changes(url_of(&key), &head.response) {
                left.push(head);
                continue;
            }
            purged = purged.and(Purged::new(1, head.length));
            match purge.stale(&head.response) {
                Some(stale) => left.push(Head { response: StoredResponse::clone(&stale), ..head }),
                None => gone.push(head),
            }
        }
        if purged.responses == before {
            continue;
        }
        for head in &gone {
            remove_body(tables, head)?;
        }
        effects.unused.extend(files(&gone));
        match left.first().map(|head| head.number) {
            Some(place) => write_row(tables, hash, &key, &left, place, effects)?,
            None => {
                remove_row(tables, hash)?;
                effects.charges.insert(hash, None);
            }
        }
    }
    Ok(purged)
}
