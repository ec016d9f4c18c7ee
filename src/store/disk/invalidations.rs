//! Invalidations in the index, from which processes learn what others have purged.
//!
//! ```text
//! version | process | has time | time in microseconds | purge
//! ```
//!
//! Numbers are big-endian; the version has 8 bits, the process 56, of which 40 are used. The purge is that of `record/purge`.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::message::purge::Purge;
use crate::store::record::purge::{read_purge, write_purge};
use crate::store::record::read::Reader;
use crate::store::record::write::Sink;

/// The version of the record and of the purge in it, incremented with every change. Records without a version begin with 0.
const VERSION: u8 = 1;

/// How many invalidations are listed. A process that has missed more drops all that it has in memory.
pub(super) const LISTED: u64 = 4096;

/// Encodes the purge of a process.
pub(super) fn encode(process: u64, purge: &Purge) -> Vec<u8> {
    let since = purge.time().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let micros = since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
    let mut record = Vec::new();
    record.number(u64::from(VERSION) << 56 | process);
    record.write(&[since.is_some().into()]);
    record.number(micros);
    write_purge(&mut record, purge);
    record
}

/// Decodes the purge of another process; `None` if this process wrote it. An unreadable record, or one of another version,
/// purges everything.
pub(super) fn decode(own: u64, record: &[u8]) -> Option<Purge> {
    let mut reader = Reader { rest: Bytes::copy_from_slice(record) };
    match reader.number() {
        Ok(process) if process == u64::from(VERSION) << 56 | own => None,
        Ok(process) if process >> 56 == u64::from(VERSION) => {
            Some(purge(&mut reader).unwrap_or_else(Purge::all))
        }
        _ => Some(Purge::all()),
    }
}

fn purge(reader: &mut Reader) -> Option<Purge> {
    let has_time = reader.flag().ok()?;
    let time = UNIX_EPOCH + Duration::from_micros(reader.number().ok()?);
    let purge = read_purge(&reader.rest)?;
    Some(if has_time { purge.at(time) } else { purge })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::golden;

    #[test]
    fn purges_are_decoded_by_other_processes_as_they_were() {
        let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        for purge in [
            Purge::url("http://a/b").unwrap(),
            Purge::prefix("http://a/b").unwrap().with_custom_keys(),
            Purge::group("http://a", "news").unwrap().soft().at(at),
            Purge::all(),
        ] {
            let record = encode(7, &purge);
            assert_eq!(decode(8, &record), Some(purge.clone()));
            assert_eq!(decode(7, &record), None);
            for end in 0..record.len() {
                assert_eq!(decode(8, &record[..end]), Some(Purge::all()), "{end}");
            }
        }
    }

    #[test]
    fn record_of_this_version_is_written_and_read_as_ever() {
        let purge = Purge::group("http://a", "news").unwrap().soft();
        let purge = purge.at(UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456));
        assert_eq!(decode(8, &golden("invalidation-1", &encode(7, &purge))), Some(purge));
    }

    /// The first records had no version, and two orders of their parts.
    #[test]
    fn record_without_a_version_purges_everything() {
        let mut record = encode(7, &Purge::url("http://a/b").unwrap());
        for version in [0, VERSION + 1] {
            record[0] = version;
            assert_eq!((decode(8, &record), decode(7, &record)), (Some(Purge::all()), Some(Purge::all())));
        }
    }
}
