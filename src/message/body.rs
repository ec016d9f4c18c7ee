//! The body of a request or a response: shared bytes, a stream, or shared bytes followed by a stream.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body_piece::BodyPiece;
use crate::message::pieces::Pieces;

/// How long an abandoned transfer may continue after its last reader has left, if finishing it is worthwhile. The
/// value is longer than a nearby origin needs for the rest of a short body, and shorter than the second within which a
/// connection to an origin has to be released.
#[cfg(feature = "peer")]
pub(crate) const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

/// The body of a request or a response.
///
/// It consists of shared bytes, as in the store, or of a stream from an origin or a peer. Serving shared
/// bytes copies nothing. A stream can be read once, its reads block, and a transfer that was cut short ends in an
/// error, never in a regular end.
///
/// `Body` implements [`Read`]:
///
/// ```
/// use forwardcache::Body;
///
/// let text = std::io::read_to_string(Body::from("hello"))?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct Body {
    /// Bytes in memory, which come before `rest`.
    pieces: Pieces,
    rest: Rest,
}

#[derive(Default)]
enum Rest {
    #[default]
    None,
    Reader {
        reader: Box<dyn Read + Send>,
        length: Option<u64>,
        is_end_proven: bool,
    },
    Growing {
        stream: Box<dyn Growing>,
        length: Option<u64>,
    },
    /// One body after the other.
    Continued(Box<(Body, Body)>),
}

/// A stream that another thread may fill, so that several readers can read it, also without waiting.
///
/// Reading it through [`Read`] waits, and the reading thread fills the stream itself if no other thread does.
pub(crate) trait Growing: Read + Send {
    /// Returns up to `most` available bytes. Never waits: if none are available, `wake` is called once that changes,
    /// on the thread that changes it. `wake` must be quick.
    ///
    /// # Errors
    ///
    /// Fails if the transfer was cut short.
    fn poll_read(&mut self, most: usize, wake: &Wake) -> io::Result<PollRead>;

    /// Returns the job that fills the stream and may wait. Returns `None` if another thread has taken the job or
    /// nothing is left to do. If a driver is dropped without being run, the next call returns it again.
    fn driver(&self) -> Option<Driver>;

    /// Waits until the stream has ended, successfully or not, or until a time, and returns whether it has ended. Fills
    /// the stream on this thread unless another thread does. Reads nothing, so only a stream that fits into memory
    /// can end during the call. A single read of the source may exceed the time.
    fn wait_for_end(&self, until: Instant) -> bool;

    /// Returns whether the rest should be fetched without a reader, because little is missing and the body will be
    /// stored. An event loop that no longer needs the stream may keep it for up to a second while this is true.
    fn is_worth_finishing(&self) -> bool;

    /// Skips up to `most` bytes without reading them, if the stream can do that, and returns how many it has skipped.
    fn skip(&mut self, most: u64) -> u64 {
        let _ = most;
        0
    }

    /// Leaves the stream without finishing it; if no other reader is left, the transfer is cancelled. In contrast,
    /// `Drop` lets a running driver finish a stream that is worth finishing, and otherwise finishes it on this thread.
    fn abandon(self: Box<Self>);
}

/// The result of reading a growing stream without waiting.
#[derive(Debug)]
pub(crate) enum PollRead {
    /// Bytes that have arrived.
    Bytes(BodyPiece),
    /// Nothing is available yet.
    Pending,
    /// The body is complete.
    End,
}

/// A callback that tells a reader to read again.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// A job that fills a stream, for a thread that may wait.
pub(crate) type Driver = Box<dyn FnOnce() + Send>;

impl Body {
    /// Creates an empty body.
    #[must_use]
    pub const fn empty() -> Self {
        Self { pieces: Pieces::new(), rest: Rest::None }
    }

    /// Creates a body from a stream and, if known, its length in bytes.
    ///
    /// The reader must return `Ok(0)` only at the end of a complete body, and an error if the transfer was cut short.
    pub fn from_reader(reader: impl Read + Send + 'static, length: Option<u64>) -> Self {
        Rest::Reader { reader: Box::new(reader), length, is_end_proven: true }.into()
    }

