//! The index: an embedded database (redb) that several processes open at the same time.
//!
//! | table | key | value |
//! |---|---|---|
//! | `heads` | hash of the key | the [row](super::head): heads, and where their bodies are |
//! | `bodies` | number of the body | CRC-32, and a body of up to 16 KiB |
//! | `files` | number of the body | nothing: the body is in a file |
//! | `growing` | number of the body | hash of the key: its file is still written |
//! | `doomed` | number of the body | nothing: no row needs its file any more |
//! | `entries` | hash of the key | the [entry](super::entry): place in the order of eviction, size, use, bodies |
//! | `order` | place | hash of the key |
//! | `partitions` | hashes of a URL and of a key with a credential | nothing |
//! | `leases` | process | KiB that its unfinished bodies may take |
//! | `invalidations` | number | process, and the [purge](super::invalidations) |
//! | `meta` | name | see [`Meta`] |

use std::fs;
use std::path::Path;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition};

use super::database::{Access, File, failed, guarded};
use super::directory::{self, FileId};
use crate::store::StoreError;

/// The version of the directory. A directory of another version is left as it is.
pub(super) const FORMAT: u64 = 3;

const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const FILES: TableDefinition<'_, u64, ()> = TableDefinition::new("files");
const GROWING: TableDefinition<'_, u64, u64> = TableDefinition::new("growing");
const DOOMED: TableDefinition<'_, u64, ()> = TableDefinition::new("doomed");
const ENTRIES: TableDefinition<'_, u64, EntryValue<'static>> = TableDefinition::new("entries");
const ORDER: TableDefinition<'_, u64, u64> = TableDefinition::new("order");
const PARTITIONS: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("partitions");
const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
const INVALIDATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("invalidations");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The value of an entry: place, size in KiB, whether it was used, and the rest.
pub(super) type EntryValue<'v> = (u64, u32, bool, &'v [u8]);

/// The database of one directory.
pub(super) struct Index {
    file: File,
}

/// The state of the directory as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meta {
    /// The salt of the hashes of keys.
    pub(super) salt: [u64; 2],
    /// The greatest sequence of a response or an invalidation.
    pub(super) sequence: u64,
    /// The size limit that an operator set, in bytes; zero if none did.
    pub(super) capacity: u64,
    /// The size of all entries, in KiB.
    pub(super) kibibytes: u64,
    /// How much of it the files of bodies take, in KiB. The rest is the charge for what is in the index.
    pub(super) file_kibibytes: u64,
    /// The number of entries.
    pub(super) keys: u64,
    /// The number of entries that are for one credential.
    pub(super) partitions: u64,
    /// The next place in the order of eviction. Each write of a response takes a new one.
    pub(super) next_place: u64,
    /// The number of the last invalidation.
    pub(super) invalidations: u64,
}

/// The tables in a write transaction.
pub(super) struct Tables<'t> {
    pub(super) heads: Table<'t, u64, &'static [u8]>,
    pub(super) bodies: Table<'t, u64, &'static [u8]>,
    pub(super) files: Table<'t, u64, ()>,
    pub(super) growing: Table<'t, u64, u64>,
    pub(super) doomed: Table<'t, u64, ()>,
    pub(super) entries: Table<'t, u64, EntryValue<'static>>,
    pub(super) order: Table<'t, u64, u64>,
    pub(super) partitions: Table<'t, (u64, u64), ()>,
    pub(super) leases: Table<'t, u64, u64>,
    pub(super) invalidations: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, u64>,
}

/// A snapshot of the index.
pub(super) struct Snapshot(ReadTransaction);

impl Index {
    /// Opens the index, or creates it with this salt if it may be written.
    pub(super) fn open(path: &Path, salt: [u64; 2], access: Access) -> Result<(Self, Meta), StoreError> {
        let index = Self { file: File::open(path, access)? };
        let meta = match index.snapshot().and_then(|snapshot| snapshot.meta()) {
            Ok(Some(meta)) => meta,
            Ok(None) => index.write(|tables| tables.create(salt))?,
            Err(error) => return Err(error),
        };
        Ok((index, meta))
    }

    /// Returns the identity of its file.
    pub(super) fn id(&self) -> Option<FileId> {
        self.file.id()
    }

    /// Whether its file was neither removed nor replaced.
    pub(super) fn is_in_place(&self) -> bool {
        self.file.is_in_place()
    }

    /// Whether something was written since it was opened.
    pub(super) fn is_writing(&self) -> bool {
        self.file.is_writing()
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        guarded(|| self.file.begin_read().map(Snapshot))
    }

