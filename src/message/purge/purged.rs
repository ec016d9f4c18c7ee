//! The result of a purge.

use std::fmt;

/// The number and size of the responses that a purge removed from one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// The number of removed responses. Each variant, and each response stored for a credential, counts.
    pub responses: u64,
    /// The size of the removed responses in the store, in bytes.
    pub bytes: u64,
    /// Whether the numbers are complete. They are not if the store cannot list its entries: entries older than the
    /// purge then count as absent, and their number is unknown.
    pub is_counted: bool,
}

/// Nothing was removed.
impl Default for Purged {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Purged {
    /// Creates a complete result.
    #[must_use]
    pub fn new(responses: u64, bytes: u64) -> Self {
        Self { responses, bytes, is_counted: true }
    }

    /// Creates the result of a purge whose removals cannot be counted.
    #[must_use]
    pub fn uncounted() -> Self {
        Self { responses: 0, bytes: 0, is_counted: false }
    }

    /// Returns the sum of both results.
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
