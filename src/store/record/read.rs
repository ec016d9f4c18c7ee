//! Reads a record. Arbitrary bytes are either decoded or rejected, without a panic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::THIS_PROCESS;
use crate::base::clock::Moment;
use crate::message::digest::Digest;
use crate::policy::{Basis, LifetimeSource, Validity, Variant};
use crate::store::stored_response::WRITTEN_WHEN_SENT;
use crate::store::{StoreError, StoredResponse};

/// The rest of a record.
pub(in crate::store) struct Reader {
    pub(in crate::store) rest: Bytes,
}

impl Reader {
    pub(in crate::store) fn bytes(&mut self, count: u64) -> Result<Bytes, StoreError> {
        let count = usize::try_from(count).map_err(|_| cut_short())?;
        if count > self.rest.len() {
            return Err(cut_short());
        }
        Ok(self.rest.split_to(count))
    }

    pub(in crate::store) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (array, _) = self.rest.split_first_chunk().ok_or_else(cut_short)?;
        let array = *array;
        self.rest = self.rest.slice(N..);
        Ok(array)
    }

    pub(in crate::store) fn number(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(in crate::store) fn block(&mut self) -> Result<Bytes, StoreError> {
        let length = self.number()?;
        self.bytes(length)
    }

    pub(in crate::store) fn flag(&mut self) -> Result<bool, StoreError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(corrupt("has an invalid flag")),
        }
    }

    /// Reads the status of a final response.
    pub(in crate::store) fn status(&mut self) -> Result<StatusCode, StoreError> {
        let status = StatusCode::from_u16(u16::from_be_bytes(self.array()?)).ok();
        status.filter(|status| !status.is_informational()).ok_or_else(|| corrupt("has an invalid status"))
    }

    fn duration(&mut self) -> Result<Duration, StoreError> {
        let seconds = self.number()?;
        let nanoseconds = u32::from_be_bytes(self.array()?);
        // `Duration::new` would carry more nanoseconds into the seconds, and panic on overflow.
        if nanoseconds >= 1_000_000_000 {
            return Err(corrupt("has an invalid duration"));
        }
        Ok(Duration::new(seconds, nanoseconds))
    }

    fn time(&mut self) -> Result<SystemTime, StoreError> {
        let is_before = self.flag()?;
        let distance = self.duration()?;
        let time =
            if is_before { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.ok_or_else(|| corrupt("has a time that this system cannot represent"))
    }

    fn moment(&mut self) -> Result<Moment, StoreError> {
        let wall = self.time()?;
        let process = self.number()?;
        let steady = self.duration()?;
        // The steady clock of another process has another origin.
        Ok(Moment::new(wall, Some(steady).filter(|_| process == *THIS_PROCESS)))
    }

    pub(in crate::store) fn response(&mut self) -> Result<StoredResponse, StoreError> {
        let status = self.status()?;
        let fields = self.block()?;
        check_fields(&fields)?;
        let body = self.block()?;
        let digest = Digest::from_bytes(self.array()?);
        if Digest::of(&body) != digest {
            return Err(corrupt("has a body that does not match its digest"));
        }
        let validity = self.validity()?;
        let variant = self.variant()?;
        let (sequence, basis) = (self.number()?, self.basis()?);
        let url = self.block()?;
        let url = str::from_utf8(&url).map_err(|error| corrupt("has an invalid URL").with_source(error))?;
        let url = (!url.is_empty()).then(|| url.into());
        let response =
            StoredResponse::from_parts(status, fields, body.into(), Some(digest), validity, variant);
        Ok(response.with_sequence(sequence).with_basis(basis).with_url(url))
    }

    pub(in crate::store) fn validity(&mut self) -> Result<Validity, StoreError> {
        // Struct fields are evaluated in the order in which they are written here.
        Ok(Validity {
            response_time: self.moment()?,
            initial_age: self.duration()?,
            lifetime: self.duration()?,
            lifetime_source: match self.array()? {
                [0] => LifetimeSource::SMaxage,
                [1] => LifetimeSource::MaxAge,
                [2] => LifetimeSource::Expires,
                [3] => LifetimeSource::Heuristic,
                [4] => LifetimeSource::None,
                [5] => LifetimeSource::Rule,
                [6] => LifetimeSource::Purge,
                _ => return Err(corrupt("has an unknown lifetime source")),
            },
            stale_while_revalidate: self.duration()?,
            stale_if_error: {
                let is_present = self.flag()?;
                Some(self.duration()?).filter(|_| is_present)
            },
            no_cache: self.flag()?,
            must_revalidate: self.flag()?,
            immutable: self.flag()?,
        })
    }

    pub(in crate::store) fn basis(&mut self) -> Result<Basis, StoreError> {
        let (rules, [request]) = (self.array()?, self.array()?);
        Ok(Basis { rules, request })
    }

    pub(in crate::store) fn variant(&mut self) -> Result<Variant, StoreError> {
        let count = self.number()?;
        let fields = (0..count).map(|_| {
            let name = HeaderName::from_bytes(&self.block()?)
                .map_err(|error| corrupt("has an invalid field name").with_source(error))?;
            let is_present = self.flag()?;
            // The value is small and often compared, so it is copied instead of keeping the whole record in
            // memory.
            let value = Bytes::copy_from_slice(&self.block()?);
            Ok((name, Some(value).filter(|_| is_present)))
        });
        Ok(Variant { fields: fields.collect::<Result<_, StoreError>>()? })
    }
}

/// Rejects field lines that could end the head early or change the framing, because the lines are sent unchanged.
pub(in crate::store) fn check_fields(fields: &[u8]) -> Result<(), StoreError> {
    let mut rest = fields;
    while !rest.is_empty() {
        let is_field = |line: &[u8]| {
            let colon = line.windows(2).position(|pair| pair == b": ")?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            HeaderValue::from_bytes(&line[colon + 2..]).ok()?;
            Some(name.as_str().as_bytes() == &line[..colon] && !WRITTEN_WHEN_SENT.contains(&name))
        };
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let Some(end) = end.filter(|end| is_field(&rest[..*end]) == Some(true)) else {
            return Err(corrupt("has an invalid field line"));
        };
        rest = &rest[end + 2..];
    }
    Ok(())
}

pub(in crate::store) fn corrupt(problem: impl AsRef<str>) -> StoreError {
    StoreError::new(format!("the stored record {}", problem.as_ref()))
}

pub(in crate::store) fn cut_short() -> StoreError {
    corrupt("is cut short")
}
