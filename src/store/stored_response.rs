//! One stored response.

mod lower_tiers;
mod remote;
mod size;

use std::sync::LazyLock;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::message::digest::Digest;
use crate::message::header::host_bound::is_host_bound;
use crate::message::pieces::Pieces;
use crate::policy::{Basis, LifetimeSource, Validity, Variant};

pub(crate) use self::remote::RemoteBody;

/// A stored response: immutable, shared through an `Arc`, and ready to be sent.
///
/// The head is stored in wire format. A hit needs it in this format, and a [`HeaderMap`] of the same fields
/// takes several times the memory. It contains only end-to-end fields. Fields that depend on the time or the
/// connection (`Age`, `Content-Length`, `Connection`, `Cache-Status`) are added when the response is sent.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    status: StatusCode,
    content: Content,
    /// The digest of the body when it was stored. Always known for a complete representation, not always for
    /// a part.
    digest: Option<Digest>,
    validity: Validity,
    /// Fields that most responses lack. They are boxed because every stored response takes the memory of this
    /// struct.
    extra: Option<Box<Extra>>,
    /// The sequence number of the fetch that brought the response, among all fetches and invalidations. The
    /// greater one is newer.
    sequence: u64,
    /// Whether the ledger counts the body separately, until its last reference is dropped.
    is_body_counted: bool,
    /// Whether a header field changes its meaning at another host, and whether one has links.
    is_bound: [bool; 2],
    /// The tier from which it was read for the request at hand: its position in [`lower_tiers::NAMES`], counted from 1; 0
    /// for memory. A name would take 16 bytes of each stored response.
    read_from: u8,
    basis: Basis,
}

/// The field lines and the body. Each line is `name: value\r\n` with the name in lower case. There is no
/// status line and no blank line.
#[derive(Clone, Debug)]
enum Content {
    /// The head and a short body in one buffer. The number is the length of the head.
    Together(Bytes, u32),
    Apart(Box<(Bytes, Pieces)>),
    Remote(Box<(Bytes, RemoteBody)>),
}

#[derive(Clone, Debug, Default)]
struct Extra {
    variant: Variant,
    /// The URL of the fetch, if the key does not contain it.
    url: Option<Box<str>>,
}

static NO_EXTRA: LazyLock<Extra> = LazyLock::new(Extra::default);

