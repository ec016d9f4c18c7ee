//! The index: an embedded database (redb) with a row for each key.
//!
//! | table | key | value |
//! |---|---|---|
//! | `heads` | hash of the key | the [row](super::head): heads, and where their bodies are |
//! | `bodies` | number of the body | CRC-32, and a body of up to 16 KiB |
//! | `files` | number of the body | nothing: the body is in a file |
//! | `growing` | number of the body | hash of the key: the file is still written |
//! | `entries` | hash of the key | its place in the order in which keys came, and how many KiB it takes |
//! | `meta` | name | version of the format, salt of the hashes, next number, last sequence |

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError, Table,
    TableDefinition,
};

use crate::store::StoreError;

/// The version of the directory. Another one is left as it is.
const FORMAT: u64 = 1;

/// What redb may keep of the index in memory, in bytes.
const MEMORY: usize = 16 << 20;

/// How many numbers may have been given away and lost with a process.
const LOST_NUMBERS: u64 = 1 << 20;

const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const FILES: TableDefinition<'_, u64, ()> = TableDefinition::new("files");
const GROWING: TableDefinition<'_, u64, u64> = TableDefinition::new("growing");
const ENTRIES: TableDefinition<'_, u64, (u64, u32)> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The database of one directory, which no other process has open.
pub(super) struct Index {
    database: Database,
    path: PathBuf,
}

/// What is known of the directory as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meta {
    pub(super) salt: [u64; 2],
    /// No body has this number or a greater one.
    pub(super) next_number: u64,
    /// The greatest sequence of a response.
    pub(super) sequence: u64,
}

/// The tables in a transaction.
pub(super) struct Tables<'t> {
    pub(super) heads: Table<'t, u64, &'static [u8]>,
    pub(super) bodies: Table<'t, u64, &'static [u8]>,
    pub(super) files: Table<'t, u64, ()>,
    pub(super) growing: Table<'t, u64, u64>,
    pub(super) entries: Table<'t, u64, (u64, u32)>,
    pub(super) meta: Table<'t, &'static str, u64>,
}

impl Index {
    /// Opens the index, or makes one with this salt.
    pub(super) fn open(path: &Path, salt: [u64; 2]) -> Result<(Self, Meta), StoreError> {
        let opened = guarded(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(MEMORY);
            Ok(builder.create(path))
        })?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::new("another process uses it"),
            DatabaseError::UpgradeRequired(version) => {
                StoreError::new(format!("its index has the old format {version} of redb"))
            }
            DatabaseError::Storage(StorageError::Corrupted(text)) => {
                StoreError::new(format!("its index is damaged ({text}): remove the directory to begin anew"))
            }
            error => StoreError::new("its index cannot be opened").with_source(error),
        })?;
        let index = Self { database, path: path.to_owned() };
        let meta = index.write(|tables| {
            let get = |tables: &Tables<'_>, name: &str| -> Result<Option<u64>, StoreError> {
                Ok(tables.meta.get(name).map_err(failed)?.map(|value| value.value()))
            };
            match get(tables, "format")? {
                None => {
                    for (name, value) in
                        [("format", FORMAT), ("salt-0", salt[0]), ("salt-1", salt[1]), ("next-number", 1)]
                    {
                        tables.meta.insert(name, value).map_err(failed)?;
                    }
                }
                Some(FORMAT) => {}
                Some(other) => {
                    let text = format!("it has format {other}, and this version reads {FORMAT}");
                    return Err(StoreError::new(text));
                }
            }
            let known = |name| get(tables, name).map(Option::unwrap_or_default);
            Ok(Meta {
                salt: [known("salt-0")?, known("salt-1")?],
                next_number: known("next-number")? + LOST_NUMBERS,
                sequence: known("sequence")?,
            })
        })?;
        Ok((index, meta))
    }

    /// The row of a key.
    pub(super) fn row(&self, hash: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(HEADS, hash)
    }

    /// A body in the index.
    pub(super) fn body(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(BODIES, number)
    }

    fn value(
        &self,
        table: TableDefinition<'_, u64, &'static [u8]>,
        key: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(failed)?;
            let table = read.open_table(table).map_err(failed)?;
            Ok(table.get(key).map_err(failed)?.map(|value| value.value().to_vec()))
        })
    }

    /// Which of these bodies are in no row.
    pub(super) fn orphans(&self, numbers: Vec<u64>) -> Result<Vec<u64>, StoreError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(failed)?;
            let files = read.open_table(FILES).map_err(failed)?;
            let mut orphans = Vec::new();
            for number in numbers {
                if files.get(number).map_err(failed)?.is_none() {
                    orphans.push(number);
                }
            }
            Ok(orphans)
        })
    }

    /// The files that are still written, each with the hash of its key.
    pub(super) fn growing(&self) -> Result<Vec<(u64, u64)>, StoreError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(failed)?;
            let table = read.open_table(GROWING).map_err(failed)?;
            let rows = table.iter().map_err(failed)?;
            rows.map(|row| row.map(|(number, hash)| (number.value(), hash.value())).map_err(failed)).collect()
        })
    }

    /// All keys: hash, place, and KiB.
    pub(super) fn entries(&self) -> Result<Vec<(u64, u64, u32)>, StoreError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(failed)?;
            let table = read.open_table(ENTRIES).map_err(failed)?;
            let mut entries = Vec::with_capacity(usize::try_from(table.len().map_err(failed)?).unwrap_or(0));
            for entry in table.iter().map_err(failed)? {
                let (hash, value) = entry.map_err(failed)?;
                let (place, kibibytes) = value.value();
                entries.push((hash.value(), place, kibibytes));
            }
            Ok(entries)
        })
    }

    /// Looks at all rows.
    pub(super) fn each_row(&self, mut look: impl FnMut(u64, &[u8])) -> Result<(), StoreError> {
        guarded(|| {
            let read = self.database.begin_read().map_err(failed)?;
            let table = read.open_table(HEADS).map_err(failed)?;
            for row in table.iter().map_err(failed)? {
                let (hash, row) = row.map_err(failed)?;
                look(hash.value(), row.value());
            }
            Ok(())
        })
    }

    /// Does this in one transaction, which is on the disk when it returns, or not at all.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        guarded(|| {
            let mut write = self.database.begin_write().map_err(failed)?;
            // After a crash the index is there at once, however large it is.
            write.set_quick_repair(true);
            let mut tables = Tables {
                heads: write.open_table(HEADS).map_err(failed)?,
                bodies: write.open_table(BODIES).map_err(failed)?,
                files: write.open_table(FILES).map_err(failed)?,
                growing: write.open_table(GROWING).map_err(failed)?,
                entries: write.open_table(ENTRIES).map_err(failed)?,
                meta: write.open_table(META).map_err(failed)?,
            };
            let done = work(&mut tables)?;
            drop(tables);
            write.commit().map_err(failed)?;
            Ok(done)
        })
    }

    /// How many bytes its file takes.
    pub(super) fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| blocks(&file))
    }
}

/// How many bytes a file takes on the disk.
pub(super) fn blocks(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::blocks(file) * 512
    }
    #[cfg(not(unix))]
    {
        file.len()
    }
}

/// A damaged file may make the database panic: that is an error like others.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StoreError::new("the index is damaged")))
}

pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::new("the index on disk failed").with_source(error.into())
}
