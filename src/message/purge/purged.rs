//! How many responses a purge removed.

use std::fmt;

/// What a purge removed from one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// How many responses went, each variant and each credential's counted.
    pub responses: u64,
    /// How many bytes they took of the store.
    pub bytes: u64,
    /// Whether that is all. It is not where a store cannot list what it holds: what is older than the purge
    /// counts as not stored then, and nobody knows how much that is.
    pub is_counted: bool,
}

/// Nothing.
impl Default for Purged {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Purged {
    /// So many responses that took so many bytes, and no others.
    #[must_use]
    pub fn new(responses: u64, bytes: u64) -> Self {
        Self { responses, bytes, is_counted: true }
    }

    /// What nobody could count.
    #[must_use]
    pub fn uncounted() -> Self {
        Self { responses: 0, bytes: 0, is_counted: false }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            responses: self.responses.saturating_add(other.responses),
            bytes: self.bytes.saturating_add(other.bytes),
            is_counted: self.is_counted && other.is_counted,
        }
    }
}

/// `responses 3 bytes 5460`, or `responses unknown bytes unknown`.
impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_counted {
            write!(f, "responses {} bytes {}", self.responses, self.bytes)
        } else {
            f.write_str("responses unknown bytes unknown")
        }
    }
}
