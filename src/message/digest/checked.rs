//! A body that fails where it is not the one that was announced.

use std::io::{self, Read};

use ring::digest::{Context, SHA256, SHA512};

use super::sum::Digest;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;

/// An algorithm of RFC 9530 section 5 that is not broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        match name {
            b"sha-256" => Some(Self::Sha256),
            b"sha-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn function(self) -> &'static ring::digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha512 => &SHA512,
        }
    }

    /// How long its digests are, in bytes.
    pub(super) fn length(self) -> usize {
        self.function().output_len()
    }
}

/// A digest that a body has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(super) algorithm: Algorithm,
    pub(super) sum: Vec<u8>,
}

impl From<Digest> for Expected {
    fn from(digest: Digest) -> Self {
        Self { algorithm: Algorithm::Sha256, sum: digest.as_bytes().to_vec() }
    }
}

/// Told of a mismatch that is found while a body is read; cheap.
pub(crate) type OnMismatch = Box<dyn FnOnce() + Send>;

/// The body, which fails as [`ErrorKind::DigestMismatch`] instead of coming to its end where it has another digest.
///
/// Where its length is known, the last bytes are not handed out before they are found to be right.
///
/// # Errors
///
/// The same at once, for a body that is here already.
pub(crate) fn checked(
    body: Body,
    expected: Vec<Expected>,
    on_mismatch: impl FnOnce() + Send + 'static,
) -> Result<Body> {
    if expected.is_empty() {
        return Ok(body);
    }
    let mut sums = Sums::new(expected);
    let mut rest = body;
    if let Some(pieces) = rest.as_pieces() {
        pieces.slices().for_each(|piece| sums.update(piece));
        if sums.agree() {
            return Ok(rest);
        }
        on_mismatch();
        return Err(mismatch());
    }
    let beginning = rest.take_beginning();
    beginning.slices().for_each(|piece| sums.update(piece));
    let on_mismatch: OnMismatch = Box::new(on_mismatch);
    let rest = rest.read_through(|body| Checked {
        left: body.length(),
        body,
        sums: Some(sums),
        on_mismatch: Some(on_mismatch),
    });
    Ok(Body::with_beginning(beginning, rest))
}

struct Checked {
    body: Body,
    left: Option<u64>,
    /// Gone once they are found to agree.
    sums: Option<Sums>,
    on_mismatch: Option<OnMismatch>,
}

impl Checked {
    fn check(&mut self) -> io::Result<()> {
        if self.sums.as_mut().is_none_or(Sums::agree) {
            self.sums = None;
            return Ok(());
        }
        if let Some(told) = self.on_mismatch.take() {
            told();
        }
        Err(mismatch().into())
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // Once it has failed it fails for good.
        if self.sums.as_ref().is_some_and(|sums| sums.differ) {
            return Err(mismatch().into());
        }
        let count = self.body.read(buffer)?;
        if let Some(sums) = &mut self.sums {
            sums.update(&buffer[..count]);
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count as u64);
        }
        if count == 0 || self.left == Some(0) {
            self.check()?;
        }
        Ok(count)
    }
}

fn mismatch() -> Error {
    Error::new(ErrorKind::DigestMismatch, "the body has another digest than was announced")
}

struct Sums {
    under_way: Vec<(Context, Vec<u8>)>,
    differ: bool,
}

impl Sums {
    fn new(expected: Vec<Expected>) -> Self {
        let begin = |Expected { algorithm, sum }: Expected| (Context::new(algorithm.function()), sum);
        Self { under_way: expected.into_iter().map(begin).collect(), differ: false }
    }

    fn update(&mut self, bytes: &[u8]) {
        for (context, _) in &mut self.under_way {
            context.update(bytes);
        }
    }

    /// Whether all of them are as expected. Asked once, at the end.
    fn agree(&mut self) -> bool {
        let under_way = std::mem::take(&mut self.under_way);
        self.differ |= under_way.into_iter().any(|(context, sum)| context.finish().as_ref() != sum);
        !self.differ
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn sha512(text: &str) -> Expected {
        let sum = ring::digest::digest(&SHA512, text.as_bytes()).as_ref().to_vec();
        Expected { algorithm: Algorithm::Sha512, sum }
    }

    fn sha256(text: &str) -> Expected {
        Digest::of(text.as_bytes()).into()
    }

    /// What comes out, what is said of it, and how often somebody was told of a mismatch.
    fn read(body: Body, expected: Vec<Expected>) -> (Vec<u8>, Option<ErrorKind>, usize) {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let mut out = Vec::new();
        let kind = match checked(body, expected, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }) {
            Ok(mut body) => {
                let failed = body.read_to_end(&mut out).err().map(|error| Error::from(error).kind());
                if failed.is_some() {
                    assert_eq!(
                        Error::from(body.read(&mut [0]).unwrap_err()).kind(),
                        ErrorKind::DigestMismatch
                    );
                }
                failed
            }
            Err(error) => Some(error.kind()),
        };
        (out, kind, told.load(Ordering::Relaxed))
    }

    fn bodies(text: &'static str) -> [Body; 5] {
        let length = text.len() as u64;
        let (beginning, rest) = text.as_bytes().split_at(2);
        let rest = Body::from_reader(rest, Some(length - 2));
        [
            Body::with_beginning(bytes::Bytes::from_static(beginning).into(), rest),
            Body::from(text),
            Body::from_reader(text.as_bytes(), Some(length)),
            Body::from_reader(text.as_bytes(), None),
            Body::until_close(text.as_bytes()),
        ]
    }

    #[test]
    fn the_right_body_comes_out_whole() {
        for expected in [vec![sha256("hello")], vec![sha512("hello")], vec![sha256("hello"), sha512("hello")]]
        {
            for body in bodies("hello") {
                let proven = body.end_is_proven();
                assert_eq!(checked(body, expected.clone(), || ()).unwrap().end_is_proven(), proven);
            }
            for body in bodies("hello") {
                assert_eq!(read(body, expected.clone()), (b"hello".to_vec(), None, 0));
            }
        }
    }

    #[test]
    fn another_body_fails_and_is_told_of_once() {
        for expected in [vec![sha256("hallo")], vec![sha256("hello"), sha512("hallo")]] {
            for body in bodies("hello") {
                let ends = body.length().is_some();
                let (out, kind, told) = read(body, expected.clone());
                assert_eq!((kind, told), (Some(ErrorKind::DigestMismatch), 1));
                assert!(!ends || out.len() <= 2, "the last bytes are held back");
            }
        }
    }

    #[test]
    fn a_body_that_is_cut_short_fails_as_that() {
        struct Cut;
        impl Read for Cut {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::new(ErrorKind::IncompleteBody, "cut").into())
            }
        }
        let mut body =
            checked(Body::from_reader(Cut, None), vec![sha256("")], || panic!("no mismatch")).unwrap();
        assert_eq!(Error::from(body.read(&mut [0; 9]).unwrap_err()).kind(), ErrorKind::IncompleteBody);
    }

    #[test]
    fn nothing_is_done_where_nothing_is_announced() {
        let body = checked(Body::from_reader(&b"abc"[..], None), Vec::new(), || ()).unwrap();
        assert_eq!(body.into_text().unwrap(), "abc");
    }
}
