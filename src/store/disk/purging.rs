//! Purges: finds the keys that a purge affects, and changes them.

use std::collections::HashSet;

use redb::ReadableTable;

use super::core::Core;
use super::database::failed;
use super::directory;
use super::head::{Head, Unreadable, decode};
use super::index::{Index, Tables};
use super::rows::{Effects, Row, Write, remove_body, remove_row, row, write_row};
use crate::message::purge::{Purge, Purged};
use crate::store::{StoreError, StoredResponse, url_of};

/// How many rows are read at a time.
const CHUNK: usize = 256;

/// The keys that a purge affects.
#[derive(Default)]
pub(super) struct Affected {
    hashes: Vec<u64>,
    /// Keys from this place on were written after the search.
    place: u64,
}

/// Finds the keys that a purge affects.
pub(super) fn affected(core: &Core, index: &Index, purge: &Purge) -> Result<Affected, StoreError> {
    let place = index.snapshot()?.meta()?.unwrap_or_default().next_place;
    if let Some(url) = purge.single_url() {
        return Ok(Affected { hashes: vec![core.hash(url)], place });
    }
    let mut hashes = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        // One snapshot for each chunk: an old one would keep the index from reusing its pages.
        let rows = index.snapshot()?.rows(first, CHUNK)?;
        from = rows.last().and_then(|(hash, _)| hash.checked_add(1)).filter(|_| rows.len() == CHUNK);
        for (hash, row) in rows {
            if is_meant(&decode(&row), purge) {
                hashes.push(hash);
            }
        }
    }
    Ok(Affected { hashes, place })
}

/// Whether a purge affects a row. A damaged row answers nothing, and takes room. The responses of another version cannot be
/// examined, so they are removed if their URL matches.
fn is_meant(row: &Row, purge: &Purge) -> bool {
    match row {
        Ok((key, heads)) => heads.iter().any(|head| purge.changes(url_of(key), &head.response)),
        Err(Unreadable::Damaged(_)) => true,
        Err(Unreadable::OfVersion(_, key)) => purge.may_be_about(url_of(key)),
    }
}

/// Purges these keys, and those that were written since they were searched.
pub(super) fn write_purge(
    tables: &mut Tables<'_>,
    purge: &Purge,
    affected: Affected,
    effects: &mut Effects,
) -> Result<Purged, StoreError> {
    let mut hashes: HashSet<u64> = affected.hashes.into_iter().collect();
    for entry in tables.order.range(affected.place..).map_err(failed)? {
        hashes.insert(entry.map_err(failed)?.1.value());
    }
    if let Some(url) = purge.single_url() {
        let url = directory::hash(effects.meta.salt, url);
        for entry in tables.partitions.range((url, 0)..=(url, u64::MAX)).map_err(failed)? {
            hashes.insert(entry.map_err(failed)?.0.value().1);
        }
    }
    let mut purged = Purged::default();
    for hash in hashes {
        let (key, heads) = match row(tables, hash)? {
            Some(Ok(found)) => found,
            Some(unreadable) if !is_meant(&unreadable, purge) => continue,
            _ => {
                remove_row(tables, hash, effects)?;
                continue;
            }
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
        if left.is_empty() {
            remove_row(tables, hash, effects)?;
        } else {
            for head in &gone {
                remove_body(tables, head, effects)?;
            }
            write_row(tables, hash, &key, &left, Write::Changed, effects)?;
        }
    }
    Ok(purged)
}
