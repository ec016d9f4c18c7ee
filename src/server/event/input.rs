//! Bytes that a client has sent and that are not processed yet.

/// A buffer that is consumed from its front. It uses no memory while it is empty, because most connections
/// are idle most of the time.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// Number of bytes after `start` that were scanned without finding a complete head.
    scanned: Option<usize>,
}

/// The result of processing some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consumed {
    /// Number of bytes consumed.
    pub(super) used: usize,
    /// Number of further bytes that were scanned and are useless until more bytes arrive.
    pub(super) scanned: Option<usize>,
}

impl Consumed {
    /// The rest may be processed at once.
    pub(super) fn whole(used: usize) -> Self {
        Self { used, scanned: None }
    }
}

impl Input {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Returns whether there are bytes that were not scanned yet.
    pub(super) fn has_unscanned_bytes(&self) -> bool {
        self.bytes().len() > self.scanned.unwrap_or(0)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn scanned(&self) -> usize {
        self.scanned.unwrap_or(0)
    }

    /// Appends received bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the unconsumed rest of bytes that were processed without being buffered first.
    pub(super) fn keep(&mut self, bytes: &[u8], consumed: Consumed) {
        if consumed.used < bytes.len() {
            self.bytes.extend_from_slice(&bytes[consumed.used..]);
            self.scanned = consumed.scanned;
        }
    }

    /// Removes consumed bytes from the front.
    pub(super) fn consume(&mut self, consumed: Consumed) {
        self.start += consumed.used;
        self.scanned = consumed.scanned;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanned_bytes_are_not_scanned_again_until_more_arrive() {
        let mut input = Input::default();
        assert!(!input.has_unscanned_bytes());
        input.keep(b"xGET", Consumed { used: 1, scanned: Some(3) });
        assert!(!input.has_unscanned_bytes() && !input.is_empty());
        input.extend(b" /..");
        assert!(input.has_unscanned_bytes());
        assert_eq!((input.bytes(), input.scanned()), (&b"GET /.."[..], 3));
        input.consume(Consumed::whole(5));
        assert_eq!((input.bytes(), input.scanned()), (&b".."[..], 0));
        assert!(input.has_unscanned_bytes());
        input.consume(Consumed::whole(2));
        assert!(input.is_empty() && input.bytes.capacity() == 0);
    }
}
