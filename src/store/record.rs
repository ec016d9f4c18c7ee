//! The bytes that a backend holds for a key: its stored responses, with a version and a checksum.
//!
//! ```text
//! magic "fwdc" | version | key | count | response ... | CRC-32 of all before
//! response: status | field lines | body | validity | variant
//! ```
//!
//! Numbers are big-endian; a text or a body follows its length. The key is inside, so that a backend
//! that mixes up its keys is found out. The checksum finds accidents and no forger: who can write to
//! the backend can answer for every site.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::{MAX_VARIANTS, StoreError, StoredResponse, Variants};
use crate::policy::{LifetimeSource, Validity, Variant};

const MAGIC: &[u8; 4] = b"fwdc";

/// Counts up with every change of the format. A record of another version cannot be read, and is
/// overwritten by the next insert.
const VERSION: u32 = 1;

const CHECKSUM: usize = 4;

/// The record of these responses.
pub(super) fn encode(key: &str, responses: &[Arc<StoredResponse>]) -> Bytes {
    let length = usize::try_from(length(key, responses)).expect("the parts are in memory");
    let mut record = Vec::with_capacity(length);
    write_record(&mut record, key, responses);
    let checksum = crc32fast::hash(&record);
    record.extend_from_slice(&checksum.to_be_bytes());
    record.into()
}

/// How long the record of these responses is.
pub(super) fn length(key: &str, responses: &[Arc<StoredResponse>]) -> u64 {
    let mut length = Length(CHECKSUM as u64);
    write_record(&mut length, key, responses);
    length.0
}

/// The responses in a record. Bodies and field lines share its bytes.
pub(super) fn decode(key: &str, record: &Bytes) -> Result<Variants, StoreError> {
    let end = record.len().checked_sub(CHECKSUM).ok_or_else(cut_short)?;
    let mut reader = Reader { rest: record.slice(..end) };
    if reader.bytes(MAGIC.len() as u64)? != MAGIC[..] {
        return Err(corrupt("does not start as one"));
    }
    let version = u32::from_be_bytes(reader.array()?);
    if version != VERSION {
        return Err(corrupt(format!("is of version {version}, and {VERSION} is understood")));
    }
    if crc32fast::hash(&record[..end]).to_be_bytes() != record[end..] {
        return Err(corrupt("does not match its checksum"));
    }
    if reader.block()? != key.as_bytes() {
        return Err(corrupt("is of another key"));
    }
    let count = reader.number()?;
    if count > MAX_VARIANTS as u64 {
        return Err(corrupt("holds too many responses"));
    }
    let responses: Variants =
        (0..count).map(|_| reader.response().map(Arc::new)).collect::<Result<_, _>>()?;
    if reader.rest.is_empty() { Ok(responses) } else { Err(corrupt("goes on after its end")) }
}

fn corrupt(problem: impl AsRef<str>) -> StoreError {
    StoreError::new(format!("the stored record {}", problem.as_ref()))
}

fn cut_short() -> StoreError {
    corrupt("is cut short")
}

/// Where a record goes: into a buffer, or into the sum of its length.
trait Sink {
    fn write(&mut self, bytes: &[u8]);

    fn number(&mut self, number: u64) {
        self.write(&number.to_be_bytes());
    }

    fn block(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.write(bytes);
    }

    fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.write(&duration.subsec_nanos().to_be_bytes());
    }

    fn time(&mut self, time: SystemTime) {
        let (is_before, distance) = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => (false, since),
            Err(before) => (true, before.duration()),
        };
        self.write(&[u8::from(is_before)]);
        self.duration(distance);
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

struct Length(u64);

