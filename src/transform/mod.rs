//! Pure: what the source holds becomes what the cache takes.
//!
//! [`Transformer`] checks keys, labels and names, [converts values](values) by documented rules, and writes rows as FalkorDB's
//! parameter text, grouped by the statement that can take them. What cannot be written comes back with its reason.

pub mod bulk;
mod collapse;
pub mod comparison;
#[cfg(test)]
mod decoded;
mod dimensions;
mod encode;
mod layout;
pub mod literal;
mod temporal;
pub mod values;
pub mod vectors;
pub mod writer;

pub use dimensions::Dimensions;
pub use encode::Transformer;
