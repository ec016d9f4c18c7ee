//! A number of bytes as people write it.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

/// A number of bytes as an option or a configuration file says it: `256MiB`, `64k`, `1000`.
///
/// | written | is |
/// |---|---|
/// | `1000`, `1000B` | bytes |
/// | `k`, `M`, `G`, `T`, `KiB`, `MiB`, `GiB`, `TiB` | powers of 1024 |
/// | `kB`, `MB`, `GB`, `TB` | powers of 1000 |
///
/// Case does not matter, and space may stand between number and unit. It is shown in the largest
/// binary unit that needs no fraction, so that what is shown can be read back.
///
/// ```
/// use forwardcache::ByteSize;
///
/// let size: ByteSize = "256MiB".parse()?;
/// assert_eq!(size.bytes(), 256 * 1024 * 1024);
/// assert_eq!(ByteSize::new(65_536).to_string(), "64KiB");
/// assert_eq!("1.5G".parse::<ByteSize>().unwrap_err().to_string(),
///     "bad size \"1.5G\": it takes a whole number and a unit, as in 256MiB");
/// # Ok::<(), forwardcache::InvalidByteSize>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How many bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The binary units, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

const NO_NUMBER: &str = "it takes a whole number and a unit, as in 256MiB";

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let bad = |problem| InvalidByteSize { text: text.to_owned(), problem };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(bad(NO_NUMBER));
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
            other if other.starts_with(['.', ',']) => return Err(bad(NO_NUMBER)),
            _ => return Err(bad("the unit is one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB, k, M, G, T")),
        };
        // It is all digits, so it can only be too large.
        let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| bad("more than 2^64 bytes"))
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

/// Why a text is no [`ByteSize`]. Shown on one line, with the text.
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
mod tests {
    use super::*;

    fn bytes(text: &str) -> u64 {
        text.parse::<ByteSize>().unwrap().bytes()
    }

    #[test]
    fn units_are_read_in_any_case() {
        assert_eq!(bytes("0"), 0);
        assert_eq!(bytes(" 1000 "), 1000);
        assert_eq!(bytes("12B"), 12);
        assert_eq!(bytes("64k"), 65_536);
        assert_eq!(bytes("64 K"), 65_536);
        assert_eq!(bytes("256MiB"), 256 << 20);
        assert_eq!(bytes("1gib"), 1 << 30);
        assert_eq!(bytes("2T"), 2 << 40);
        assert_eq!(bytes("5kB"), 5_000);
        assert_eq!(bytes("5MB"), 5_000_000);
        assert_eq!(bytes("18446744073709551615"), u64::MAX);
    }

    #[test]
    fn what_is_no_size_is_refused_on_one_line() {
        for text in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5GiB",
            "1,5GiB",
            "0x10",
            "1 2",
            "10 potatoes",
            "1\nk",
            "99999999999T",
            "18446744073709551616",
            "١k",
        ] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.starts_with("bad size") && !error.contains('\n'), "{error}");
        }
        let error = "10 potatoes".parse::<ByteSize>().unwrap_err().to_string();
        assert!(error.contains("KiB") && error.contains("potatoes"), "{error}");
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for (size, text) in
            [(0, "0"), (1000, "1000"), (1 << 10, "1KiB"), (1536 << 20, "1536MiB"), (4 << 40, "4TiB")]
        {
            assert_eq!(ByteSize::new(size).to_string(), text);
            assert_eq!(bytes(text), size);
        }
        assert_eq!(bytes(&ByteSize::new(u64::MAX).to_string()), u64::MAX);
    }
}
