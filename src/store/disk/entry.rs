//! The entry of a key: its place in the order of eviction, its size, and its bodies. Whether its row can be read or not, an entry
//! is enough to remove the key.

use redb::ReadableTable;

use super::core::file_charge;
use super::database::failed;
use super::head::{Head, Place};
use super::index::{EntryValue, Tables};
use crate::store::StoreError;

/// The length of a body in an entry.
const BODY: usize = 13;

/// A body of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyOf {
    pub(super) number: u64,
    pub(super) place: Place,
    /// The size of its file in KiB; 0 if it is in the index.
    pub(super) file_kibibytes: u32,
}

impl From<&Head> for BodyOf {
    fn from(head: &Head) -> Self {
        let file_kibibytes = u32::try_from(file_charge(head)).unwrap_or(u32::MAX);
        Self { number: head.number, place: head.place, file_kibibytes }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: u64,
    pub(super) kibibytes: u32,
    pub(super) is_used: bool,
    /// The hash of the URL, if the key is for one credential.
    pub(super) partition_of: Option<u64>,
    pub(super) bodies: Vec<BodyOf>,
}

impl Entry {
    fn read((place, kibibytes, is_used, rest): EntryValue<'_>) -> Self {
        let (bodies, partition) = rest.as_chunks::<BODY>();
        let bodies = bodies.iter().map(|body| {
            let [n0, n1, n2, n3, n4, n5, n6, n7, place, k0, k1, k2, k3] = *body;
            BodyOf {
                number: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
                place: if place == 0 { Place::Index } else { Place::File },
                file_kibibytes: u32::from_be_bytes([k0, k1, k2, k3]),
            }
        });
        let partition_of = partition.try_into().ok().map(u64::from_be_bytes);
        Self { place, kibibytes, is_used, partition_of, bodies: bodies.collect() }
    }

    /// Returns the bodies, followed by the hash of the URL if there is one.
    fn rest(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(self.bodies.len() * BODY + 8);
        for body in &self.bodies {
            rest.extend_from_slice(&body.number.to_be_bytes());
            rest.push(u8::from(body.place == Place::File));
            rest.extend_from_slice(&body.file_kibibytes.to_be_bytes());
        }
        rest.extend(self.partition_of.into_iter().flat_map(u64::to_be_bytes));
        rest
    }
}

impl Tables<'_> {
    pub(super) fn entry(&self, hash: u64) -> Result<Option<Entry>, StoreError> {
        Ok(self.entries.get(hash).map_err(failed)?.map(|entry| Entry::read(entry.value())))
    }

    pub(super) fn set_entry(&mut self, hash: u64, entry: &Entry) -> Result<(), StoreError> {
        let rest = entry.rest();
        let value = (entry.place, entry.kibibytes, entry.is_used, &*rest);
        self.entries.insert(hash, value).map(drop).map_err(failed)
    }

    pub(super) fn take_entry(&mut self, hash: u64) -> Result<Option<Entry>, StoreError> {
        Ok(self.entries.remove(hash).map_err(failed)?.map(|entry| Entry::read(entry.value())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let body = |number, file_kibibytes| {
            let place = if number % 2 == 0 { Place::Index } else { Place::File };
            BodyOf { number, place, file_kibibytes }
        };
        for (bodies, partition_of) in [
            (vec![], None),
            (vec![], Some(3)),
            (vec![body(u64::MAX, 0)], None),
            (vec![body(1, 64), body(2, u32::MAX)], Some(u64::MAX)),
        ] {
            let entry = Entry { place: 5, kibibytes: 6, is_used: true, partition_of, bodies };
            assert_eq!(Entry::read((5, 6, true, &entry.rest())), entry);
        }
    }
}
