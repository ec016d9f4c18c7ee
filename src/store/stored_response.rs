//! One stored response.

use std::mem::size_of;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::allocated::allocated;
use crate::message::digest::Digest;
use crate::message::header::host_bound::is_host_bound;
use crate::message::pieces::Pieces;
use crate::message::stored_bytes::StoredBytes;
use crate::policy::{Validity, Variant};

/// A response as a store holds it: immutable, shared behind an `Arc`, ready to be sent.
///
/// The head is kept as it goes over the wire, because that is what a hit needs and because a
/// [`HeaderMap`] of the same fields takes several times the memory. It holds the end-to-end fields
/// alone: what depends on the moment or on the connection (`Age`, `Content-Length`, `Connection`,
/// `Cache-Status`) is written when it is sent.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    status: StatusCode,
    content: Content,
    /// Of the body, as it was when it was stored. Known for the whole of what a URL names, not always for a part.
    digest: Option<Digest>,
    validity: Validity,
    /// What most responses lack. Beside it, because every stored response takes the memory of this struct.
    extra: Option<Box<Extra>>,
    /// The place of the fetch that brought it among fetches and invalidations; the greater one is newer.
    sequence: u64,
    /// Whether the ledger counts the body for as long as anybody holds it.
    is_body_counted: bool,
    /// Whether a field means something else at another host.
    is_host_bound: bool,
    /// Whether it was read from a disk for the request at hand.
    is_from_disk: bool,
}

/// Field lines, each `name: value\r\n` with the name in lower case, without a status line or a blank line; and a body.
#[derive(Clone, Debug)]
enum Content {
    /// A short body follows its head, of so many bytes, in one buffer.
    Together(Bytes, u32),
    Apart(Box<(Bytes, Pieces)>),
    Remote(Box<(Bytes, RemoteBody)>),
}

/// A body that is not in memory.
#[derive(Clone, Debug)]
pub(crate) struct RemoteBody {
    pub(crate) length: u64,
    pub(crate) source: Arc<dyn StoredBytes>,
}

#[derive(Clone, Debug, Default)]
struct Extra {
    variant: Variant,
    /// The URL for which it was fetched, where its key does not tell.
    url: Option<Box<str>>,
}

static NO_EXTRA: LazyLock<Extra> = LazyLock::new(Extra::default);

impl StoredResponse {
    /// A response with these end-to-end fields. `Connection`, `Content-Length` and `Transfer-Encoding`
    /// are left out: they are written when it is sent.
    ///
    /// A body of up to 16 KiB is copied, into one buffer with its head. The pieces of a longer one should own no more
    /// memory than they show: a short slice of a long buffer keeps the whole buffer, and no store can see that.
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