    /// Creates a body from a stream that ends with its connection, so that a truncated transfer looks like a complete
    /// one (RFC 9112 section 6.3, item 8). Such a body is forwarded but never stored.
    pub fn until_close(reader: impl Read + Send + 'static) -> Self {
        Rest::Reader { reader: Box::new(reader), length: None, is_end_proven: false }.into()
    }

    /// Wraps the body in another reader. The length and [`is_end_proven`](Self::is_end_proven) stay the same.
    pub(crate) fn map_reader<R: Read + Send + 'static>(self, through: impl FnOnce(Self) -> R) -> Self {
        let (length, is_end_proven) = (self.length(), self.is_end_proven());
        let reader = through(self);
        if is_end_proven { Self::from_reader(reader, length) } else { Self::until_close(reader) }
    }

    /// Creates a body from a stream that can be read without waiting and, if known, its length.
    pub(crate) fn growing(stream: impl Growing + 'static, length: Option<u64>) -> Self {
        Self::from_boxed_poll_body(Box::new(stream), length)
    }

    /// Creates a body from a stream that [`into_poll_body`](Self::into_poll_body) returned.
    pub(crate) fn from_boxed_poll_body(stream: Box<dyn Growing>, length: Option<u64>) -> Self {
        Rest::Growing { stream, length }.into()
    }

    /// Prepends `beginning` to a body.
    pub(crate) fn with_beginning(beginning: Pieces, rest: Self) -> Self {
        let pieces = if rest.pieces.is_empty() {
            beginning
        } else {
            beginning.iter().chain(rest.pieces.iter()).collect()
        };
        Self { pieces, rest: rest.rest }
    }

    /// Creates a body from a beginning that is not in memory and the rest.
    pub(crate) fn continued(beginning: Self, rest: Self) -> Self {
        Rest::Continued(Box::new((beginning, rest))).into()
    }

    /// Removes the beginning of a [continued](Self::continued) body of which nothing has been read. Returns whether
    /// the body is such a body.
    pub(crate) fn drop_beginning(&mut self) -> bool {
        if !self.pieces.is_empty() {
            return false;
        }
        match std::mem::take(&mut self.rest) {
            Rest::Continued(parts) => {
                *self = parts.1;
                true
            }
            rest => {
                self.rest = rest;
                false
            }
        }
    }

    /// Skips up to `most` bytes that need not be read from a source, and returns how many were skipped.
    pub(crate) fn skip(&mut self, most: u64) -> u64 {
        let Rest::Growing { stream, length } = &mut self.rest else { return 0 };
        if !self.pieces.is_empty() {
            return 0;
        }
        let skipped = stream.skip(most);
        if let Some(length) = length {
            *length -= skipped;
        }
        skipped
    }

    /// Removes and returns the bytes that are in memory.
    pub(crate) fn take_beginning(&mut self) -> Pieces {
        std::mem::take(&mut self.pieces)
    }

    /// Returns the stream of a body that can be read without waiting and, if known, its remaining length.
    ///
    /// # Errors
    ///
    /// Returns the unchanged body if it is not such a stream.
    pub(crate) fn into_poll_body(self) -> Result<(Box<dyn Growing>, Option<u64>), Self> {
        match self.rest {
            Rest::Growing { stream, length } if self.pieces.is_empty() => Ok((stream, length)),
            rest => Err(Self { pieces: self.pieces, rest }),
        }
    }

    /// Returns the number of bytes that are left to read, if known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        let rest = match &self.rest {
            Rest::None => Some(0),
            Rest::Reader { length, .. } | Rest::Growing { length, .. } => *length,
            Rest::Continued(parts) => parts.0.length().zip(parts.1.length()).map(|(one, other)| one + other),
        };
        rest.map(|rest| rest + self.pieces.len() as u64)
    }

    /// Returns whether the body is known to have no bytes left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// Returns whether an end without an error proves that the body is complete.
    #[must_use]
    pub fn is_end_proven(&self) -> bool {
        match &self.rest {
            Rest::Reader { is_end_proven, .. } => *is_end_proven,
            Rest::Continued(parts) => parts.1.is_end_proven(),
            Rest::None | Rest::Growing { .. } => true,
        }
    }

    /// Returns the bytes if all of them are in memory in one piece.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        self.as_pieces()?.as_one()
    }

    /// Returns the bytes if all of them are in memory.
    pub(crate) fn as_pieces(&self) -> Option<&Pieces> {
        matches!(self.rest, Rest::None).then_some(&self.pieces)
    }

    /// Reads the rest of the body, without a limit on its size. Shared bytes in one piece are not copied.
    ///
    /// # Errors
    ///
    /// Returns any error of the stream: [`ErrorKind::IncompleteBody`] if the transfer was cut short,
    /// [`ErrorKind::Timeout`] if it stalled.
    pub fn into_bytes(self) -> Result<Bytes> {
        self.into_bytes_limited(u64::MAX)
    }

    /// Reads the rest of the body if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// Fails as [`into_bytes`](Self::into_bytes) does, and with [`ErrorKind::BodyTooLarge`] if the limit is exceeded.
    pub fn into_bytes_limited(self, limit: u64) -> Result<Bytes> {
        let too_large =
            || Error::new(ErrorKind::BodyTooLarge, format!("the body is larger than {limit} bytes"));
        if self.length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        if let Some(pieces) = self.as_pieces() {
            return Ok(pieces.to_bytes());
        }
        // The announced length may be wrong, so only part of it is allocated in advance.
        let expected = self.length().unwrap_or(0).min(1 << 20);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        self.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
        Ok(Bytes::from(bytes))
    }

    /// Reads the rest of the body as UTF-8 text, without a limit on its size.
    ///
    /// # Errors
    ///
    /// Fails as [`into_bytes`](Self::into_bytes) does, and with [`ErrorKind::BadResponse`] if the body is not UTF-8.
    pub fn into_text(self) -> Result<String> {
        self.into_text_limited(u64::MAX)
    }

    pub(crate) fn into_text_limited(self, limit: u64) -> Result<String> {
        String::from_utf8(self.into_bytes_limited(limit)?.into())
            .map_err(|error| Error::new(ErrorKind::BadResponse, "the body is not UTF-8").with_source(error))
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.pieces.is_empty() {
            return self.pieces.read(buffer);
        }
        match &mut self.rest {
            Rest::None => Ok(0),
            Rest::Reader { reader, length, .. } => subtract_count(reader.read(buffer), length),
            Rest::Growing { stream, length } => subtract_count(stream.read(buffer), length),
            Rest::Continued(parts) => match parts.0.read(buffer)? {
                0 if !buffer.is_empty() => {
                    *self = std::mem::take(&mut parts.1);
                    self.read(buffer)
                }
                count => Ok(count),
            },
        }
    }
}

fn subtract_count(read: io::Result<usize>, left: &mut Option<u64>) -> io::Result<usize> {
    if let (Ok(count), Some(left)) = (&read, left) {
        *left = left.saturating_sub(*count as u64);
    }
    read
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.rest, self.length()) {
            (Rest::None, Some(0)) => f.write_str("Body(empty)"),
            (Rest::None, _) => write!(f, "Body({} bytes)", self.pieces.len()),
            (_, Some(length)) => write!(f, "Body(stream of {length} bytes)"),
            (_, None) => f.write_str("Body(stream)"),
        }
    }
}

impl From<Rest> for Body {
    fn from(rest: Rest) -> Self {
        Self { pieces: Pieces::new(), rest }
    }
}

impl From<Pieces> for Body {
    fn from(pieces: Pieces) -> Self {
        Self { pieces, rest: Rest::None }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Pieces::from(bytes).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

#[cfg(test)]
mod tests;
