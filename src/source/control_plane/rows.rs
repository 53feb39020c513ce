//! The rows of each question's answer.

use serde::Deserialize;

use crate::source::{SourceIndex, SourceIndexKind};

/// The component that answers queries: the database itself.
#[derive(Debug, Deserialize)]
pub(super) struct Component {
    pub(super) version: String,
    pub(super) edition: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Database {
    pub(super) id: String,
    pub(super) name: String,
}

/// The name of a label, a type or a property.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// A count; zero, or no row, if nothing exists.
#[derive(Debug, Deserialize)]
pub(super) struct Existence {
    pub(super) count: i64,
}

/// A place in the list that a question is about.
#[derive(Debug, Deserialize)]
pub(super) struct SeekHit {
    pub(super) place: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dimension {
    pub(super) dimension: i64,
}

/// A row of [`crate::source::queries::server::INDEXES`].
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    name: String,
    kind: String,
    entity: String,
    names: Vec<String>,
    properties: Vec<String>,
    analyzer: Option<String>,
    dimension: Option<i64>,
    similarity: Option<String>,
    m: Option<i64>,
    ef: Option<i64>,
}

impl Index {
    /// Returns the index; `None` if the options of its kind are missing.
    pub(super) fn into_source_index(self) -> Option<SourceIndex> {
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let kind = match self.kind.as_str() {
            "RANGE" => SourceIndexKind::Range,
            "FULLTEXT" => SourceIndexKind::Fulltext { analyzer: self.analyzer? },
            "VECTOR" => SourceIndexKind::Vector {
                dimension: number(self.dimension),
                similarity: self.similarity?,
                m: number(self.m),
                ef_construction: number(self.ef),
            },
            _ => SourceIndexKind::Other(self.kind),
        };
        Some(SourceIndex {
            name: self.name,
            kind,
            of_nodes: self.entity == "NODE",
            on: self.names,
            texts: self.properties.clone(),
            properties: self.properties,
        })
    }
}
