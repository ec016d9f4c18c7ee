//! Byte counts with units, such as `256MiB`.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

/// A number of bytes, as written in an option or a configuration file: `256MiB`, `64k`, `1000`.
///
/// | unit | meaning |
/// |---|---|
/// | `1000`, `1000B` | bytes |
/// | `k`, `M`, `G`, `T`, `KiB`, `MiB`, `GiB`, `TiB` | powers of 1024 |
/// | `kB`, `MB`, `GB`, `TB` | powers of 1000 |
///
/// Units are case-insensitive; spaces between number and unit are allowed. `Display` uses the largest binary unit
/// that needs no fraction, so the output parses to the same size.
///
/// ```
/// use forwardcache::store::ByteSize;
///
/// let size: ByteSize = "256MiB".parse()?;
/// assert_eq!(size.bytes(), 256 * 1024 * 1024);
/// assert_eq!(ByteSize::new(65_536).to_string(), "64KiB");
/// assert_eq!("1.5G".parse::<ByteSize>().unwrap_err().to_string(),
///     "bad size \"1.5G\": expected a whole number and a unit, as in 256MiB");
/// # Ok::<(), forwardcache::store::InvalidByteSize>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Creates a size of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The binary units, largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

const NOT_A_NUMBER: &str = "expected a whole number and a unit, as in 256MiB";

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let bad = |problem| InvalidByteSize { text: text.to_owned(), problem };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(bad(NOT_A_NUMBER));
        }
        let factor: u64 = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            other if other.starts_with(['.', ',']) => return Err(bad(NOT_A_NUMBER)),
            _ => {
                return Err(bad("the unit must be one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB, k, M, G, T"));
            }
        };
        // `number` has only digits, so parsing fails only on overflow.
        let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| bad("the size exceeds 2^64 - 1 bytes"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

/// The reason why a text is not a valid [`ByteSize`]. Its message has one line and quotes the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidByteSize {
    text: String,
    problem: &'static str,
}

impl fmt::Display for InvalidByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad size {:?}: {}", self.text, self.problem)
    }
}

impl StdError for InvalidByteSize {}

#[cfg(test)]
mod tests;
