//! Indices of the cache.

use serde::{Deserialize, Serialize};

use super::kind::Step;
use super::name::{Label, PropertyName, RelationshipType};

/// What becomes of the indices of the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MirroredIndexes {
    /// Indices to make in the cache.
    pub wanted: Vec<IndexDefinition>,
    /// What FalkorDB cannot express, and why.
    pub inexpressible: Vec<String>,
}

/// An index of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexDefinition {
    /// Range, full text or vector.
    pub kind: IndexKind,
    /// What it is on.
    #[serde(flatten)]
    pub on: IndexTarget,
    /// The indexed properties, in order.
    pub properties: Vec<PropertyName>,
    /// Stop words of a full-text index; absent means that the statement does not name any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopwords: Option<Vec<String>>,
    /// The language of a full-text index, which decides on its stemming; FalkorDB's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What a vector index needs, and no other kind has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<VectorOptions>,
    /// Whether values may be text, as dates are in the cache. Range indices over text are unsafe on many versions of FalkorDB.
    #[serde(default = "may_be_text", skip_serializing_if = "is_text")]
    pub text: bool,
}

fn may_be_text() -> bool {
    true
}

fn is_text(text: &bool) -> bool {
    *text
}

/// What becomes of the range indices that a server answers wrongly by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsafeIndexes {
    /// They are made and kept: searches are fast, and some are wrong.
    Keep,
    /// The profile's and the source's are not made, and dropped where they are.
    Drop,
}

/// The kinds of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// Equality and ranges.
    Range,
    /// Full text.
    Fulltext,
    /// Nearest neighbours.
    Vector,
}

/// What an index is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexTarget {
    /// Nodes of a label.
    Label(Label),
    /// Relationships of a type.
    Type(RelationshipType),
}

impl IndexTarget {
    /// What a step of a pass is about.
    pub(crate) fn of(step: &Step) -> Self {
        match step {
            Step::Nodes(label) => IndexTarget::Label(label.clone()),
            Step::Relationships(rel_type) => IndexTarget::Type(rel_type.clone()),
        }
    }
}

/// What a vector index needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorOptions {
    /// Of each vector; others are not indexed.
    pub dimension: u64,
    /// What is near.
    pub similarity: Similarity,
    /// Neighbours of a vector in the index; FalkorDB's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m: Option<u64>,
    /// Candidates at its making; FalkorDB's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ef_construction: Option<u64>,
}

/// What is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// A small angle.
    Cosine,
    /// A small distance.
    Euclidean,
}

impl Similarity {
    /// Reads its name, in whatever case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "cosine" => Some(Self::Cosine),
            "euclidean" => Some(Self::Euclidean),
            _ => None,
        }
    }

    /// FalkorDB's name of it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
        }
    }
}

impl IndexDefinition {
    /// An index of a kind on some properties, with the defaults of FalkorDB.
    pub(crate) fn plain(kind: IndexKind, on: IndexTarget, properties: Vec<PropertyName>) -> Self {
        Self { kind, on, properties, stopwords: None, language: None, vector: None, text: true }
    }

    /// Whether it has what its kind needs: a vector index its options and a single property, no other kind either.
    pub(crate) fn is_sound(&self) -> bool {
        match self.kind {
            IndexKind::Vector => self.vector.is_some() && self.properties.len() == 1,
            IndexKind::Range | IndexKind::Fulltext => self.vector.is_none() && !self.properties.is_empty(),
        }
    }
}

impl std::fmt::Display for IndexTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IndexTarget::Label(label) => write!(f, "(:{label})"),
            IndexTarget::Type(rel_type) => write!(f, "[:{rel_type}]"),
        }
    }
}
