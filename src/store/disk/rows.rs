//! Writes and removes the row and the bodies of one key in a transaction.

use std::fs::File;
use std::io;

use redb::ReadableTable;

use super::body_file::{self, BLOCK};
use super::core::{Core, SMALL, charge, file_charge, small_checksum};
use super::database::failed;
use super::directory;
use super::entry::{BodyOf, Entry};
use super::head::{Head, Place, Unreadable, decode, encode};
use super::index::{Meta, Tables};
use super::part::is_kept;
use super::pending::{Body, ByHash, Put};
use crate::message::pieces::Pieces;
use crate::message::purge::Purged;
use crate::store::{MAX_VARIANTS, StoreError, StoredResponse, url_of};

/// The effects of a transaction, for when it is committed.
#[derive(Default)]
pub(super) struct Effects {
    /// The state of the directory after the transaction.
    pub(super) meta: Meta,
    /// Whether each changed key is still there.
    pub(super) keys: ByHash<bool>,
    /// Bodies in files that no row names any more.
    pub(super) unused: Vec<u64>,
    /// Bodies that were written to files, to be removed if the transaction fails.
    pub(super) written: Vec<u64>,
    /// Bodies of which the index has more now, and whose files are still written.
    pub(super) growing: Vec<u64>,
    pub(super) evicted: u64,
    /// Whether the next transaction has to evict more.
    pub(super) is_making_room: bool,
    /// Responses that were not written for want of room.
    pub(super) refused: u64,
    pub(super) replies: Vec<Result<Purged, StoreError>>,
}

/// Whether the write of a row brings a response, or only changes those that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    New,
    Changed,
}

pub(super) fn files(bodies: &[BodyOf]) -> impl Iterator<Item = u64> {
    bodies.iter().filter(|body| body.place == Place::File).map(|body| body.number)
}

/// The content of a row.
pub(super) type Row = Result<(String, Vec<Head>), Unreadable>;

/// Reads a row; `None` if it is missing.
pub(super) fn row(tables: &Tables<'_>, hash: u64) -> Result<Option<Row>, StoreError> {
    let row = tables.heads.get(hash).map_err(failed)?;
    Ok(row.map(|row| decode(row.value())))
}

/// Removes a key with its bodies, also if its row cannot be read. Returns the number of its responses. The files of bodies are left
/// to the end of the transaction.
pub(super) fn remove_row(
    tables: &mut Tables<'_>,
    hash: u64,
    effects: &mut Effects,
) -> Result<u64, StoreError> {
    let bodies = take_row(tables, hash, effects)?;
    effects.unused.extend(files(&bodies));
    Ok(bodies.len() as u64)
}

/// Like [`remove_row`], but returns the bodies, whose files are left to the caller.
pub(super) fn take_row(
    tables: &mut Tables<'_>,
    hash: u64,
    effects: &mut Effects,
) -> Result<Vec<BodyOf>, StoreError> {
    tables.heads.remove(hash).map_err(failed)?;
    effects.keys.insert(hash, false);
    let Some(entry) = tables.take_entry(hash)? else { return Ok(Vec::new()) };
    tables.order.remove(entry.place).map_err(failed)?;
    effects.meta.kibibytes = effects.meta.kibibytes.saturating_sub(entry.kibibytes.into());
    if let Some(url) = entry.partition_of {
        tables.partitions.remove((url, hash)).map_err(failed)?;
    }
    for body in &entry.bodies {
        take_body(tables, *body, effects)?;
    }
    Ok(entry.bodies)
}

/// Removes a body of a key that stays.
pub(super) fn remove_body(
    tables: &mut Tables<'_>,
    head: &Head,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let body = BodyOf::from(head);
    effects.unused.extend(files(&[body]));
    take_body(tables, body, effects)
}

fn take_body(tables: &mut Tables<'_>, body: BodyOf, effects: &mut Effects) -> Result<(), StoreError> {
    let file_kibibytes = effects.meta.file_kibibytes.saturating_sub(body.file_kibibytes.into());
    effects.meta.file_kibibytes = file_kibibytes;
    match body.place {
        Place::Index => drop(tables.bodies.remove(body.number).map_err(failed)?),
        Place::File => {
            tables.files.remove(body.number).map_err(failed)?;
            tables.growing.remove(body.number).map_err(failed)?;
        }
    }
    Ok(())
}

