//! The binary format in which a [`ByteStore`](super::ByteStore) stores the responses of one key, with a
//! version and a checksum.
//!
//! ```text
//! magic "fwdc" | version | key | count | response ... | CRC-32 of all before
//! response: status | field lines | body | SHA-256 of the body | validity | variant | sequence | basis | URL
//! ```
//!
//! Numbers are big-endian; texts and bodies are preceded by their length. The record contains the key, so
//! that a backend that mixes up its keys is detected. The checksum detects accidental damage to the record,
//! and the digest also damage to the body before it was written. Neither detects forgery: an attacker who can
//! write to the backend can replace every response.

#[cfg(any(feature = "disk", feature = "redis"))]
pub(super) mod purge;
pub(super) mod read;
pub(super) mod write;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::{MAX_VARIANTS, StoreError, StoredResponse, Variants};
use read::{Reader, corrupt, cut_short};
use write::{Length, write_record};

const MAGIC: &[u8; 4] = b"fwdc";

/// The version of the format, incremented with every change. A record of another version is unreadable and is
/// overwritten by the next insert.
const VERSION: u32 = 5;

const CHECKSUM: usize = 4;

/// A random identifier of this process, never zero.
static THIS_PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()) | 1);

/// Encodes the responses of a key.
pub(super) fn encode(key: &str, responses: &[Arc<StoredResponse>]) -> Bytes {
    let length = usize::try_from(length(key, responses)).expect("the parts are in memory");
    let mut record = Vec::with_capacity(length);
    append(&mut record, key, responses);
    record.into()
}

/// Appends the record of a key to what a buffer holds.
pub(super) fn append(buffer: &mut Vec<u8>, key: &str, responses: &[Arc<StoredResponse>]) {
    let start = buffer.len();
    write_record(buffer, key, responses);
    let checksum = crc32fast::hash(&buffer[start..]);
    buffer.extend_from_slice(&checksum.to_be_bytes());
}

/// Returns the length of the record in bytes.
pub(super) fn length(key: &str, responses: &[Arc<StoredResponse>]) -> u64 {
    let mut length = Length(CHECKSUM as u64);
    write_record(&mut length, key, responses);
    length.0
}

