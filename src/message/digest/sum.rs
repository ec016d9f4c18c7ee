//! The digest of a stored body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::message::header::structured::{Value, dictionary};
use crate::message::pieces::Pieces;

/// A SHA-256 digest.
///
/// It detects damage between the process that stored a body and its reader, and changes by an attacker who cannot
/// change the digest too. It is not a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; SHA256_OUTPUT_LEN]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut running = RunningDigest::new();
        running.update(bytes);
        running.finish()
    }

    pub(crate) fn of_pieces(pieces: &Pieces) -> Self {
        let mut running = RunningDigest::new();
        pieces.slices().for_each(|piece| running.update(piece));
        running.finish()
    }

    pub(crate) const fn from_bytes(sum: [u8; SHA256_OUTPUT_LEN]) -> Self {
        Self(sum)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; SHA256_OUTPUT_LEN] {
        &self.0
    }

    /// Appends the digest as a field value (RFC 9530 section 2).
    pub(crate) fn write(&self, text: &mut String) {
        text.push_str("sha-256=:");
        STANDARD.encode_string(self.0, text);
        text.push(':');
    }

    /// Parses a field value. Returns `None` if it contains no SHA-256 digest.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        match dictionary(field)?.remove(&b"sha-256"[..])? {
            Value::ByteSequence(sum) => sum.try_into().ok().map(Self),
            _ => None,
        }
    }
}

/// Computes a digest incrementally.
pub(crate) struct RunningDigest(Context);

impl RunningDigest {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut sum = [0; SHA256_OUTPUT_LEN];
        sum.copy_from_slice(self.0.finish().as_ref());
        Digest(sum)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The representation of RFC 9530 appendix A, with its line feed.
    const RESOURCE: &[u8] = b"{\"title\":\"hello\"}";

    #[test]
    fn digest_has_the_form_of_the_rfc() {
        let mut text = String::new();
        Digest::of(b"").write(&mut text);
        assert_eq!(text, "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
        assert_eq!(Digest::parse(text.as_bytes()), Some(Digest::of(b"")));
        let mut text = String::new();
        Digest::of(RESOURCE).write(&mut text);
        assert_ne!(Digest::parse(text.as_bytes()), Some(Digest::of(b"")));
    }

    #[test]
    fn digest_of_pieces_equals_digest_of_the_whole() {
        let pieces = RESOURCE.chunks(3).map(bytes::Bytes::from_static).collect();
        assert_eq!(Digest::of_pieces(&pieces), Digest::of(RESOURCE));
    }

    #[test]
    fn invalid_digests_do_not_parse() {
        for field in
            ["", "sha-256", "sha-256=abc", "sha-256=:YWJj:", "sha-512=:YWJj:", "sha-256=\"47DE\"", "="]
        {
            assert_eq!(Digest::parse(field.as_bytes()), None, "{field}");
        }
    }
}