impl Sink for Length {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

/// All but the checksum.
fn write_record(sink: &mut impl Sink, key: &str, responses: &[Arc<StoredResponse>]) {
    sink.write(MAGIC);
    sink.write(&VERSION.to_be_bytes());
    sink.block(key.as_bytes());
    sink.number(responses.len() as u64);
    for response in responses {
        sink.write(&response.status().as_u16().to_be_bytes());
        sink.block(response.field_lines());
        sink.block(response.body());
        write_validity(sink, response.validity());
        write_variant(sink, response.variant());
    }
}

fn write_validity(sink: &mut impl Sink, validity: &Validity) {
    // By name and without `..`: a new field has to be written too.
    let Validity {
        response_time,
        initial_age,
        lifetime,
        lifetime_source,
        stale_while_revalidate,
        stale_if_error,
        no_cache,
        must_revalidate,
        immutable,
    } = *validity;
    sink.time(response_time);
    sink.duration(initial_age);
    sink.duration(lifetime);
    sink.write(&[match lifetime_source {
        LifetimeSource::SMaxage => 0,
        LifetimeSource::MaxAge => 1,
        LifetimeSource::Expires => 2,
        LifetimeSource::Heuristic => 3,
        LifetimeSource::None => 4,
    }]);
    sink.duration(stale_while_revalidate);
    sink.write(&[u8::from(stale_if_error.is_some())]);
    sink.duration(stale_if_error.unwrap_or_default());
    for flag in [no_cache, must_revalidate, immutable] {
        sink.write(&[u8::from(flag)]);
    }
}

fn write_variant(sink: &mut impl Sink, variant: &Variant) {
    let Variant { fields } = variant;
    sink.number(fields.len() as u64);
    for (name, value) in fields {
        sink.block(name.as_str().as_bytes());
        sink.write(&[u8::from(value.is_some())]);
        sink.block(value.as_deref().unwrap_or_default());
    }
}

/// What of a record is still to be read.
struct Reader {
    rest: Bytes,
}

impl Reader {
    fn bytes(&mut self, count: u64) -> Result<Bytes, StoreError> {
        let count = usize::try_from(count).map_err(|_| cut_short())?;
        if count > self.rest.len() {
            return Err(cut_short());
        }
        Ok(self.rest.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (array, _) = self.rest.split_first_chunk().ok_or_else(cut_short)?;
        let array = *array;
        self.rest = self.rest.slice(N..);
        Ok(array)
    }

    fn number(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn block(&mut self) -> Result<Bytes, StoreError> {
        let length = self.number()?;
        self.bytes(length)
    }

    fn flag(&mut self) -> Result<bool, StoreError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(corrupt("has a flag that is neither set nor unset")),
        }
    }

    fn duration(&mut self) -> Result<Duration, StoreError> {
        let seconds = self.number()?;
        let nanoseconds = u32::from_be_bytes(self.array()?);
        // More would carry into the seconds, and panic where these are at their end.
        if nanoseconds >= 1_000_000_000 {
            return Err(corrupt("has a second of too many nanoseconds"));
        }
        Ok(Duration::new(seconds, nanoseconds))
    }