/// Decodes a record. Bodies and field lines share its bytes.
pub(super) fn decode(key: &str, record: &Bytes) -> Result<Variants, StoreError> {
    let end = record.len().checked_sub(CHECKSUM).ok_or_else(cut_short)?;
    let mut reader = Reader { rest: record.slice(..end) };
    if reader.bytes(MAGIC.len() as u64)? != MAGIC[..] {
        return Err(corrupt("does not begin with the magic bytes"));
    }
    let version = u32::from_be_bytes(reader.array()?);
    if version != VERSION {
        return Err(corrupt(format!("has version {version}; only version {VERSION} is supported")));
    }
    if crc32fast::hash(&record[..end]).to_be_bytes() != record[end..] {
        return Err(corrupt("does not match its checksum"));
    }
    if reader.block()? != key.as_bytes() {
        return Err(corrupt("belongs to another key"));
    }
    let count = reader.number()?;
    if count > MAX_VARIANTS as u64 {
        return Err(corrupt("holds too many responses"));
    }
    let responses: Variants =
        (0..count).map(|_| reader.response().map(Arc::new)).collect::<Result<_, _>>()?;
    if reader.rest.is_empty() { Ok(responses) } else { Err(corrupt("has bytes after its end")) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::read::check_fields;
    use super::*;
    use crate::base::clock::Moment;
    use crate::policy::{Basis, LifetimeSource, Validity, Variant};
    use crate::store::testing::{golden, response, validity};

    fn decoded(key: &str, record: impl Into<Bytes>) -> Result<Variants, StoreError> {
        decode(key, &record.into())
    }

    fn message(result: Result<Variants, StoreError>) -> String {
        result.unwrap_err().to_string()
    }

    /// Changes a record and computes its checksum again.
    fn changed(record: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut record = record[..record.len() - CHECKSUM].to_vec();
        change(&mut record);
        let checksum = crc32fast::hash(&record);
        record.extend_from_slice(&checksum.to_be_bytes());
        record
    }

    fn assert_same(one: &StoredResponse, other: &StoredResponse) {
        assert_eq!(one.status(), other.status());
        assert_eq!(one.field_lines(), other.field_lines());
        assert_eq!(one.body(), other.body());
        assert_eq!(one.validity(), other.validity());
        assert_eq!((one.variant(), one.url(), one.basis()), (other.variant(), other.url(), other.basis()));
    }

    fn durations() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
    }

    fn validities() -> impl Strategy<Value = Validity> {
        let sources = prop::sample::select(vec![
            LifetimeSource::SMaxage,
            LifetimeSource::MaxAge,
            LifetimeSource::Expires,
            LifetimeSource::Heuristic,
            LifetimeSource::None,
            LifetimeSource::Rule,
            LifetimeSource::Purge,
        ]);
        let times = (any::<bool>(), 0..1_u64 << 40, 0..1_000_000_000_u32);
        let more = (durations(), durations(), sources, durations(), prop::option::of(durations()));
        (times, more, any::<[bool; 3]>()).prop_map(|((is_before, seconds, nanos), more, flags)| {
            let distance = Duration::new(seconds, nanos);
            Validity {
                response_time: Moment::new(
                    if is_before { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance },
                    Some(distance).filter(|_| flags[0]),
                ),
                initial_age: more.0,
                lifetime: more.1,
                lifetime_source: more.2,
                stale_while_revalidate: more.3,
                stale_if_error: more.4,
                no_cache: flags[0],
                must_revalidate: flags[1],
                immutable: flags[2],
            }
        })
    }

    fn responses() -> impl Strategy<Value = Arc<StoredResponse>> {
        let names = "[a-z][a-z0-9-]{0,70}";
        let values = "[!-~]([ -~é]{0,20}[!-~])?";
        let fields = prop::collection::vec((names, values), 0..6);
        let variant = prop::collection::vec((names, prop::option::of(any::<Vec<u8>>())), 0..4);
        (200..1000_u16, fields, any::<Vec<u8>>(), validities(), variant).prop_map(
            |(status, fields, body, validity, variant)| {
                let mut headers = HeaderMap::new();
                for (name, value) in fields {
                    headers.append(
                        HeaderName::from_bytes(name.as_bytes()).unwrap(),
                        HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                    );
                }
                let fields = variant.into_iter().map(|(name, value)| {
                    (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.map(Bytes::from))
                });
                let status = StatusCode::from_u16(status).unwrap();
                let variant = Variant { fields: fields.collect() };
                let url = body.first().map(|byte| format!("http://example.com/{byte}").into());
                let response = StoredResponse::new(status, &headers, Bytes::from(body), validity, variant);
                let basis = Basis { rules: [1, 2, 3, 4], request: 3 };
                Arc::new(response.with_url(url).with_basis(basis))
            },
        )
    }

    proptest! {
        #[test]
        fn encoded_records_can_be_decoded(key in ".{0,40}", all in prop::collection::vec(responses(), 0..5)) {
            let record = encode(&key, &all);
            prop_assert_eq!(record.len() as u64, length(&key, &all));
            let read = decode(&key, &record).unwrap();
            prop_assert_eq!(read.len(), all.len());
            for (one, other) in all.iter().zip(&*read) {
                assert_same(one, other);
            }
        }

        #[test]
        fn arbitrary_bytes_are_rejected_without_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(decoded("key", bytes).is_err());
        }

        /// The checksum is valid, so that the bytes reach every part of the reader.
        #[test]
        fn arbitrary_content_is_read_without_panic(
            all in prop::collection::vec(responses(), 1..3),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let record = changed(&encode("key", &all), |record| {
                for (index, byte) in &changes {
                    let at = index.index(record.len());
                    record[at] = *byte;
                }
                if let Some(cut) = cut {
                    record.truncate(cut.index(record.len()));
                }
            });
            // If the changed record is still valid, its field lines are well-formed.
            for response in decoded("key", record).iter().flat_map(|all| all.iter()) {
                check_fields(&response.field_lines()).unwrap();
                prop_assert_eq!(response.headers().len(), lines(&response.field_lines()));
            }
        }

        #[test]
        fn one_wrong_byte_is_detected(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
            let mut record = encode("key", &[response("a", 1), response("b", 2)]).to_vec();
            let at = at.index(record.len());
            record[at] ^= by;
            prop_assert!(decoded("key", record).is_err());
        }
    }

    fn lines(fields: &[u8]) -> usize {
        fields.iter().filter(|byte| **byte == b'\n').count()
    }

    #[test]
    fn error_says_why_a_record_is_unreadable() {
        let record = encode("key", &[response("a", 1)]);
        assert!(message(decoded("key", Bytes::new())).contains("cut short"));
        assert!(message(decoded("key", record.slice(..record.len() - 1))).contains("checksum"));
        assert!(message(decode("other", &record)).contains("another key"));
        let other = changed(&record, |record| record[7] = 1);
        assert!(message(decoded("key", other)).contains("version 1"));
        for status in [0_u16, 99, 101, 199, 1000] {
            // It follows the magic bytes, the version, the key with its length, and the number of responses.
            let other = changed(&record, |record| record[27..29].copy_from_slice(&status.to_be_bytes()));
            assert!(message(decoded("key", other)).contains("invalid status"), "{status}");
        }
        let longer = changed(&record, |record| record.push(0));
        assert!(message(decoded("key", longer)).contains("after its end"));
        let short = changed(&record, |record| record.truncate(record.len() - 1));
        assert!(message(decoded("key", short)).contains("cut short"));
    }

    #[test]
    fn record_of_this_version_is_written_and_read_as_ever() {
        let full = StoredResponse::clone(&response("a", 1)).with_sequence(9);
        let full =
            full.with_url(Some("http://a/1".into())).with_basis(Basis { rules: [1, 2, 3, 4], request: 3 });
        let lean =
            Validity { stale_if_error: None, lifetime_source: LifetimeSource::Heuristic, ..validity() };
        let variant = Variant { fields: Box::new([(http::header::ACCEPT_LANGUAGE, None)]) };
        let lean = StoredResponse::new(StatusCode::NOT_FOUND, &HeaderMap::new(), Bytes::new(), lean, variant);
        let responses = [Arc::new(full), Arc::new(lean)];
        let record = golden(&format!("record-{VERSION}"), &encode("http://a/", &responses));
        let read = decoded("http://a/", record).unwrap();
        assert_eq!(read.len(), 2);
        for (one, other) in responses.iter().zip(&*read) {
            assert_same(one, other);
        }
    }

    #[test]
    fn body_altered_before_encoding_is_detected() {
        let number = 0x1122_3344_5566_7788_u64;
        let record = encode("key", &[response("a", number)]);
        let body = record.windows(8).position(|bytes| bytes == number.to_be_bytes()).unwrap();
        let altered = changed(&record, |record| record[body] ^= 1);
        assert!(message(decoded("key", altered)).contains("does not match its digest"));
    }

    #[test]
    fn field_lines_that_end_the_head_are_rejected() {
        for good in ["", "a: b\r\n", "a: \r\nb: c: d\r\n"] {
            assert!(check_fields(good.as_bytes()).is_ok(), "{good:?}");
        }
        for bad in [
            "a: b",
            "a: b\n",
            "\r\n",
            "a: b\r\n\r\n",
            "a: b\r\n\r\nHTTP",
            "A: b\r\n",
            "a:b\r\n",
            ": b\r\n",
            "a: b\rc\r\n",
            "a: b\nc: d\r\n",
            "a b: c\r\n",
            "a: \0\r\n",
            // Fields that the server writes itself: a second one would change the framing.
            "content-length: 5\r\n",
            "a: b\r\ntransfer-encoding: chunked\r\n",
            "connection: close\r\n",
        ] {
            assert!(check_fields(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn body_shares_the_bytes_of_its_record() {
        let record = encode("key", &[response("a", 1)]);
        let read = decode("key", &record).unwrap();
        assert!(record.as_ptr_range().contains(&read[0].body().as_one().unwrap().as_ptr()));
        assert_eq!(read[0].validity(), &validity());
    }
}