    /// The same of a body whose digest is known, or of a part, whose digest is not needed.
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
        let content = match u32::try_from(buffer.len()) {
            Ok(head) if is_short(&body) => {
                body.slices().for_each(|piece| buffer.extend_from_slice(piece));
                Content::Together(buffer.into(), head)
            }
            _ => Content::Apart(Box::new((buffer.into(), body))),
        };
        Self::of(status, content, digest, validity, variant)
    }

    /// A response out of a record, whose field lines and digest were checked. It shares the bytes of the record.
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
        let (sequence, is_body_counted) = (0, false);
        let response = Self {
            status,
            content,
            digest,
            validity,
            extra,
            sequence,
            is_body_counted,
            is_host_bound: false,
            is_from_disk: false,
        };
        let is_host_bound = response
            .fields()
            .any(|(name, _)| HeaderName::from_bytes(name).is_ok_and(|name| is_host_bound(&name)));
        Self { is_host_bound, ..response }
    }

    fn extra(&self) -> &Extra {
        self.extra.as_deref().unwrap_or_else(|| &NO_EXTRA)
    }

    /// The same response, brought by a fetch of this place in the order of fetches and invalidations.
    #[must_use]
    pub fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// The place of the fetch that brought it: the greater one is newer.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The same response, fetched for this URL, where its key is another text.
    #[must_use]
    pub fn with_url(mut self, url: Option<Box<str>>) -> Self {
        if url.is_some() || self.extra.is_some() {
            self.extra.get_or_insert_default().url = url;
        }
        self
    }

    /// The URL for which it was fetched, where that is another text than its [key](super::Key).
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.extra().url.as_deref()
    }

    /// How many bytes of memory it holds: fields, body, variant, this struct, the `Arc` around it and
    /// what its shared bytes need to be shared, as the allocator rounds them.
    #[must_use]
    pub fn size(&self) -> u64 {
        let bytes = match &self.content {
            Content::Together(buffer, _) => shared(buffer.len()),
            Content::Apart(apart) => {
                allocated(size_of_val(&**apart)) + shared(apart.0.len()) + pieces(&apart.1)
            }
            Content::Remote(remote) => allocated(size_of_val(&**remote)) + shared(remote.0.len()),
        };
        let extra = self.extra.as_ref().map_or(0, |extra| {
            let Extra { variant, url } = &**extra;
            let value = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| shared(value.len()));
            let values = variant.fields.iter().map(|(name, text)| name.as_str().len() + value(text));
            let fields = if variant.fields.is_empty() { 0 } else { allocated(size_of_val(&*variant.fields)) };
            let url = url.as_ref().map_or(0, |url| allocated(url.len()));
            allocated(size_of::<Extra>()) + fields + values.sum::<usize>() + url
        });
        (allocated(COUNTS + size_of::<Self>()) + bytes + extra) as u64
    }

    /// The same response, whose body the ledger counts by itself, as one that [`Ledger::share`](crate::Ledger) made.
    pub(crate) fn with_counted_body(self) -> Self {
        Self { is_body_counted: true, ..self }
    }

    /// The same where the body of that one is used again.
    pub(crate) fn with_body_counted_as(self, other: &Self) -> Self {
        Self { is_body_counted: other.is_body_counted, ..self }
    }

    /// How many bytes of it the ledger counts by themselves. A body that is beside the head was copied.
    pub(super) fn counted(&self) -> u64 {
        match &self.content {
            Content::Apart(apart) if self.is_body_counted => apart.1.len() as u64,
            _ => 0,
        }
    }

    /// The same response, whose body is not in memory.
    pub(crate) fn with_remote(self, remote: RemoteBody) -> Self {
        let content = Content::Remote(Box::new((self.field_lines(), remote)));
        Self { content, is_body_counted: false, ..self }
    }

    /// The same response with this body in memory, which the ledger counts by itself unless it is short.
    #[cfg(feature = "disk")]
    pub(crate) fn with_body(&self, body: Pieces) -> Self {
        let lines = self.field_lines();
        let content = match u32::try_from(lines.len()) {
            Ok(head) if is_short(&body) => {
                let slices = [&lines[..]].into_iter().chain(body.slices());
                Content::Together(slices.collect::<Vec<_>>().concat().into(), head)
            }
            _ => Content::Apart(Box::new((lines, body))),
        };
        Self { content, is_body_counted: true, ..self.clone() }
    }

    /// The body, where it is not in memory.
    pub(crate) fn remote(&self) -> Option<&RemoteBody> {
        match &self.content {
            Content::Remote(remote) => Some(&remote.1),
            Content::Together(..) | Content::Apart(_) => None,
        }
    }

    /// The same response, which was read from a disk for the request at hand.
    pub(crate) fn as_from_disk(&self) -> Self {
        Self { is_from_disk: true, ..self.clone() }
    }

    pub(crate) fn is_from_disk(&self) -> bool {
        self.is_from_disk
    }

    /// The same response with other times.
    pub(crate) fn with_validity(&self, validity: Validity) -> Self {
        Self { validity, ..self.clone() }
    }

    /// The same response, stale since then; `None` where it was before.
    pub(crate) fn stale_since(&self, at: SystemTime) -> Option<Self> {
        let age = self.validity.age(at);
        let validity = Validity { lifetime: age, ..self.validity };
        (self.validity.lifetime > age).then(|| Self { validity, ..self.clone() })
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether a field means something else at another host than that of its origin.
    #[cfg_attr(not(feature = "peer"), allow(dead_code))]
    pub(crate) fn is_host_bound(&self) -> bool {
        self.is_host_bound
    }

    /// The end-to-end fields as field lines of HTTP/1.1, each with its line end.
    #[must_use]
    pub fn field_lines(&self) -> Bytes {
        match &self.content {
            Content::Together(buffer, head) => buffer.slice(..*head as usize),
            Content::Apart(apart) => apart.0.clone(),
            Content::Remote(remote) => remote.0.clone(),
        }
    }

    /// As [`field_lines`](Self::field_lines), not shared.
    pub(crate) fn lines(&self) -> &[u8] {
        match &self.content {
            Content::Together(buffer, head) => &buffer[..*head as usize],
            Content::Apart(apart) => &apart.0,
            Content::Remote(remote) => &remote.0,
        }
    }

    /// The end-to-end fields as a map. The values share the stored bytes.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(16);
        let lines = self.field_lines();
        for (name, value) in self.fields() {
            let value = lines.slice_ref(value);
            // Both came out of a map when the response was stored, or through a record's checks.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(value))
            {
                headers.append(name, value);
            }
        }
        headers
    }

    /// The first value of one field.
    #[must_use]
    pub fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        self.fields().find(|(candidate, _)| *candidate == name.as_str().as_bytes()).map(|(_, value)| value)
    }

    /// All values of one field, a line each.
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

    /// The body, whole; empty where it is on a disk and too large for memory, as [its length](Self::body_length) tells.
    #[must_use]
    pub fn body(&self) -> Pieces {
        match &self.content {
            Content::Together(buffer, head) => buffer.slice(*head as usize..).into(),
            Content::Apart(apart) => apart.1.clone(),
            Content::Remote(_) => Pieces::new(),
        }
    }

    /// As the slices of [`body`](Self::body), not shared.
    pub(crate) fn body_slices(&self) -> impl Iterator<Item = &[u8]> {
        let (one, several) = match &self.content {
            Content::Together(buffer, head) => (Some(&buffer[*head as usize..]), None),
            Content::Apart(apart) => (None, Some(apart.1.slices())),
            Content::Remote(_) => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// How long the body is, in bytes.
    #[must_use]
    pub fn body_length(&self) -> usize {
        match &self.content {
            Content::Together(buffer, head) => buffer.len() - *head as usize,
            Content::Apart(apart) => apart.1.len(),
            Content::Remote(remote) => usize::try_from(remote.1.length).unwrap_or(usize::MAX),
        }
    }

    /// The digest of the body when it was stored; `None` for a part that was joined from others.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Its times and flags.
    #[must_use]
    pub fn validity(&self) -> &Validity {
        &self.validity
    }

    /// What selects it among the responses of its key.
    #[must_use]
    pub fn variant(&self) -> &Variant {
        &self.extra().variant
    }
}

/// The framing of a message on one connection. No end-to-end field, whoever leaves it in.
static WRITTEN_WHEN_SENT: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// The largest body that is copied into one buffer with its head, in bytes: each buffer has bookkeeping of
/// its own, which counts where bodies are small, and copying these costs less than a microsecond.
const BESIDE_HEAD: usize = 16 * 1024;

fn is_short(body: &Pieces) -> bool {
    body.len() <= BESIDE_HEAD
}

/// The two counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// What [`Bytes`] take: their buffer, and what they allocate beside it once they are shared.
const fn shared(length: usize) -> usize {
    allocated(length) + allocated(3 * size_of::<usize>())
}

/// What the pieces of a body take: each its buffer and what counts it, and several of them the list that they are in.
fn pieces(body: &Pieces) -> usize {
    let list = if body.as_one().is_some() { 0 } else { COUNTS };
    let each = |piece: &[u8]| {
        let listed = if list == 0 { 0 } else { size_of::<Bytes>() };
        allocated(piece.len()) + allocated(COUNTED) + listed
    };
    list + body.slices().map(each).sum::<usize>()
}

/// What is allocated beside a buffer whose bytes are counted until their last holder drops them.
const COUNTED: usize = size_of::<[usize; 8]>();

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::policy::LifetimeSource;

    #[test]
    fn the_fields_come_out_as_they_went_in() {
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
    fn framing_is_left_out() {
        let mut headers = HeaderMap::new();
        for name in ["connection", "content-length", "transfer-encoding", "content-type"] {
            headers.append(name, HeaderValue::from_static("x"));
        }
        let stored =
            StoredResponse::new(StatusCode::OK, &headers, Bytes::new(), validity(), Variant::default());
        assert_eq!(stored.field_lines(), "content-type: x\r\n");
    }

    #[test]
    fn the_size_counts_fields_body_and_variant() {
        let size = |value: &str, body: &'static [u8], variant: Variant| {
            let mut headers = HeaderMap::new();
            headers.append("x", HeaderValue::from_str(value).unwrap());
            StoredResponse::new(StatusCode::OK, &headers, Bytes::from_static(body), validity(), variant)
                .size()
        };
        let least = size("", &[b'.'; 40], Variant::default());
        assert_eq!(size("0123456789abcdef", &[b'.'; 40], Variant::default()), least + 16);
        assert_eq!(size("", &[b'.'; 200], Variant::default()), least + 160);
        assert!(size("", &[b'.'; BESIDE_HEAD + 1], Variant::default()) > least + BESIDE_HEAD as u64);
        let variant = Variant { fields: Box::new([(http::header::ACCEPT, Some(Bytes::from_static(b"a")))]) };
        assert!(size("", &[b'.'; 40], variant) > least + 16);
    }

    #[test]
    fn a_small_body_is_one_buffer_with_its_head_and_keeps_no_other() {
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        let stored = |body: Bytes| {
            let mut headers = HeaderMap::new();
            headers.append("etag", HeaderValue::from_static("x"));
            StoredResponse::new(StatusCode::OK, &headers, body, validity(), Variant::default())
        };
        let small = stored(large.slice(10..BESIDE_HEAD + 10));
        assert_eq!(small.field_lines(), "etag: x\r\n");
        assert_eq!(small.body(), large[10..BESIDE_HEAD + 10]);
        let body = |stored: &StoredResponse| stored.body().as_one().unwrap().as_ptr();
        assert_eq!(small.field_lines().as_ptr_range().end, body(&small));
        assert_eq!(body(&stored(large.clone())), large.as_ptr());
    }

    fn validity() -> Validity {
        Validity {
            response_time: UNIX_EPOCH.into(),
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            lifetime_source: LifetimeSource::None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: None,
            no_cache: false,
            must_revalidate: false,
            immutable: false,
        }
    }
}
