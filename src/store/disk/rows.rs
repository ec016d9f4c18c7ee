//! Writes and removes the row and the bodies of one key in a transaction.

use redb::ReadableTable;

use super::body_file::{self, BLOCK};
use super::core::{Core, SMALL, charge, small_checksum};
use super::head::{Head, Place, decode, encode};
use super::index::{Tables, failed};
use super::part::is_kept;
use super::pending::{Body, ByHash, Put};
use crate::message::purge::Purged;
use crate::store::{MAX_VARIANTS, StoreError, StoredResponse};

/// What a transaction comes to once it is committed.
#[derive(Default)]
pub(super) struct Effects {
    /// What each key takes by now; `None` where it is gone.
    pub(super) charges: ByHash<Option<u32>>,
    /// Bodies that are in no row any more.
    pub(super) unused: Vec<u64>,
    /// Bodies that were written, in case that they are in no row in the end.
    pub(super) written: Vec<u64>,
    /// Files that are still written: number, hash of the key, and length.
    pub(super) growing: Vec<(u64, u64, u64)>,
    pub(super) evicted: u64,
    pub(super) replies: Vec<Result<Purged, StoreError>>,
}

pub(super) fn files(heads: &[Head]) -> impl Iterator<Item = u64> {
    heads.iter().filter(|head| head.place == Place::File).map(|head| head.number)
}

/// The heads of a row; none where it cannot be read.
pub(super) fn row(tables: &Tables<'_>, hash: u64) -> Result<Option<(String, Vec<Head>)>, StoreError> {
    let row = tables.heads.get(hash).map_err(failed)?;
    Ok(row.and_then(|row| decode(row.value()).ok()))
}

pub(super) fn remove_row(tables: &mut Tables<'_>, hash: u64) -> Result<Option<Vec<Head>>, StoreError> {
    let heads = row(tables, hash)?.map(|(_, heads)| heads);
    for head in heads.iter().flatten() {
        remove_body(tables, head)?;
    }
    tables.heads.remove(hash).map_err(failed)?;
    tables.entries.remove(hash).map_err(failed)?;
    Ok(heads)
}

pub(super) fn remove_body(tables: &mut Tables<'_>, head: &Head) -> Result<(), StoreError> {
    match head.place {
        Place::Index => drop(tables.bodies.remove(head.number).map_err(failed)?),
        Place::File => {
            tables.files.remove(head.number).map_err(failed)?;
            tables.growing.remove(head.number).map_err(failed)?;
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
    let Put { key, hash, rules, response, body } = put;
    let found = row(tables, *hash)?;
    let mut heads = match found {
        Some((of, heads)) if of == key.as_str() => heads,
        Some((_, heads)) => {
            // Another key of the same hash, which the later takes the place of.
            effects.unused.extend(files(&heads));
            remove_row(tables, *hash)?;
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
    if is_outdated || (kept.is_none() && matches!(body, Body::Kept)) {
        if let Body::File(number) = body {
            effects.unused.push(*number);
        }
        return Ok(());
    }
    let (number, place) = match (kept, body) {
        (Some(kept), Body::Kept | Body::Memory) => kept,
        (_, Body::File(number)) => {
            tables.files.insert(number, ()).map_err(failed)?;
            tables.growing.remove(number).map_err(failed)?;
            (*number, Place::File)
        }
        (_, Body::Growing(number)) => {
            tables.files.insert(number, ()).map_err(failed)?;
            tables.growing.insert(number, hash).map_err(failed)?;
            let length = body_file::file_length(response.body_length() as u64);
            effects.growing.push((*number, *hash, length));
            (*number, Place::File)
        }
        (_, Body::Memory | Body::Kept) => write_body(core, tables, response, effects)?,
    };
    if let Some(at) = old {
        let head = heads.remove(at);
        if head.number != number {
            remove_body(tables, &head)?;
            effects.unused.extend(files(&[head]));
        }
    }
    heads.insert(
        0,
        Head {
            number,
            place,
            length: response.body_length() as u64,
            rules: *rules,
            response: StoredResponse::clone(response),
        },
    );
    for head in heads.drain(MAX_VARIANTS.min(heads.len())..).collect::<Vec<_>>() {
        remove_body(tables, &head)?;
        effects.unused.extend(files(&[head]));
    }
    write_row(tables, *hash, key.as_str(), &heads, number, effects)
}

pub(super) fn write_row(
    tables: &mut Tables<'_>,
    hash: u64,
    key: &str,
    heads: &[Head],
    place: u64,
    effects: &mut Effects,
) -> Result<(), StoreError> {
    let row = encode(key, heads);
    let kibibytes = charge(row.len(), heads);
    tables.heads.insert(hash, &*row).map_err(failed)?;
    tables.entries.insert(hash, (place, kibibytes)).map_err(failed)?;
    effects.charges.insert(hash, Some(kibibytes));
    Ok(())
}

pub(super) fn write_body(
    core: &Core,
    tables: &mut Tables<'_>,
    response: &StoredResponse,
    effects: &mut Effects,
) -> Result<(u64, Place), StoreError> {
    let (number, body) = (core.next_number(), response.body());
    if body.len() as u64 <= SMALL {
        let body = body.to_bytes();
        let framed = [&small_checksum(number, &body).to_be_bytes()[..], &body].concat();
        tables.bodies.insert(number, &*framed).map_err(failed)?;
        return Ok((number, Place::Index));
    }
    effects.written.push(number);
    let io = |error| StoreError::new("a body cannot be written").with_source(error);
    let file = core.create_file(number).map_err(io)?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut index = 0;
    for mut piece in body.slices() {
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            piece = later;
            if block.len() == BLOCK {
                body_file::write_block(&file, number, index, &block).map_err(io)?;
                block.clear();
                index += 1;
            }
        }
    }
    if !block.is_empty() {
        body_file::write_block(&file, number, index, &block).map_err(io)?;
    }
    tables.files.insert(number, ()).map_err(failed)?;
    Ok((number, Place::File))
}
