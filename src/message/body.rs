//! The body of a request or a response: shared bytes, a stream, or one after the other.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::pieces::Pieces;

/// How long a body may take to come to its end after its last reader has left, where it is worth finishing: longer
/// than a near origin takes for the rest of a short one, and less than a second, within which an origin is left.
#[cfg(feature = "peer")]
pub(crate) const FINISHING: Duration = Duration::from_millis(500);

/// A body on its way.
///
/// Shared bytes are what a store holds: handing them out copies nothing. A stream is what comes from
/// an origin or a peer: it is read once, blocks while it waits, and reports a transfer that was cut
/// short as an error, never as an early end.
///
/// `Body` is [`Read`], so it goes wherever a reader goes:
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
    /// Bytes that are here, before what comes of `rest`.
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
        end_is_proven: bool,
    },
    Growing {
        stream: Box<dyn Growing>,
        length: Option<u64>,
    },
}

/// A stream that somebody else moves on, so that it can be read without waiting, and by several.
///
/// Reading it as [`Read`] waits, and moves it on itself where nobody does.
pub(crate) trait Growing: Read + Send {
    /// What has come, `most` bytes of it or all of the rest. Never waits: where nothing is here, `wake` is
    /// called once that has changed, from whatever thread changes it; it must be quick.
    ///
    /// # Errors
    ///
    /// When the transfer was cut short.
    fn read_at_once(&mut self, most: usize, wake: &Wake) -> io::Result<Grown>;

    /// The work of moving it on, which waits; `None` where somebody has taken it already, or nothing is left
    /// to do. Dropped undone, it is there for the next one.
    fn driver(&self) -> Option<Driver>;

    /// Waits until the stream has ended, in whatever way, or until a time; moves the stream on itself unless
    /// somebody else does. Says whether it has ended. Reads nothing, so that only a stream that fits into memory
    /// ends by this. One read of the source may take longer.
    fn wait_for_end(&self, until: Instant) -> bool;

    /// Whether the rest is worth fetching without a reader: little is missing, and it will be stored. Whoever
    /// never waits and has no use for the stream any more may keep it for up to a second while this says so.
    fn is_worth_finishing(&self) -> bool;

    /// Leaves the stream without finishing it; the last reader that does so cancels its transfer. Dropping it
    /// leaves a transfer that is worth finishing to its driver, and waits for it where it has none.
    fn abandon(self: Box<Self>);
}

/// What one look at a growing stream finds.
#[derive(Debug)]
pub(crate) enum Grown {
    /// This has come.
    Bytes(Bytes),
    /// Nothing yet.
    Pending,
    /// Nothing any more: the body is whole.
    End,
}

/// Called when it is worth looking again.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Work that moves a stream on, for a thread that may wait.
pub(crate) type Driver = Box<dyn FnOnce() + Send>;

