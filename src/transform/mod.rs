//! Transforms the source's content into the form that the cache takes. This module is pure.
//!
//! [`Encoder`] checks keys, labels and names, [converts values](values) by documented rules, and writes rows as FalkorDB's
//! parameter text, grouped by the statement that can take them. Rows and properties that cannot be written come back with their
//! reason.

mod admission;
pub mod bulk;
mod collapse;
pub(crate) mod comparison;
#[cfg(test)]
mod decoded;
mod encode;
mod encoder;
mod layout;
pub(crate) mod literal;
mod property_names;
mod quarantine_names;
mod temporal;
pub(crate) mod values;
pub(crate) mod vectors;
pub(crate) mod writer;

pub use crate::model::vector_dimensions::VectorDimensions;
pub(crate) use admission::Admission;
pub use encoder::Encoder;
pub(crate) use property_names::MAX_PROPERTY_NAMES;

use crate::model::batch::BatchContent;
use crate::model::prepared::PreparedRows;

/// A batch in the form that the loader takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Encoded {
    /// Rows of parameter text, for a graph that may hold anything.
    Rows(PreparedRows),
    /// Payloads of GRAPH.BULK, for a stage that holds exactly what was loaded before.
    Payloads(bulk::BulkBatch),
}

/// The content of a batch after the transformer.
pub(crate) type PreparedContent = BatchContent<Encoded>;
