//! The row of a key in the index: the heads of its responses, each with the place of its body.
//!
//! ```text
//! magic "fwdh" | version | key | count | head ... | CRC-32 of all before
//! head: number | place | length | status | field lines | digest | validity | variant | sequence | basis | URL
//! ```
//!
//! Numbers are big-endian; a text follows its length. The place is 0 for a body in the index and 1 for a file. The
//! digest is the SHA-256 of the body, and zeros for a part without one.

use std::fmt;

use bytes::Bytes;

use crate::message::digest::Digest;
use crate::message::pieces::Pieces;
use crate::store::record::read::{Reader, check_fields, corrupt, cut_short};
use crate::store::record::write::{Sink, write_basis, write_validity, write_variant};
use crate::store::{MAX_VARIANTS, StoreError, StoredResponse};

const MAGIC: &[u8; 4] = b"fwdh";

/// The version of the format, incremented with every change. A row of another version is a miss, and stays for processes of that
/// version until its turn in the order of eviction. In each version, the key follows the version, and the checksum is at the end.
const VERSION: u32 = 2;

const CHECKSUM: usize = 4;

/// The place of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Index,
    File,
}

/// One response without its body.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// The number of the body.
    pub(super) number: u64,
    pub(super) place: Place,
    pub(super) length: u64,
    pub(super) response: StoredResponse,
}

/// Encodes the row of a key.
pub(super) fn encode(key: &str, heads: &[Head]) -> Vec<u8> {
    let mut row = Vec::with_capacity(512);
    row.write(MAGIC);
    row.write(&VERSION.to_be_bytes());
    row.block(key.as_bytes());
    row.number(heads.len() as u64);
    for Head { number, place, length, response } in heads {
        row.number(*number);
        row.write(&[u8::from(*place == Place::File)]);
        row.number(*length);
        row.write(&response.status().as_u16().to_be_bytes());
        row.block(response.lines());
        let digest = response.digest().map_or([0; 32], |digest| *digest.as_bytes());
        row.write(&digest);
        write_validity(&mut row, response.validity());
        write_variant(&mut row, response.variant());
        row.number(response.sequence());
        write_basis(&mut row, response.basis());
        // No URL is empty.
        row.block(response.url().unwrap_or_default().as_bytes());
    }
    let checksum = crc32fast::hash(&row);
    row.extend_from_slice(&checksum.to_be_bytes());
    row
}

/// Why a row cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is not what was written.
    Damaged(StoreError),
    /// A process of another version wrote it, under this key.
    OfVersion(u32, String),
}

impl From<StoreError> for Unreadable {
    fn from(error: StoreError) -> Self {
        Self::Damaged(error)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(error) => error.fmt(f),
            Self::OfVersion(version, _) => {
                write!(f, "the stored record has version {version}; only version {VERSION} is supported")
            }
        }
    }
}

/// Decodes the key and the heads of a row.
pub(super) fn decode(row: &[u8]) -> Result<(String, Vec<Head>), Unreadable> {
    let end = row.len().checked_sub(CHECKSUM).ok_or_else(cut_short)?;
    if crc32fast::hash(&row[..end]).to_be_bytes() != row[end..] {
        return Err(corrupt("does not match its checksum").into());
    }
    let mut reader = Reader { rest: Bytes::copy_from_slice(&row[..end]) };
    if reader.bytes(MAGIC.len() as u64)? != MAGIC[..] {
        return Err(corrupt("does not begin with the magic bytes").into());
    }
    let version = u32::from_be_bytes(reader.array()?);
    let key = String::from_utf8(reader.block()?.into()).map_err(|_| corrupt("has an invalid key"))?;
    if version != VERSION {
        return Err(Unreadable::OfVersion(version, key));
    }
    let count = reader.number()?;
    if count > MAX_VARIANTS as u64 {
        return Err(corrupt("holds too many responses").into());
    }
    let heads = (0..count).map(|_| head(&mut reader)).collect::<Result<_, StoreError>>()?;
    if reader.rest.is_empty() { Ok((key, heads)) } else { Err(corrupt("has bytes after its end").into()) }
}

fn head(reader: &mut Reader) -> Result<Head, StoreError> {
    let number = reader.number()?;
    let place = if reader.flag()? { Place::File } else { Place::Index };
    let length = reader.number()?;
    let status = reader.status()?;
    let fields = reader.block()?;
    check_fields(&fields)?;
    let digest = reader.array()?;
    let digest = (digest != [0; 32]).then(|| Digest::from_bytes(digest));
    let (validity, variant) = (reader.validity()?, reader.variant()?);
    let response = StoredResponse::from_parts(status, fields, Pieces::new(), digest, validity, variant);
    let response = response.with_sequence(reader.number()?).with_basis(reader.basis()?);
    let url = String::from_utf8(reader.block()?.into()).map_err(|_| corrupt("has an invalid URL"))?;
    let response = response.with_url((!url.is_empty()).then(|| url.into()));
    Ok(Head { number, place, length, response })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{golden, response};

    fn row() -> Vec<u8> {
        let head = |number, place, variant: &str| {
            let response = StoredResponse::clone(&response(variant, number)).with_sequence(number);
            Head { number, place, length: 70_000, response }
        };
        encode("http://a/", &[head(5, Place::File, "a"), head(6, Place::Index, "b")])
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let (key, heads) = decode(&row()).unwrap();
        assert_eq!((key.as_str(), heads.len()), ("http://a/", 2));
        assert_eq!((heads[0].number, heads[0].place, heads[0].length), (5, Place::File, 70_000));
        let stored = response("b", 6);
        let read = &heads[1].response;
        assert_eq!(
            (read.sequence(), read.variant(), read.validity()),
            (6, stored.variant(), stored.validity())
        );
        assert_eq!((read.field_lines(), read.digest()), (stored.field_lines(), stored.digest()));
    }

    #[test]
    fn a_wrong_byte_or_another_version_is_an_error() {
        let row = row();
        for at in 0..row.len() {
            let mut wrong = row.clone();
            wrong[at] ^= 1;
            assert!(decode(&wrong).is_err(), "{at}");
            assert!(decode(&row[..at]).is_err(), "{at}");
        }
        let mut newer = row[..row.len() - CHECKSUM].to_vec();
        newer[7] = 3;
        let checksum = crc32fast::hash(&newer);
        newer.extend_from_slice(&checksum.to_be_bytes());
        assert!(decode(&newer).unwrap_err().to_string().contains("version 3"));
    }

    #[test]
    fn row_of_this_version_is_written_and_read_as_ever() {
        let (key, heads) = decode(&golden(&format!("row-{VERSION}"), &row())).unwrap();
        assert_eq!((key.as_str(), heads.len(), heads[0].length), ("http://a/", 2, 70_000));
        assert_eq!(heads[1].response.field_lines(), response("b", 6).field_lines());
        assert_eq!(heads[1].response.validity().lifetime, response("b", 6).validity().lifetime);
    }
}