    /// Returns the row of a key.
    pub(super) fn row(&self, hash: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot()?.row(hash)
    }

    /// Runs `work` in one transaction, which is on the disk when this returns, or not at all.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        guarded(|| {
            let mut write = self.file.begin_write()?;
            // After a crash the index is usable at once, however large it is.
            write.set_quick_repair(true);
            let mut tables = Tables {
                heads: write.open_table(HEADS).map_err(failed)?,
                bodies: write.open_table(BODIES).map_err(failed)?,
                files: write.open_table(FILES).map_err(failed)?,
                growing: write.open_table(GROWING).map_err(failed)?,
                doomed: write.open_table(DOOMED).map_err(failed)?,
                entries: write.open_table(ENTRIES).map_err(failed)?,
                order: write.open_table(ORDER).map_err(failed)?,
                partitions: write.open_table(PARTITIONS).map_err(failed)?,
                leases: write.open_table(LEASES).map_err(failed)?,
                invalidations: write.open_table(INVALIDATIONS).map_err(failed)?,
                meta: write.open_table(META).map_err(failed)?,
            };
            let done = work(&mut tables)?;
            drop(tables);
            write.commit().map_err(failed)?;
            Ok(done)
        })
    }

    /// Returns the size of its file on the disk, in bytes.
    pub(super) fn length(&self) -> u64 {
        fs::metadata(self.file.path()).map_or(0, |file| directory::blocks(&file))
    }
}

impl Snapshot {
    /// Returns the row of a key.
    pub(super) fn row(&self, hash: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(HEADS, hash)
    }

    /// Returns a body in the index, preceded by its checksum.
    pub(super) fn body(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(BODIES, number)
    }

    fn value(
        &self,
        table: TableDefinition<'_, u64, &'static [u8]>,
        key: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let table = self.0.open_table(table).map_err(failed)?;
            Ok(table.get(key).map_err(failed)?.map(|value| value.value().to_vec()))
        })
    }

    /// Returns the state of the directory; `None` if nothing was ever written to it.
    pub(super) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        guarded(|| {
            let table = match self.0.open_table(META) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table.map_err(failed)?,
            };
            let Some(meta) = read_meta(&table)? else { return Ok(None) };
            let keys = self.0.open_table(ENTRIES).map_err(failed)?.len().map_err(failed)?;
            let partitions = self.0.open_table(PARTITIONS).map_err(failed)?.len().map_err(failed)?;
            Ok(Some(Meta { keys, partitions, ..meta }))
        })
    }

    /// Returns which of these bodies no row names.
    pub(super) fn orphans(&self, numbers: Vec<u64>) -> Result<Vec<u64>, StoreError> {
        guarded(|| {
            let files = self.0.open_table(FILES).map_err(failed)?;
            let mut orphans = Vec::new();
            for number in numbers {
                if files.get(number).map_err(failed)?.is_none() {
                    orphans.push(number);
                }
            }
            Ok(orphans)
        })
    }

    /// Returns the bodies whose files are still written, or were when a process was killed, with the hashes of their
    /// keys.
    pub(super) fn growing(&self) -> Result<Vec<(u64, u64)>, StoreError> {
        guarded(|| {
            let table = match self.0.open_table(GROWING) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table.map_err(failed)?,
            };
            let rows = table.iter().map_err(failed)?;
            rows.map(|row| row.map(|(number, hash)| (number.value(), hash.value())).map_err(failed)).collect()
        })
    }

    /// Returns the hashes of the keys from a place on, up to `most`, and the next place.
    pub(super) fn order(&self, from: u64, most: usize) -> Result<(Vec<u64>, u64), StoreError> {
        guarded(|| {
            let table = self.0.open_table(ORDER).map_err(failed)?;
            let (mut hashes, mut next) = (Vec::new(), from);
            for entry in table.range(from..).map_err(failed)?.take(most) {
                let (place, hash) = entry.map_err(failed)?;
                next = place.value() + 1;
                hashes.push(hash.value());
            }
            Ok((hashes, next))
        })
    }

    /// Returns which of these entries are not marked as used.
    pub(super) fn unmarked(&self, hashes: Vec<u64>) -> Result<Vec<u64>, StoreError> {
        guarded(|| {
            let entries = self.0.open_table(ENTRIES).map_err(failed)?;
            let is_unmarked =
                |hash: &u64| entries.get(*hash).ok().flatten().is_some_and(|entry| !entry.value().2);
            Ok(hashes.into_iter().filter(is_unmarked).collect())
        })
    }

    /// Returns the invalidations after this one; `None` if some of them are no longer listed.
    pub(super) fn invalidations(&self, after: u64) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        guarded(|| {
            let table = self.0.open_table(INVALIDATIONS).map_err(failed)?;
            listed_after(&table, after)
        })
    }

    /// Returns the row of a URL, and those of its keys with a credential.
    pub(super) fn rows_of(&self, url: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        guarded(|| {
            let (heads, partitions) = (self.0.open_table(HEADS), self.0.open_table(PARTITIONS));
            let (heads, partitions) = (heads.map_err(failed)?, partitions.map_err(failed)?);
            let mut hashes = vec![url];
            for entry in partitions.range((url, 0)..=(url, u64::MAX)).map_err(failed)? {
                hashes.push(entry.map_err(failed)?.0.value().1);
            }
            let mut rows = Vec::new();
            for hash in hashes {
                if let Some(row) = heads.get(hash).map_err(failed)? {
                    rows.push((hash, row.value().to_vec()));
                }
            }
            Ok(rows)
        })
    }

    /// Returns the rows whose hashes are at least this, up to `most`.
    pub(super) fn rows(&self, from: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        guarded(|| {
            let table = self.0.open_table(HEADS).map_err(failed)?;
            let mut rows = Vec::new();
            for row in table.range(from..).map_err(failed)?.take(most) {
                let (hash, row) = row.map_err(failed)?;
                rows.push((hash.value(), row.value().to_vec()));
            }
            Ok(rows)
        })
    }
}

