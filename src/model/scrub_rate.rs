//! The speed of the comparison in the background.

/// How fast the comparison in the background may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScrubRate {
    /// At most this many elements of the source in a second.
    RowsPerSecond(u64),
    /// As many as both servers answer.
    Unlimited,
}
