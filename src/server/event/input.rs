//! What a client has sent and nobody has worked on yet.

/// Bytes in order, of which the first are taken. It holds no memory while it is empty: most connections wait
/// for their next request most of the time.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// How many bytes from there on were looked at, and found not to be a whole head.
    looked_at: Option<usize>,
}

/// What a look at some bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consumed {
    /// So many are done with.
    pub(super) used: usize,
    /// So many of the others need not be looked at again, and are of no use before more has come.
    pub(super) looked_at: Option<usize>,
}

impl Consumed {
    /// Those that are left may be worth a look at once.
    pub(super) fn whole(used: usize) -> Self {
        Self { used, looked_at: None }
    }
}

impl Input {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Whether there is something that was not looked at in vain.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.bytes().len() > self.looked_at.unwrap_or(0)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn looked_at(&self) -> usize {
        self.looked_at.unwrap_or(0)
    }

    /// More has come.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Keeps what is left of bytes that were looked at without being kept first.
    pub(super) fn keep(&mut self, bytes: &[u8], consumed: Consumed) {
        if consumed.used < bytes.len() {
            self.bytes.extend_from_slice(&bytes[consumed.used..]);
            self.looked_at = consumed.looked_at;
        }
    }

    /// The first of them are done with.
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
    fn what_was_looked_at_in_vain_is_not_looked_at_until_more_comes() {
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
