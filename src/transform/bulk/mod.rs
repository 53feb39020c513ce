//! Turns rows of the source into payloads of GRAPH.BULK, the fastest way into FalkorDB and the most dangerous one.
//!
//! FalkorDB 4.16.3 checks nothing: a header without its end or a wrong count of tokens ends the server's process, a count that is
//! not a number deletes the graph, and a relationship to a missing node ends the server at a later read. So a [`BulkPayload`] can
//! only be made here, from rows: counts come from counting, every record has exactly the values of its token's header, every
//! string ends at its only NUL, and both ends of a relationship are ids from a lookup.
//!
//! The same code as for parameter text decides which rows can be written and how their values are converted. Rows that the binary
//! form cannot express (a label with a colon) come back as rows of parameter text.

#[cfg(any(test, feature = "fuzzing"))]
pub mod agreement;
mod binary;
#[cfg(any(test, feature = "fuzzing"))]
mod decoded;
mod encoder;
mod header;
mod packer;
mod payload;
mod stage;

pub use encoder::BulkBatch;
pub(crate) use payload::{BulkPayload, MAX_PAYLOAD_BYTES};
pub use stage::StageEncoder;
