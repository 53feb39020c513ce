//! The words of the product as types: values, elements, profiles, batches, the checkpoint.

pub mod batch;
pub mod bookmark;
pub mod changes;
pub mod checkpoint;
pub mod comparison;
pub mod detail;
pub mod dimensions;
pub mod discovery;
pub mod element;
pub mod excluded;
pub mod graph_name;
pub mod guard;
pub mod host;
pub mod id_map;
pub mod index;
pub mod key;
pub mod kind_rules;
pub mod name;
pub mod pass;
pub mod pattern;
pub mod prepared;
pub mod profile;
pub mod profile_error;
pub mod routes;
pub mod stage;
pub mod value;