    fn time(&mut self) -> Result<SystemTime, StoreError> {
        let is_before = self.flag()?;
        let distance = self.duration()?;
        let time =
            if is_before { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.ok_or_else(|| corrupt("has a time that this system cannot tell"))
    }

    fn response(&mut self) -> Result<StoredResponse, StoreError> {
        let status = StatusCode::from_u16(u16::from_be_bytes(self.array()?))
            .map_err(|error| corrupt("has a status that is none").with_source(error))?;
        let fields = self.block()?;
        check_fields(&fields)?;
        let body = self.block()?;
        let validity = self.validity()?;
        let variant = self.variant()?;
        Ok(StoredResponse::from_parts(status, fields, body, validity, variant))
    }

    fn validity(&mut self) -> Result<Validity, StoreError> {
        // Struct fields are evaluated in the order in which they are written here.
        Ok(Validity {
            response_time: self.time()?,
            initial_age: self.duration()?,
            lifetime: self.duration()?,
            lifetime_source: match self.array()? {
                [0] => LifetimeSource::SMaxage,
                [1] => LifetimeSource::MaxAge,
                [2] => LifetimeSource::Expires,
                [3] => LifetimeSource::Heuristic,
                [4] => LifetimeSource::None,
                _ => return Err(corrupt("has a lifetime of unknown source")),
            },
            stale_while_revalidate: self.duration()?,
            stale_if_error: {
                let is_said = self.flag()?;
                Some(self.duration()?).filter(|_| is_said)
            },
            no_cache: self.flag()?,
            must_revalidate: self.flag()?,
            immutable: self.flag()?,
        })
    }

    fn variant(&mut self) -> Result<Variant, StoreError> {
        let count = self.number()?;
        let fields = (0..count).map(|_| {
            let name = HeaderName::from_bytes(&self.block()?)
                .map_err(|error| corrupt("has a bad field name").with_source(error))?;
            let is_present = self.flag()?;
            // Small, and compared often: not worth keeping a whole record in memory for.
            let value = Bytes::copy_from_slice(&self.block()?);
            Ok((name, Some(value).filter(|_| is_present)))
        });
        Ok(Variant { fields: fields.collect::<Result<_, StoreError>>()? })
    }
}

/// Field lines are sent as they are, so nothing may pass that would end the head early.
fn check_fields(fields: &[u8]) -> Result<(), StoreError> {
    let mut rest = fields;
    while !rest.is_empty() {
        let is_field = |line: &[u8]| {
            let colon = line.windows(2).position(|pair| pair == b": ")?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            HeaderValue::from_bytes(&line[colon + 2..]).ok()?;
            Some(name.as_str().as_bytes() == &line[..colon])
        };
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let Some(end) = end.filter(|end| is_field(&rest[..*end]) == Some(true)) else {
            return Err(corrupt("has a bad field line"));
        };
        rest = &rest[end + 2..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::store::testing::{response, validity};

    fn decoded(key: &str, record: impl Into<Bytes>) -> Result<Variants, StoreError> {
        decode(key, &record.into())
    }

    fn message(result: Result<Variants, StoreError>) -> String {
        result.unwrap_err().to_string()
    }

    /// With the checksum made right again.
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
        assert_eq!(one.variant(), other.variant());
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
        ]);
        let times = (any::<bool>(), 0..1_u64 << 40, 0..1_000_000_000_u32);
        let more = (durations(), durations(), sources, durations(), prop::option::of(durations()));
        (times, more, any::<[bool; 3]>()).prop_map(|((is_before, seconds, nanos), more, flags)| {
            let distance = Duration::new(seconds, nanos);
            Validity {
                response_time: if is_before { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance },
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
        (100..1000_u16, fields, any::<Vec<u8>>(), validities(), variant).prop_map(
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
                Arc::new(StoredResponse::new(status, &headers, body.into(), validity, variant))
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(key in ".{0,40}", all in prop::collection::vec(responses(), 0..5)) {
            let record = encode(&key, &all);
            prop_assert_eq!(record.len() as u64, length(&key, &all));
            let read = decode(&key, &record).unwrap();
            prop_assert_eq!(read.len(), all.len());
            for (one, other) in all.iter().zip(&*read) {
                assert_same(one, other);
            }
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(decoded("key", bytes).is_err());
        }

        /// The checksum is right, so that the bytes reach every part of the reader.
        #[test]
        fn any_content_is_read_without_panic(
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
            // Where the change made another valid record, its field lines are still lines.
            for response in decoded("key", record).iter().flat_map(|all| all.iter()) {
                check_fields(response.field_lines()).unwrap();
                prop_assert_eq!(response.headers().len(), lines(response.field_lines()));
            }
        }

        #[test]
        fn one_wrong_byte_is_found_out(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
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
    fn a_record_says_why_it_cannot_be_read() {
        let record = encode("key", &[response("a", 1)]);
        assert!(message(decoded("key", Bytes::new())).contains("cut short"));
        assert!(message(decoded("key", record.slice(..record.len() - 1))).contains("checksum"));
        assert!(message(decode("other", &record)).contains("another key"));
        let other = changed(&record, |record| record[7] = 2);
        assert!(message(decoded("key", other)).contains("version 2"));
        let longer = changed(&record, |record| record.push(0));
        assert!(message(decoded("key", longer)).contains("after its end"));
        let short = changed(&record, |record| record.truncate(record.len() - 1));
        assert!(message(decoded("key", short)).contains("cut short"));
    }

    #[test]
    fn no_field_line_can_end_the_head() {
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
        ] {
            assert!(check_fields(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_body_shares_the_bytes_of_its_record() {
        let record = encode("key", &[response("a", 1)]);
        let read = decode("key", &record).unwrap();
        assert!(record.as_ptr_range().contains(&read[0].body().as_ptr()));
        assert_eq!(read[0].validity(), &validity());
    }
}
