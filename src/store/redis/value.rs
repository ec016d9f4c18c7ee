//! The value of a key in Redis: its responses, or the mark of their removal. Pure.
//!
//! ```text
//! fwdr1 | V | position | nonce | record
//! fwdr1 | T | position
//! ```
//!
//! The position has 16 decimal digits: no invalidation up to this number covers a response of the value. The nonce has 16
//! hexadecimal digits and is different in each value. The record is that of `store/record`, with a version and a checksum of its
//! own.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;

use crate::message::purge::Purge;
use crate::store::record::{self, read};
use crate::store::{StoreError, StoredResponse, Variants, url_of};

const MAGIC: &[u8] = b"fwdr1";

/// The length of everything before the record.
pub(super) const HEAD: usize = 38;

pub(super) enum Value {
    /// The key has no value, or an unreadable one.
    Missing,
    /// The responses were removed by the invalidation with this number.
    Removed(u64),
    Responses {
        position: u64,
        responses: Variants,
    },
}

/// Encodes responses.
pub(super) fn encode(position: u64, key: &str, responses: &[Arc<StoredResponse>]) -> Vec<u8> {
    let nonce = RandomState::new().hash_one(());
    let mut value = Vec::with_capacity(usize::try_from(length(key, responses)).unwrap_or(HEAD));
    value.extend_from_slice(MAGIC);
    value.extend_from_slice(format!("V{position:016}{nonce:016x}").as_bytes());
    record::append(&mut value, key, responses);
    value
}

/// Returns the length of the value in bytes.
pub(super) fn length(key: &str, responses: &[Arc<StoredResponse>]) -> u64 {
    HEAD as u64 + record::length(key, responses)
}

/// Decodes a value. Bodies share its bytes.
pub(super) fn decode(key: &str, value: &Bytes) -> Result<Value, StoreError> {
    if value.is_empty() {
        return Ok(Value::Missing);
    }
    let number = |from: usize, radix: u32| {
        let digits = value.get(from..from + 16).and_then(|digits| str::from_utf8(digits).ok());
        digits.and_then(|digits| u64::from_str_radix(digits, radix).ok()).ok_or_else(read::cut_short)
    };
    if !value.starts_with(MAGIC) {
        return Err(read::corrupt("does not begin with the magic bytes of this version"));
    }
    let position = number(6, 10)?;
    match value.get(5) {
        Some(b'T') => Ok(Value::Removed(position)),
        Some(b'V') => {
            number(22, 16)?;
            let responses = record::decode(key, &value.slice(HEAD..))?;
            Ok(Value::Responses { position, responses })
        }
        _ => Err(read::corrupt("is of an unknown kind")),
    }
}

/// Returns the responses that remain after all purges with a greater number than the position, in the same order. A soft purge
/// makes responses stale.
pub(super) fn judged(
    key: &str,
    responses: &[Arc<StoredResponse>],
    position: u64,
    purges: &[(u64, Purge)],
) -> Vec<Arc<StoredResponse>> {
    let later = || purges.iter().filter(|(number, _)| *number > position).map(|(_, purge)| purge);
    let judge = |response: &Arc<StoredResponse>| {
        later()
            .filter(|purge| purge.is_about(url_of(key), response))
            .try_fold(Arc::clone(response), |response, purge| {
                purge.is_soft().then(|| purge.stale(&response).unwrap_or(response))
            })
    };
    responses.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::testing::{body_numbers, golden, grouped, response};

    fn value() -> Bytes {
        encode(17, "http://a/", &[response("a", 1), response("b", 2)]).into()
    }

    #[test]
    fn responses_are_read_as_they_were_written() {
        let encoded = value();
        let Ok(Value::Responses { position: 17, responses }) = decode("http://a/", &encoded) else {
            panic!("it is not read")
        };
        assert_eq!(body_numbers(&responses), [1, 2]);
        assert_eq!(encoded.len() as u64, length("http://a/", &responses));
        assert_ne!(encoded[..HEAD], value()[..HEAD]);
        assert!(decode("http://b/", &encoded).is_err());
    }

    #[test]
    fn other_versions_and_foreign_values_are_errors() {
        let encoded = value();
        for (at, byte) in [(0, b'x'), (4, b'2'), (5, b'W'), (10, b'x'), (30, b'x'), (HEAD + 3, b'x')] {
            let mut wrong = encoded.to_vec();
            wrong[at] = byte;
            assert!(decode("http://a/", &wrong.into()).is_err(), "{at}");
        }
        for end in 1..encoded.len() {
            assert!(decode("http://a/", &encoded.slice(..end)).is_err(), "{end}");
        }
        assert!(matches!(decode("http://a/", &Bytes::new()), Ok(Value::Missing)));
        let removed = Bytes::from_static(b"fwdr1T0000000000000042");
        assert!(matches!(decode("http://a/", &removed), Ok(Value::Removed(42))));
    }

    #[test]
    fn value_of_this_version_is_written_and_read_as_ever() {
        let mut now = value().to_vec();
        now[22..HEAD].fill(b'0'); // the nonce
        let Ok(Value::Responses { position: 17, responses }) =
            decode("http://a/", &golden("redis-value-1", &now).into())
        else {
            panic!("it is not read")
        };
        assert_eq!(body_numbers(&responses), [1, 2]);
    }

    #[test]
    fn only_later_purges_apply() {
        let responses = [response("a", 1), grouped("b", 2, "news")];
        let group = Purge::group("http://a", "news").unwrap();
        let judge = |position, purges: &[(u64, Purge)]| {
            body_numbers(&judged("http://a/1", &responses, position, purges))
        };
        assert_eq!(judge(5, &[(6, group.clone())]), [1]);
        assert_eq!(judge(6, &[(6, group)]), [1, 2]);
        assert_eq!(judge(5, &[(6, Purge::prefix("http://b/").unwrap())]), [1, 2]);
        assert!(judge(5, &[(6, Purge::prefix("http://a/").unwrap())]).is_empty());
    }

    #[test]
    fn soft_purge_leaves_a_stale_response() {
        let fresh = response("a", 1);
        let at = fresh.validity().response_time.wall() + Duration::from_secs(1);
        let purge = Purge::all().soft().at(at);
        let stale = judged("http://a/1", &[Arc::clone(&fresh)], 5, &[(6, purge.clone()), (7, purge)]);
        assert!(fresh.validity().is_fresh(at) && !stale[0].validity().is_fresh(at));
    }
}