pub(super) fn write_put(
    core: &Core,
    tables: &mut Tables<'_>,
    put: &Put,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let Put { key, hash, response, body, .. } = put;
    let found = row(tables, *hash)?;
    let mut heads = match found {
        Some(Ok((of, heads))) if of == key.as_str() => heads,
        // A row that cannot be read, or another key with the same hash: the later one replaces it.
        Some(_) => {
            remove_row(tables, *hash, effects)?;
            Vec::new()
        }
        None => Vec::new(),
    };
    let old = heads.iter().position(|head| head.response.variant() == response.variant());
    let is_outdated = old.map(|at| &heads[at]).is_some_and(|head| {
        head.response.sequence() > response.sequence() || is_kept((&head.response, head.length), response)
    });
    let is_same = |head: &Head| {
        head.length == response.body_length() as u64
            && response.digest().is_some()
            && head.response.digest() == response.digest()
    };
    let kept = old.filter(|at| is_same(&heads[*at])).map(|at| (heads[at].number, heads[at].place));
    let is_lost = match body {
        // Another process may have evicted what was put of it before.
        Body::File(number) | Body::Growing(number) => !core.file_of(*number).exists(),
        Body::Unchanged => kept.is_none(),
        Body::Memory => false,
    };
    if is_outdated || is_lost {
        if let Body::File(number) = body {
            effects.unused.push(*number);
        }
        return Ok(());
    }
    let (number, place) = match (kept, body) {
        (Some(kept), Body::Unchanged | Body::Memory) => kept,
        (_, Body::File(number) | Body::Growing(number)) => {
            tables.files.insert(number, ()).map_err(failed)?;
            tables.doomed.remove(number).map_err(failed)?;
            effects.unused.retain(|unused| unused != number);
            if matches!(body, Body::Growing(_)) {
                tables.growing.insert(number, hash).map_err(failed)?;
                effects.growing.push(*number);
                core.growing.book(*number, *hash, body_file::file_length(response.body_length() as u64));
            } else {
                tables.growing.remove(number).map_err(failed)?;
            }
            (*number, Place::File)
        }
        (_, Body::Memory | Body::Unchanged) => match write_body(core, tables, response, effects)? {
            Some(written) => written,
            None => {
                effects.refused += 1;
                // The stored response is outdated.
                return remove_row(tables, *hash, effects).map(drop);
            }
        },
    };
    if let Some(at) = old {
        let head = heads.remove(at);
        if head.number == number {
            effects.meta.file_kibibytes = effects.meta.file_kibibytes.saturating_sub(file_charge(&head));
        } else {
            remove_body(tables, &head, effects)?;
        }
    }
    let head = Head {
        number,
        place,
        length: response.body_length() as u64,
        response: StoredResponse::clone(response),
    };
    effects.meta.file_kibibytes += file_charge(&head);
    heads.insert(0, head);
    for head in heads.drain(MAX_VARIANTS.min(heads.len())..).collect::<Vec<_>>() {
        remove_body(tables, &head, effects)?;
    }
    write_row(tables, *hash, key.as_str(), &heads, Write::New, effects)
}

pub(super) fn write_row(
    tables: &mut Tables<'_>,
    hash: u64,
    key: &str,
    heads: &[Head],
    write: Write,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let row = encode(key, heads);
    let kibibytes = charge(row.len(), heads);
    tables.heads.insert(hash, &*row).map_err(failed)?;
    let old = tables.entry(hash)?;
    let (place, is_used) = match &old {
        Some(old) if write == Write::Changed => (old.place, old.is_used),
        _ => (next_place(tables, old.as_ref().map(|old| old.place), hash, effects)?, old.is_some()),
    };
    let url = url_of(key);
    let partition_of = (url.len() < key.len()).then(|| directory::hash(effects.meta.salt, url));
    let bodies = heads.iter().map(BodyOf::from).collect();
    tables.set_entry(hash, &Entry { place, kibibytes, is_used, partition_of, bodies })?;
    if let Some(url) = partition_of {
        tables.partitions.insert((url, hash), ()).map_err(failed)?;
    }
    let before = old.map_or(0, |old| old.kibibytes);
    let meta = &mut effects.meta;
    meta.kibibytes = (meta.kibibytes + u64::from(kibibytes)).saturating_sub(before.into());
    effects.keys.insert(hash, true);
    Ok(())
}

/// Moves a key to the end of the order of eviction.
pub(super) fn next_place(
    tables: &mut Tables<'_>,
    old: Option<u64>,
    hash: u64,
    effects: &mut Effects,
) -> Result<u64, StoreError> {
    if let Some(old) = old {
        tables.order.remove(old).map_err(failed)?;
    }
    let place = effects.meta.next_place;
    tables.order.insert(place, hash).map_err(failed)?;
    effects.meta.next_place += 1;
    Ok(place)
}

/// Writes a body to the index or to a file. Returns `None` if the file cannot be written, which concerns no other change.
fn write_body(
    core: &Core,
    tables: &mut Tables<'_>,
    response: &StoredResponse,
    effects: &mut Effects,
) -> Result<Option<(u64, Place)>, StoreError> {
    let body = response.body();
    if body.len() as u64 <= SMALL {
        let mut number = core.process.next_body();
        while tables.bodies.get(number).map_err(failed)?.is_some() {
            number = core.process.next_body();
        }
        let body = body.to_bytes();
        let framed = [&small_checksum(number, &body).to_be_bytes()[..], &body].concat();
        tables.bodies.insert(number, &*framed).map_err(failed)?;
        return Ok(Some((number, Place::Index)));
    }
    let Ok((number, file)) = core.create_file() else { return Ok(None) };
    effects.written.push(number);
    if let Err(error) = write_file(&file, number, &body) {
        core.trouble.report("write", &error);
        effects.unused.push(number);
        return Ok(None);
    }
    tables.files.insert(number, ()).map_err(failed)?;
    Ok(Some((number, Place::File)))
}

fn write_file(file: &File, number: u64, body: &Pieces) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut index = 0;
    for mut piece in body.slices() {
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            piece = later;
            if block.len() == BLOCK {
                body_file::write_block(file, number, index, &block)?;
                block.clear();
                index += 1;
            }
        }
    }
    if !block.is_empty() {
        body_file::write_block(file, number, index, &block)?;
    }
    Ok(())
}
