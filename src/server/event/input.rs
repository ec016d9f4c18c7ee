//! Bytes that a client has sent and that are not processed yet.

/// A buffer that is consumed from its front. It uses no memory while it is empty, because most connections
/// are idle most of the time.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// Number of bytes after `start` that were scanned without finding a complete head.
    looked_at: Option<usize>,
}

/// The result of processing some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consumed {
    /// Number of bytes consumed.
    pub(super) used: usize,
    /// Number of further bytes that were scanned and are useless until more bytes arrive.
    pub(super) looked_at: Option<usize>,
}

impl Consumed {
    /// The rest may be processed at once.
    pub(super) fn whole(used: usize) -> Self {
        Self { used, looked_at: None }
    }
}

impl Input {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Returns whether there are bytes that were not scanned yet.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.bytes().len() > self.looked_at.unwrap_or(0)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn looked_at(&self) -> usize {
        self.looked_at.unwrap_or(0)
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
            self.looked_at = consumed.looked_at;
        }
    }

    /// Removes consumed bytes from the front.
    pub(super) fn consume(&mut self, consumed: Consumed) {
        self.start += consumed.used;
        self.looked_at = consumed.looked_at;
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
        assert!(!input.is_worth_a_look());
        input.keep(b"xGET", Consumed { used: 1, looked_at: Some(3) });
        assert!(!input.is_worth_a_look() && !input.is_empty());
        input.extend(b" /..");
        assert!(input.is_worth_a_look());
        assert_eq!((input.bytes(), input.looked_at()), (&b"GET /.."[..], 3));
        input.consume(Consumed::whole(5));
        assert_eq!((input.bytes(), input.looked_at()), (&b".."[..], 0));
        assert!(input.is_worth_a_look());
        input.consume(Consumed::whole(2));
        assert!(input.is_empty() && input.bytes.capacity() == 0);
    }
}
