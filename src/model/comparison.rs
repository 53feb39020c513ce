//! A comparison of source and cache: its progress, its findings, and its verdict.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bookmark::Bookmark;
use super::element::ElementIdentity;
use super::kind::ElementKind;
use super::pass::Cursor;

/// A comparison that has begun and not ended, as the checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComparisonUnderWay {
    /// This machine's clock when the comparison began.
    pub began_at: DateTime<Utc>,
    /// The source's bookmark at that time.
    pub bookmark: Bookmark,
    /// Whether a client ordered the comparison; otherwise it runs in the background.
    #[serde(default)]
    pub ordered: bool,
    /// Whether the comparison is in its second round, which compares only vectors.
    #[serde(default)]
    pub at_vectors: bool,
    /// The progress in this round. Absent before its first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// The number of differing elements so far.
    #[serde(default)]
    pub findings: u64,
    /// The number of compared elements so far.
    #[serde(default)]
    pub rows: u64,
    /// The number of the source's elements when the comparison began. Absent in older checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// The difference of an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Difference {
    /// The cache lacks the element.
    Missing,
    /// The source does not have the element.
    Orphaned,
    /// These properties differ. A label that only one side has is listed with a colon before it.
    Changed(Vec<String>),
}

/// An element that differs, confirmed by a second look at both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The kind of the element.
    pub kind: ElementKind,
    /// The identity of the element.
    pub identity: ElementIdentity,
    /// The difference of the element.
    pub difference: Difference,
}

impl Difference {
    /// Whether the difference includes this property or label.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        matches!(self, Difference::Changed(names) if names.iter().any(|found| found == name))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.identity, self.difference)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing => f.write_str("is missing in the cache"),
            Difference::Orphaned => f.write_str("is not in the source"),
            Difference::Changed(names) => write!(f, "differs in {}", names.join(", ")),
        }
    }
}

/// Elements and properties that a proof of equality leaves out, because source and cache differ in them by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ProofExceptions {
    /// Elements that the cache cannot hold.
    pub elements: u64,
    /// Properties that the cache cannot hold, of elements that it holds.
    pub properties: u64,
    /// Elements that share their identity with another one, which is kept for all of them.
    pub collapsed: u64,
}

impl fmt::Display for ProofExceptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elements, properties, collapsed } = self;
        write!(f, "{elements} elements and {properties} properties quarantined, {collapsed} collapsed")
    }
}

impl Verdict {
    /// Whether everything was compared after this transaction.
    pub(crate) fn has_looked_past(&self, transaction: u64) -> bool {
        self.begun_with.is_some() && self.began_at.transaction().is_some_and(|began| began >= transaction)
    }
}

/// The result of a comparison that has gone through everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Both sides were equal as of this bookmark: nothing differed, and nothing was committed meanwhile.
    pub equal_as_of: Option<Bookmark>,
    /// The source's bookmark when the comparison began.
    pub began_at: Bookmark,
    /// The number of differing elements.
    pub findings: u64,
    /// The number of compared elements.
    pub rows: u64,
    /// The number of the order that the comparison began with. Absent if an earlier generation began it.
    pub begun_with: Option<u64>,
    /// Whether the cache may hold more elements that the source does not have than one comparison finds. Another one finds them.
    pub is_incomplete: bool,
    /// The first differences, with their elements.
    pub listed: Vec<Finding>,
    /// The number of elements read from the source, including those that were left out.
    pub read: u64,
    /// The exceptions by rule.
    pub excepted: ProofExceptions,
    /// Elements of the cache that have no kind or no usable key, counted by what they are. They are findings as well.
    pub foreign: BTreeMap<String, u64>,
}
