//! A pass: one run of a strategy, its progress, and its results.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bookmark::Bookmark;
use super::element::RelationshipIdentity;
use super::kind::Step;
use super::prepared::Conversions;

/// The strategies that a pass can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PassMode {
    /// Reads everything, from the beginning.
    Full,
    /// Reads what changed since the last pass.
    Incremental,
    /// Compares the content of every element and repairs differences.
    Differential,
}

impl fmt::Display for PassMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PassMode::Full => "full",
            PassMode::Incremental => "incremental",
            PassMode::Differential => "differential",
        })
    }
}

/// The place up to which a pass is applied: everything of the earlier steps, and of this step up to and including `after`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The step of the pass.
    pub step: Step,
    /// The last key applied; empty before the first.
    pub after: String,
}

/// The results of a pass, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    /// Rows read from the source.
    pub read: u64,
    /// Rows that the cache already held.
    pub unchanged: u64,
    /// Nodes written to the cache.
    pub nodes: u64,
    /// Relationships written to the cache.
    pub relationships: u64,
    /// Nodes and relationships deleted.
    pub deleted: u64,
    /// Elements and properties that the cache cannot hold.
    pub quarantined: u64,
    /// Properties among these, of elements that were written.
    pub properties_quarantined: u64,
    /// Elements that share an identity with another one, which was kept instead.
    pub collapsed: u64,
    /// The number of keys transferred from both sides to find what only one of them has.
    pub keys_listed: u64,
    /// Values that a rule converted with a loss.
    pub conversions: Conversions,
}

impl Totals {
    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: &Totals) {
        self.read += other.read;
        self.unchanged += other.unchanged;
        self.nodes += other.nodes;
        self.relationships += other.relationships;
        self.deleted += other.deleted;
        self.quarantined += other.quarantined;
        self.properties_quarantined += other.properties_quarantined;
        self.collapsed += other.collapsed;
        self.keys_listed += other.keys_listed;
        self.conversions.add(other.conversions);
    }
}

/// A pass that has begun and not ended, as the checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PassUnderWay {
    /// The strategy of the pass.
    pub(crate) mode: PassMode,
    /// The source's clock before its first query: the watermark once it has ended.
    pub(crate) began_at: DateTime<Utc>,
    /// The source's bookmark before its first query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bookmark: Option<Bookmark>,
    /// Whether the graph is ready for the rows of the pass: for a full pass, emptied and indexed.
    pub(crate) prepared: bool,
    /// The place up to which the pass is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<Cursor>,
    /// The results so far.
    #[serde(default)]
    pub(crate) totals: Totals,
    /// Relationships that arrived before one of their endpoints was in the cache: they are read again before the pass ends.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) deferred: BTreeSet<RelationshipIdentity>,
}

impl PassUnderWay {
    /// A pass that has done nothing yet.
    pub(crate) fn begin(mode: PassMode, began_at: DateTime<Utc>, bookmark: Option<Bookmark>) -> Self {
        Self { mode, began_at, bookmark, prepared: false, cursor: None, totals: Totals::default(), deferred: BTreeSet::new() }
    }
}

/// A pass that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PassSummary {
    /// The strategy of the pass.
    pub(crate) mode: PassMode,
    /// The source's clock before its first query.
    pub(crate) began_at: DateTime<Utc>,
    /// The source's bookmark before its first query: everything up to this bookmark is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bookmark: Option<Bookmark>,
    /// This machine's clock when the end of the pass was stored.
    pub(crate) ended_at: DateTime<Utc>,
    /// The results of the pass.
    pub(crate) totals: Totals,
}
