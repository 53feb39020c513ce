//! Indices of the cache.

use serde::{Deserialize, Serialize};

use super::kind::Step;
use super::name::{Label, PropertyName, RelationshipType};

/// The source's indices, translated for the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MirroredIndexes {
    /// Indices to make in the cache.
    pub wanted: Vec<IndexDefinition>,
    /// Indices that FalkorDB cannot express, with the reasons.
    pub inexpressible: Vec<String>,
}

/// An index of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexDefinition {
    /// Range, full text or vector.
    pub(crate) kind: IndexKind,
    /// The label or type that it is on.
    #[serde(flatten)]
    pub on: IndexTarget,
    /// The indexed properties, in order.
    pub properties: Vec<PropertyName>,
    /// Stop words of a full-text index. If absent, the statement names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopwords: Option<Vec<String>>,
    /// The language of a full-text index, which decides its stemming. If absent, FalkorDB's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The options of a vector index, which no other kind has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vector: Option<VectorOptions>,
    /// Whether values may be texts, as dates are in the cache. Range indices over text are unsafe on many versions of FalkorDB.
    #[serde(default = "may_be_text", skip_serializing_if = "is_text")]
    pub text: bool,
}

fn may_be_text() -> bool {
    true
}

fn is_text(text: &bool) -> bool {
    *text
}

/// The treatment of range indices with which a server answers wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsafeIndexPolicy {
    /// All are made and kept: searches are fast, and some are wrong.
    Keep,
    /// The profile's and the source's are not made, and dropped if they exist.
    Drop,
}

/// The kinds of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IndexKind {
    /// Equality and range conditions.
    Range,
    /// Full-text search in texts.
    Fulltext,
    /// Nearest neighbours of vectors.
    Vector,
}

/// The target of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexTarget {
    /// Nodes of a label.
    Label(Label),
    /// Relationships of a type.
    Type(RelationshipType),
}

impl IndexTarget {
    /// The target for the kind of a step.
    pub(crate) fn of(step: &Step) -> Self {
        match step {
            Step::Nodes(label) => IndexTarget::Label(label.clone()),
            Step::Relationships(rel_type) => IndexTarget::Type(rel_type.clone()),
        }
    }
}

/// The options of a vector index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VectorOptions {
    /// The dimension of its vectors; others are not indexed.
    pub dimension: u64,
    /// The measure of similarity.
    pub similarity: Similarity,
    /// The number of neighbours of a vector in the index. If absent, FalkorDB's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m: Option<u64>,
    /// The number of candidates while it is built. If absent, FalkorDB's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ef_construction: Option<u64>,
}

/// The measure of similarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Similarity {
    /// Vectors with a small angle are similar.
    Cosine,
    /// Vectors with a small distance are similar.
    Euclidean,
}

impl Similarity {
    /// Parses the name of a measure, in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "cosine" => Some(Self::Cosine),
            "euclidean" => Some(Self::Euclidean),
            _ => None,
        }
    }

    /// FalkorDB's name of the measure.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
        }
    }
}

impl IndexDefinition {
    /// An index of a kind on some properties, with FalkorDB's defaults.
    pub(crate) fn plain(kind: IndexKind, on: IndexTarget, properties: Vec<PropertyName>) -> Self {
        Self { kind, on, properties, stopwords: None, language: None, vector: None, text: true }
    }

    /// Whether the definition fits its kind: a vector index has options and a single property, another kind has no options.
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