impl Body {
    /// No body at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self { pieces: Pieces::new(), rest: Rest::None }
    }

    /// A stream, and how many bytes it will yield where that is known.
    ///
    /// The reader's contract: `Ok(0)` only when the body is whole; a transfer that was cut short is an
    /// error.
    pub fn from_reader(reader: impl Read + Send + 'static, length: Option<u64>) -> Self {
        Rest::Reader { reader: Box::new(reader), length, end_is_proven: true }.into()
    }

    /// A stream that ends where its connection ends, so that a cut cannot be told from the end
    /// (RFC 9112 section 6.3, item 8). Such a body is passed on and never stored.
    pub fn until_close(reader: impl Read + Send + 'static) -> Self {
        Rest::Reader { reader: Box::new(reader), length: None, end_is_proven: false }.into()
    }

    /// The same, read through another reader: as long as it was, and its end as proven.
    pub(crate) fn read_through<R: Read + Send + 'static>(self, through: impl FnOnce(Self) -> R) -> Self {
        let (length, end_is_proven) = (self.length(), self.end_is_proven());
        let reader = through(self);
        if end_is_proven { Self::from_reader(reader, length) } else { Self::until_close(reader) }
    }

    /// A stream that can be read without waiting, and its length where that is known.
    pub(crate) fn growing(stream: impl Growing + 'static, length: Option<u64>) -> Self {
        Self::from_growing(Box::new(stream), length)
    }

    /// The same of a stream that was taken out of a body.
    pub(crate) fn from_growing(stream: Box<dyn Growing>, length: Option<u64>) -> Self {
        Rest::Growing { stream, length }.into()
    }

    /// These bytes, and then the rest, whose own beginning has not been taken.
    pub(crate) fn with_beginning(beginning: Pieces, rest: Self) -> Self {
        let pieces = if rest.pieces.is_empty() {
            beginning
        } else {
            beginning.iter().chain(rest.pieces.iter()).collect()
        };
        Self { pieces, rest: rest.rest }
    }

    /// Takes what is here already, so that only a stream is left.
    pub(crate) fn take_beginning(&mut self) -> Pieces {
        std::mem::take(&mut self.pieces)
    }

    /// The stream of a body that can be read without waiting, and how much is left of it where that is known;
    /// the body itself where it is none.
    ///
    /// # Errors
    ///
    /// The body, unread.
    pub(crate) fn into_growing(self) -> Result<(Box<dyn Growing>, Option<u64>), Self> {
        match self.rest {
            Rest::Growing { stream, length } if self.pieces.is_empty() => Ok((stream, length)),
            rest => Err(Self { pieces: self.pieces, rest }),
        }
    }

    /// How many bytes are left to read, where that is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        let rest = match &self.rest {
            Rest::None => Some(0),
            Rest::Reader { length, .. } | Rest::Growing { length, .. } => *length,
        };
        rest.map(|rest| rest + self.pieces.len() as u64)
    }

    /// Whether it is known to hold no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// Whether an end without an error proves that the body is whole.
    #[must_use]
    pub fn end_is_proven(&self) -> bool {
        !matches!(self.rest, Rest::Reader { end_is_proven: false, .. })
    }

    /// The bytes, where they are all in memory already, in one piece.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        self.as_pieces()?.as_one()
    }

    /// The bytes, where they are all in memory already.
    pub(crate) fn as_pieces(&self) -> Option<&Pieces> {
        matches!(self.rest, Rest::None).then_some(&self.pieces)
    }

    /// Reads what is left, however much it is. Shared bytes in one piece are not copied.
    ///
    /// # Errors
    ///
    /// What reading meets: [`ErrorKind::IncompleteBody`] when the transfer was cut short,
    /// [`ErrorKind::Timeout`] when it stalled.
    pub fn into_bytes(self) -> Result<Bytes> {
        self.into_bytes_limited(u64::MAX)
    }

    /// Reads what is left, as long as it is no more than `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`into_bytes`](Self::into_bytes), and [`ErrorKind::BodyTooLarge`] past the limit.
    pub fn into_bytes_limited(self, limit: u64) -> Result<Bytes> {
        let too_large =
            || Error::new(ErrorKind::BodyTooLarge, format!("the body is larger than {limit} bytes"));
        if self.length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        if let Some(pieces) = self.as_pieces() {
            return Ok(pieces.to_bytes());
        }
        // The announced length is a promise of somebody else: believed up to a bound.
        let expected = self.length().unwrap_or(0).min(1 << 20);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        self.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
        Ok(Bytes::from(bytes))
    }

    /// Reads what is left as UTF-8.
    ///
    /// # Errors
    ///
    /// As [`into_bytes`](Self::into_bytes), and [`ErrorKind::BadResponse`] when it is not UTF-8.
    pub fn into_text(self) -> Result<String> {
        String::from_utf8(self.into_bytes()?.into())
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
            Rest::Reader { reader, length, .. } => counted(reader.read(buffer), length),
            Rest::Growing { stream, length } => counted(stream.read(buffer), length),
        }
    }
}

fn counted(read: io::Result<usize>, left: &mut Option<u64>) -> io::Result<usize> {
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
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_are_not_copied() {
        let bytes = Bytes::from(vec![7; 1024]);
        let address = bytes.as_ptr();
        let out = Body::from(bytes).into_bytes().unwrap();
        assert_eq!(out.as_ptr(), address);
    }

    #[test]
    fn a_beginning_comes_before_the_rest() {
        let beginning = || ["ab", "c"].into_iter().map(Bytes::from).collect::<Pieces>();
        let rest = Body::with_beginning(Bytes::from("d").into(), Body::from_reader(&b"ef"[..], Some(2)));
        let mut body = Body::with_beginning(beginning(), rest);
        assert_eq!((body.length(), body.as_pieces()), (Some(6), None));
        body.read_exact(&mut [0]).unwrap();
        assert_eq!(body.length(), Some(5));
        assert_eq!(body.into_text().unwrap(), "bcdef");
        let mut body = Body::with_beginning(beginning(), Body::until_close(&b"d"[..]));
        assert!(!body.end_is_proven());
        assert_eq!((body.take_beginning(), body.into_text().unwrap()), (beginning(), "d".to_owned()));
        assert_eq!(Body::with_beginning(beginning(), Body::empty()).as_pieces(), Some(&beginning()));
    }

    #[test]
    fn the_length_counts_down_while_reading() {
        let mut body = Body::from_reader(&b"abcdef"[..], Some(6));
        let mut buffer = [0; 4];
        body.read_exact(&mut buffer).unwrap();
        assert_eq!(body.length(), Some(2));
        assert_eq!(body.into_text().unwrap(), "ef");
    }

    #[test]
    fn a_limit_is_kept_whether_or_not_the_length_is_known() {
        for length in [Some(6), None] {
            let body = Body::from_reader(&b"abcdef"[..], length);
            assert_eq!(body.into_bytes_limited(5).unwrap_err().kind(), ErrorKind::BodyTooLarge);
            let body = Body::from_reader(&b"abcdef"[..], length);
            assert_eq!(body.into_bytes_limited(6).unwrap(), "abcdef");
        }
    }

    #[test]
    fn an_error_of_ours_comes_out_of_a_stream_as_it_went_in() {
        struct Cut;
        impl Read for Cut {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::new(ErrorKind::IncompleteBody, "cut").into())
            }
        }
        let error = Body::from_reader(Cut, None).into_bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompleteBody);
    }
}