/// Returns the invalidations after this one, as [`Snapshot::invalidations`].
fn listed_after(
    table: &impl ReadableTable<u64, &'static [u8]>,
    after: u64,
) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
    let mut listed = Vec::new();
    for (expected, entry) in (after + 1..).zip(table.range(after + 1..).map_err(failed)?) {
        let (number, record) = entry.map_err(failed)?;
        if number.value() != expected {
            return Ok(None);
        }
        listed.push(record.value().to_vec());
    }
    Ok(Some(listed))
}

fn read_meta(table: &impl ReadableTable<&'static str, u64>) -> Result<Option<Meta>, StoreError> {
    let get = |name: &str| -> Result<Option<u64>, StoreError> {
        Ok(table.get(name).map_err(failed)?.map(|value| value.value()))
    };
    match get("format")? {
        None => return Ok(None),
        Some(FORMAT) => {}
        Some(other) => {
            let text = format!("it has format {other}, and this version reads {FORMAT}");
            return Err(StoreError::new(text));
        }
    }
    let known = |name| get(name).map(Option::unwrap_or_default);
    Ok(Some(Meta {
        salt: [known("salt-0")?, known("salt-1")?],
        sequence: known("sequence")?,
        capacity: known("capacity")?,
        kibibytes: known("kibibytes")?,
        file_kibibytes: known("file-kibibytes")?,
        keys: 0,
        partitions: 0,
        next_place: known("next-place")?,
        invalidations: known("invalidations")?,
    }))
}

impl Tables<'_> {
    /// Initializes the index, unless another process did.
    fn create(&mut self, salt: [u64; 2]) -> Result<Meta, StoreError> {
        if let Some(meta) = read_meta(&self.meta)? {
            return Ok(meta);
        }
        for (name, value) in [("format", FORMAT), ("salt-0", salt[0]), ("salt-1", salt[1])] {
            self.meta.insert(name, value).map_err(failed)?;
        }
        Ok(Meta { salt, ..Meta::default() })
    }

    pub(super) fn meta(&self) -> Result<Meta, StoreError> {
        let meta = read_meta(&self.meta)?.ok_or_else(|| StoreError::new("the index lost its format"))?;
        Ok(Meta { keys: self.entries.len().map_err(failed)?, ..meta })
    }

    /// Writes what differs between two states.
    pub(super) fn set_meta(&mut self, old: &Meta, new: &Meta) -> Result<(), StoreError> {
        for (name, old, new) in [
            ("sequence", old.sequence, new.sequence),
            ("capacity", old.capacity, new.capacity),
            ("kibibytes", old.kibibytes, new.kibibytes),
            ("file-kibibytes", old.file_kibibytes, new.file_kibibytes),
            ("next-place", old.next_place, new.next_place),
            ("invalidations", old.invalidations, new.invalidations),
        ] {
            if old != new {
                self.meta.insert(name, new).map_err(failed)?;
            }
        }
        Ok(())
    }

    pub(super) fn invalidations_after(&self, after: u64) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        listed_after(&self.invalidations, after)
    }

    #[cfg(test)]
    pub(super) fn set_format(&mut self, format: u64) -> Result<(), StoreError> {
        self.meta.insert("format", format).map(drop).map_err(failed)
    }
}