impl StoredResponse {
    /// Creates a response with these end-to-end fields. `Connection`, `Content-Length` and
    /// `Transfer-Encoding` are omitted: they are added when the response is sent.
    ///
    /// A body of up to 16 KiB is copied into one buffer with its head. The pieces of a longer body should own
    /// no more memory than they show. A short slice of a long buffer keeps the whole buffer alive, which no
    /// store can detect.
    #[must_use]
    pub fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: impl Into<Pieces>,
        validity: Validity,
        variant: Variant,
    ) -> Self {
        let body = body.into();
        let digest = Some(Digest::of_pieces(&body));
        Self::with_digest(status, headers, body, digest, validity, variant)
    }

    /// Like [`new`](Self::new), for a body whose digest is known, or for a part, which needs no digest.
    pub(crate) fn with_digest(
        status: StatusCode,
        headers: &HeaderMap,
        body: Pieces,
        digest: Option<Digest>,
        validity: Validity,
        variant: Variant,
    ) -> Self {
        let kept = || headers.iter().filter(|(name, _)| !WRITTEN_WHEN_SENT.contains(name));
        let length: usize = kept().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut buffer = Vec::with_capacity(length + if is_short(&body) { body.len() } else { 0 });
        for (name, value) in kept() {
            buffer.extend_from_slice(name.as_str().as_bytes());
            buffer.extend_from_slice(b": ");
            buffer.extend_from_slice(value.as_bytes());
            buffer.extend_from_slice(b"\r\n");
        }
        Self::of(status, Content::new(buffer, body), digest, validity, variant)
    }

    /// Creates a response from a record whose field lines and digest were checked. It shares the bytes of the
    /// record.
    pub(super) fn from_parts(
        status: StatusCode,
        fields: Bytes,
        body: Pieces,
        digest: Option<Digest>,
        validity: Validity,
        variant: Variant,
    ) -> Self {
        Self::of(status, Content::Apart(Box::new((fields, body))), digest, validity, variant)
    }

    fn of(
        status: StatusCode,
        content: Content,
        digest: Option<Digest>,
        validity: Validity,
        variant: Variant,
    ) -> Self {
        let extra = (!variant.fields.is_empty()).then(|| Box::new(Extra { variant, url: None }));
        let response = Self {
            status,
            content,
            digest,
            validity,
            extra,
            sequence: 0,
            is_body_counted: false,
            is_bound: [false; 2],
            read_from: 0,
            basis: Basis::default(),
        };
        let has = |is: fn(&[u8]) -> bool| response.fields().any(|(name, _)| is(name));
        Self { is_bound: [has(is_host_bound), has(|name| name == b"link")], ..response }
    }

    fn extra(&self) -> &Extra {
        self.extra.as_deref().unwrap_or_else(|| &NO_EXTRA)
    }

    /// Sets the sequence number of the fetch that brought the response.
    #[must_use]
    pub fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// Returns the sequence number of the fetch that brought the response. The greater one is newer.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Sets the inputs of the validity that are not in the head.
    pub(crate) fn with_basis(self, basis: Basis) -> Self {
        Self { basis, ..self }
    }

    /// Returns the inputs of the validity that are not in the head.
    pub(crate) fn basis(&self) -> Basis {
        self.basis
    }

    /// Sets the URL of the fetch, if the key does not contain it.
    #[must_use]
    pub fn with_url(mut self, url: Option<Box<str>>) -> Self {
        if url.is_some() || self.extra.is_some() {
            self.extra.get_or_insert_default().url = url;
        }
        self
    }

    /// Returns the URL of the fetch, if the [key](super::Key) does not contain it.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.extra().url.as_deref()
    }

    /// Marks the body as counted separately by the ledger, as one from [`Ledger::share`](crate::store::Ledger) is.
    pub(crate) fn with_counted_body(self) -> Self {
        Self { is_body_counted: true, ..self }
    }

    /// Copies that mark from the response whose body is reused.
    pub(crate) fn with_body_counted_as(self, other: &Self) -> Self {
        Self { is_body_counted: other.is_body_counted, ..self }
    }

    /// Returns the bytes that the ledger counts separately. A body in the same buffer as its head was copied
    /// and does not count.
    pub(super) fn counted(&self) -> u64 {
        match &self.content {
            Content::Apart(apart) if self.is_body_counted => apart.1.len() as u64,
            _ => 0,
        }
    }

    /// The same response with other times.
    pub(crate) fn with_validity(&self, validity: Validity) -> Self {
        Self { validity, ..self.clone() }
    }

    /// Returns a copy that is stale since this time; `None` if the response was stale already.
    pub(crate) fn stale_since(&self, at: SystemTime) -> Option<Self> {
        let age = self.validity.age(at);
        let validity = Validity { lifetime: age, lifetime_source: LifetimeSource::Purge, ..self.validity };
        (self.validity.lifetime > age).then(|| Self { validity, ..self.clone() })
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether a header field changes its meaning at another host than the origin's; links do so only below another path.
    pub(crate) fn is_host_bound(&self, includes_links: bool) -> bool {
        self.is_bound[0] || (includes_links && self.is_bound[1])
    }

    /// Returns the end-to-end fields as field lines of HTTP/1.1, each with its line ending.
    #[must_use]
    pub fn field_lines(&self) -> Bytes {
        match &self.content {
            Content::Together(buffer, head) => buffer.slice(..*head as usize),
            Content::Apart(apart) => apart.0.clone(),
            Content::Remote(remote) => remote.0.clone(),
        }
    }

    /// Like [`field_lines`](Self::field_lines), but borrowed.
    pub(crate) fn lines(&self) -> &[u8] {
        match &self.content {
            Content::Together(buffer, head) => &buffer[..*head as usize],
            Content::Apart(apart) => &apart.0,
            Content::Remote(remote) => &remote.0,
        }
    }

    /// Returns the end-to-end fields as a map. The values share the stored bytes.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(16);
        let lines = self.field_lines();
        for (name, value) in self.fields() {
            let value = lines.slice_ref(value);
            // Both are valid: they come from a map, or were checked when the record was read.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(value))
            {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Returns the first value of a field.
    #[must_use]
    pub fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        self.fields().find(|(candidate, _)| *candidate == name.as_str().as_bytes()).map(|(_, value)| value)
    }

    /// Returns all values of a field, one for each line.
    pub(crate) fn values<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(candidate, _)| *candidate == name.as_str().as_bytes())
            .map(|(_, value)| value)
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.lines();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let (line, others) = rest.split_at(end + 1);
            rest = others;
            Some(line)
        })
        .filter_map(|line| {
            let line = line.strip_suffix(b"\r\n")?;
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii_start()))
        })
    }

    /// Returns the complete body. It is empty if the body is on a disk and too large for memory; then
    /// [`body_length`](Self::body_length) is not zero.
    #[must_use]
    pub fn body(&self) -> Pieces {
        match &self.content {
            Content::Together(buffer, head) => buffer.slice(*head as usize..).into(),
            Content::Apart(apart) => apart.1.clone(),
            Content::Remote(_) => Pieces::new(),
        }
    }

    /// Like the slices of [`body`](Self::body), but borrowed.
    pub(crate) fn body_slices(&self) -> impl Iterator<Item = &[u8]> {
        let (one, several) = match &self.content {
            Content::Together(buffer, head) => (Some(&buffer[*head as usize..]), None),
            Content::Apart(apart) => (None, Some(apart.1.slices())),
            Content::Remote(_) => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// Returns the length of the body in bytes.
    #[must_use]
    pub fn body_length(&self) -> usize {
        match &self.content {
            Content::Together(buffer, head) => buffer.len() - *head as usize,
            Content::Apart(apart) => apart.1.len(),
            Content::Remote(remote) => usize::try_from(remote.1.length).unwrap_or(usize::MAX),
        }
    }

    /// Returns the digest of the body when it was stored; `None` for a part that was assembled from others.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns the times and flags that determine freshness.
    #[must_use]
    pub fn validity(&self) -> &Validity {
        &self.validity
    }

    /// Returns the request fields that select this response among the variants of its key.
    #[must_use]
    pub fn variant(&self) -> &Variant {
        &self.extra().variant
    }
}

/// Fields for the framing on one connection. They are dropped even if the caller did not remove them.
pub(super) static WRITTEN_WHEN_SENT: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// The largest body in bytes that is copied into one buffer with its head. Each buffer has its own
/// bookkeeping, which matters for small bodies, and copying these takes less than a microsecond.
const MAX_SHORT_BODY: usize = 16 * 1024;

impl Content {
    /// Puts a short body into the buffer of the field lines.
    fn new(mut lines: Vec<u8>, body: Pieces) -> Self {
        match u32::try_from(lines.len()) {
            Ok(head) if is_short(&body) => {
                lines.reserve_exact(body.len());
                body.slices().for_each(|piece| lines.extend_from_slice(piece));
                Self::Together(lines.into(), head)
            }
            _ => Self::Apart(Box::new((lines.into(), body))),
        }
    }
}

fn is_short(body: &Pieces) -> bool {
    body.len() <= MAX_SHORT_BODY
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn fields_are_unchanged() {
        let mut headers = HeaderMap::new();
        headers.append("etag", HeaderValue::from_static("\"a, b\""));
        headers.append("link", HeaderValue::from_static("<a>"));
        headers.append("link", HeaderValue::from_static("<b>"));
        headers.append("x-empty", HeaderValue::from_static(""));
        headers.append("x-bytes", HeaderValue::from_bytes(b"caf\xe9 : x").unwrap());
        let stored =
            StoredResponse::new(StatusCode::OK, &headers, Bytes::new(), validity(), Variant::default());
        assert_eq!(stored.headers(), headers);
        assert_eq!(stored.field(&http::header::ETAG), Some(&b"\"a, b\""[..]));
        assert_eq!(stored.field(&http::header::AGE), None);
    }

    #[test]
    fn framing_fields_are_dropped() {
        let mut headers = HeaderMap::new();
        for name in ["connection", "content-length", "transfer-encoding", "content-type"] {
            headers.append(name, HeaderValue::from_static("x"));
        }
        let stored =
            StoredResponse::new(StatusCode::OK, &headers, Bytes::new(), validity(), Variant::default());
        assert_eq!(stored.field_lines(), "content-type: x\r\n");
    }

    #[test]
    fn size_counts_fields_body_and_variant() {
        let size = |value: &str, body: &'static [u8], variant: Variant| {
            let mut headers = HeaderMap::new();
            headers.append("x", HeaderValue::from_str(value).unwrap());
            StoredResponse::new(StatusCode::OK, &headers, Bytes::from_static(body), validity(), variant)
                .size()
        };
        let least = size("", &[b'.'; 40], Variant::default());
        assert_eq!(size("0123456789abcdef", &[b'.'; 40], Variant::default()), least + 16);
        assert_eq!(size("", &[b'.'; 200], Variant::default()), least + 160);
        assert!(size("", &[b'.'; MAX_SHORT_BODY + 1], Variant::default()) > least + MAX_SHORT_BODY as u64);
        let variant = Variant { fields: Box::new([(http::header::ACCEPT, Some(Bytes::from_static(b"a")))]) };
        assert!(size("", &[b'.'; 40], variant) > least + 16);
    }

    #[test]
    fn short_body_shares_one_buffer_with_its_head() {
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        let stored = |body: Bytes| {
            let mut headers = HeaderMap::new();
            headers.append("etag", HeaderValue::from_static("x"));
            StoredResponse::new(StatusCode::OK, &headers, body, validity(), Variant::default())
        };
        let small = stored(large.slice(10..MAX_SHORT_BODY + 10));
        assert_eq!(small.field_lines(), "etag: x\r\n");
        assert_eq!(small.body(), large[10..MAX_SHORT_BODY + 10]);
        let body = |stored: &StoredResponse| stored.body().as_one().unwrap().as_ptr();
        assert_eq!(small.field_lines().as_ptr_range().end, body(&small));
        assert_eq!(body(&stored(large.clone())), large.as_ptr());
    }

    fn validity() -> Validity {
        Validity::new(UNIX_EPOCH.into())
    }
}
