//! A body that fails if it does not match its expected digests.

use std::io::{self, Read};

use ring::digest::{Context, SHA256, SHA512};

use super::sum::Digest;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;

/// A digest algorithm that RFC 9530 section 5 does not call broken.
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

    /// Returns the length of a digest, in bytes.
    pub(super) fn length(self) -> usize {
        self.function().output_len()
    }
}

/// A digest that a body must have.
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

/// A callback for a mismatch that is found while a body is read. It must be quick.
pub(crate) type OnMismatch = Box<dyn FnOnce() + Send>;

/// Returns the body with a check of its digests: instead of ending, a body with another digest fails with
/// [`ErrorKind::DigestMismatch`].
///
/// If the length is known, the last bytes are returned only after the check has succeeded.
///
/// # Errors
///
/// Fails at once if the body is already in memory and does not match.
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
    let rest = rest.map_reader(|body| Checked {
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
    /// `None` after the check has succeeded.
    sums: Option<Sums>,
    on_mismatch: Option<OnMismatch>,
}

impl Checked {
    fn check(&mut self) -> io::Result<()> {
        if self.sums.as_mut().is_none_or(Sums::agree) {
            self.sums = None;
            return Ok(());
        }
        if let Some(on_mismatch) = self.on_mismatch.take() {
            on_mismatch();
        }
        Err(mismatch().into())
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // After a mismatch every read fails.
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
    Error::new(ErrorKind::DigestMismatch, "the body does not match the announced digest")
}

struct Sums {
    contexts: Vec<(Context, Vec<u8>)>,
    differ: bool,
}

impl Sums {
    fn new(expected: Vec<Expected>) -> Self {
        let start = |Expected { algorithm, sum }: Expected| (Context::new(algorithm.function()), sum);
        Self { contexts: expected.into_iter().map(start).collect(), differ: false }
    }

    fn update(&mut self, bytes: &[u8]) {
        for (context, _) in &mut self.contexts {
            context.update(bytes);
        }
    }

    /// Returns whether all digests match. Consumes the digests, so it is called once, at the end of the body.
    fn agree(&mut self) -> bool {
        let contexts = std::mem::take(&mut self.contexts);
        self.differ |= contexts.into_iter().any(|(context, sum)| context.finish().as_ref() != sum);
        !self.differ
    }
}

#[cfg(test)]
mod tests;
