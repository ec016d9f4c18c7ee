//! Purges in records. Equal purges have equal bytes, whatever their times.
//!
//! ```text
//! kind | soft | custom keys | text | name of the group
//! ```
//!
//! Texts are preceded by their length. The kind is 0 for a key, 1 for a prefix, 2 for a group and 3 for everything. With another
//! layout, invalidations on disk need another version, and members in Redis another first byte.

use bytes::Bytes;

use super::read::Reader;
use super::write::Sink;
use crate::message::purge::Purge;

/// Writes what a purge selects.
pub(in crate::store) fn write_purge(sink: &mut impl Sink, purge: &Purge) {
    let (kind, text) = match (purge.single_url(), purge.common_prefix(), purge.group_origin()) {
        (Some(url), ..) => (0, url),
        (_, Some(prefix), _) => (1, prefix),
        (_, _, Some(origin)) => (2, origin),
        _ => (3, ""),
    };
    let has_custom_keys = !purge.matches_by_key();
    sink.write(&[kind, purge.is_soft().into(), has_custom_keys.into()]);
    sink.block(text.as_bytes());
    sink.block(purge.group_name().unwrap_or_default().as_bytes());
}

/// Reads what a purge selects; `None` if it is unreadable.
pub(in crate::store) fn read_purge(record: &[u8]) -> Option<Purge> {
    let mut reader = Reader { rest: Bytes::copy_from_slice(record) };
    let [kind] = reader.array().ok()?;
    let (is_soft, has_custom_keys) = (reader.flag().ok()?, reader.flag().ok()?);
    let text = String::from_utf8(reader.block().ok()?.into()).ok()?;
    let name = String::from_utf8(reader.block().ok()?.into()).ok()?;
    let purge = match kind {
        0 => Purge::of_key(&text),
        1 => Purge::prefix(&text).ok()?,
        2 => Purge::group(&text, &name).ok()?,
        3 => Purge::all(),
        _ => return None,
    };
    let purge = if has_custom_keys { purge.with_custom_keys() } else { purge };
    Some(if is_soft { purge.soft() } else { purge })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::golden;

    #[test]
    fn purges_are_read_as_they_were_written() {
        for purge in [
            Purge::url("http://a/b").unwrap(),
            Purge::prefix("http://a/b").unwrap().with_custom_keys(),
            Purge::group("http://a", "news").unwrap().soft(),
            Purge::all(),
        ] {
            let mut record = Vec::new();
            write_purge(&mut record, &purge);
            assert_eq!(read_purge(&record), Some(purge));
            for end in 0..record.len() {
                assert_eq!(read_purge(&record[..end]), None, "{end}");
            }
        }
    }

    #[test]
    fn purge_is_written_and_read_as_ever() {
        let purge = Purge::group("http://a", "news").unwrap().soft();
        let mut record = Vec::new();
        write_purge(&mut record, &purge);
        assert_eq!(read_purge(&golden("purge-1", &record)), Some(purge));
    }
}
