//! A number of bytes in the usual notation.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The units, longest name first, so that `KiB` is not read as `B` after `Ki`.
const UNITS: [(&str, u64); 7] =
    [("gib", 1 << 30), ("mib", 1 << 20), ("kib", 1 << 10), ("gb", 1_000_000_000), ("mb", 1_000_000), ("kb", 1_000), ("b", 1)];

/// A number of bytes: `4MiB`, `500 kB`, `65536`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ByteSize(u64);

/// The error for a text that is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not a size (write 4MiB, 500kB or a number of bytes)")]
pub(crate) struct ByteSizeError;

impl ByteSize {
    /// A size in bytes.
    pub(crate) const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in units of 1,024 bytes.
    pub(crate) const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// A size in units of 1,048,576 bytes.
    pub(crate) const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        let (number, factor) =
            UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text.as_str(), 1));
        let count: u64 = number.trim_end().parse().map_err(|_| ByteSizeError)?;
        count.checked_mul(factor).map(Self).ok_or(ByteSizeError)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(formatter, "{}{unit}", self.0 / factor);
            }
        }
        write!(formatter, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_byte_size_reads_units_and_plain_numbers() {
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("4 mib", 4 << 20),
            ("64KiB", 65_536),
            ("1GiB", 1 << 30),
            ("500kB", 500_000),
            ("2 MB", 2_000_000),
            ("1gb", 1_000_000_000),
            ("12B", 12),
            ("65536", 65_536),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::from_bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn test_byte_size_refuses_everything_else() {
        for text in ["", "MiB", "-1", "1.5MiB", "4 M", "4MiBB", "18446744073709551615KiB", "1e3"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError), "{text}");
        }
    }

    #[test]
    fn test_byte_size_prints_what_it_reads() {
        for text in ["4MiB", "64KiB", "3GiB", "1000B", "0B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
