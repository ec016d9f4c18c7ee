//! Writes a record.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{MAGIC, THIS_PROCESS, VERSION};
use crate::base::clock::Moment;
use crate::message::digest::Digest;
use crate::policy::{Basis, LifetimeSource, Validity, Variant};
use crate::store::StoredResponse;

/// The destination of a record: a buffer, or a counter of its length.
pub(in crate::store) trait Sink {
    fn write(&mut self, bytes: &[u8]);

    /// Writes the digest of the body, and computes it if it is not known.
    fn digest(&mut self, response: &StoredResponse) {
        let digest = response.digest().unwrap_or_else(|| Digest::of_pieces(&response.body()));
        self.write(digest.as_bytes());
    }

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

    fn moment(&mut self, moment: Moment) {
        self.time(moment.wall());
        self.number(if moment.steady().is_some() { *THIS_PROCESS } else { 0 });
        self.duration(moment.steady().unwrap_or_default());
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

pub(super) struct Length(pub(super) u64);

impl Sink for Length {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }

    fn digest(&mut self, _: &StoredResponse) {
        self.0 += size_of::<Digest>() as u64;
    }
}

/// Writes everything except the checksum.
pub(super) fn write_record(sink: &mut impl Sink, key: &str, responses: &[Arc<StoredResponse>]) {
    sink.write(MAGIC);
    sink.write(&VERSION.to_be_bytes());
    sink.block(key.as_bytes());
    sink.number(responses.len() as u64);
    for response in responses {
        sink.write(&response.status().as_u16().to_be_bytes());
        sink.block(&response.field_lines());
        sink.number(response.body_length() as u64);
        response.body().slices().for_each(|piece| sink.write(piece));
        sink.digest(response);
        write_validity(sink, response.validity());
        write_variant(sink, response.variant());
        sink.number(response.sequence());
        write_basis(sink, response.basis());
        // An empty text means no URL.
        sink.block(response.url().unwrap_or_default().as_bytes());
    }
}

pub(in crate::store) fn write_validity(sink: &mut impl Sink, validity: &Validity) {
    // Listed without `..`, so that a new field must be written too.
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
    sink.moment(response_time);
    sink.duration(initial_age);
    sink.duration(lifetime);
    sink.write(&[match lifetime_source {
        LifetimeSource::SMaxage => 0,
        LifetimeSource::MaxAge => 1,
        LifetimeSource::Expires => 2,
        LifetimeSource::Heuristic => 3,
        LifetimeSource::None => 4,
        LifetimeSource::Rule => 5,
        LifetimeSource::Purge => 6,
    }]);
    sink.duration(stale_while_revalidate);
    sink.write(&[u8::from(stale_if_error.is_some())]);
    sink.duration(stale_if_error.unwrap_or_default());
    for flag in [no_cache, must_revalidate, immutable] {
        sink.write(&[u8::from(flag)]);
    }
}

pub(in crate::store) fn write_basis(sink: &mut impl Sink, basis: Basis) {
    sink.write(&basis.rules);
    sink.write(&[basis.request]);
}

pub(in crate::store) fn write_variant(sink: &mut impl Sink, variant: &Variant) {
    let Variant { fields } = variant;
    sink.number(fields.len() as u64);
    for (name, value) in fields {
        sink.block(name.as_str().as_bytes());
        sink.write(&[u8::from(value.is_some())]);
        sink.block(value.as_deref().unwrap_or_default());
    }
}
