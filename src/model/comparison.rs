//! A comparison of source and cache: where it stands, what it found, and what it says at its end.

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
pub struct ComparisonUnderWay {
    /// This machine's clock when it began.
    pub began_at: DateTime<Utc>,
    /// The source's bookmark then.
    pub bookmark: Bookmark,
    /// Whether a client ordered it; else it runs in the background.
    #[serde(default)]
    pub ordered: bool,
    /// Whether it has come to its second round, which is about vectors alone.
    #[serde(default)]
    pub at_vectors: bool,
    /// Up to where it has come in this round; absent before its first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Elements that differed so far.
    #[serde(default)]
    pub findings: u64,
    /// Elements that were compared so far.
    #[serde(default)]
    pub rows: u64,
}

/// How an element differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// The cache lacks it.
    Missing,
    /// The source does not have it.
    Orphaned,
    /// These properties differ; a label that only one side has stands with a colon before it.
    Changed(Vec<String>),
}

/// An element that differs, confirmed by a second look at both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: ElementKind,
    /// What identifies it.
    pub identity: ElementIdentity,
    /// How it differs.
    pub difference: Difference,
}

impl Difference {
    /// Whether this property, or whatever it is, differs.
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

/// What source and cache do not have in common by rule, so that it is no difference: what a proof of equality does not speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Excepted {
    /// Elements that the cache cannot hold.
    pub elements: u64,
    /// Properties that the cache cannot hold, of elements that it holds.
    pub properties: u64,
    /// Elements that share their identity with another one, which is kept for them.
    pub collapsed: u64,
}

impl fmt::Display for Excepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elements, properties, collapsed } = self;
        write!(f, "{elements} elements and {properties} properties quarantined, {collapsed} collapsed")
    }
}

impl Verdict {
    /// Whether everything was looked at after this transaction.
    pub(crate) fn has_looked_past(&self, transaction: u64) -> bool {
        self.begun_with.is_some() && self.began_at.transaction().is_some_and(|began| began >= transaction)
    }
}

/// What a comparison that has gone through everything says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The two were equal as of this bookmark: nothing differed, and nothing was committed meanwhile.
    pub equal_as_of: Option<Bookmark>,
    /// The source's bookmark when it began.
    pub began_at: Bookmark,
    /// Elements that differed.
    pub findings: u64,
    /// Elements that were compared.
    pub rows: u64,
    /// The order that it began with, by its number; absent where an earlier generation began it.
    pub begun_with: Option<u64>,
    /// What differed, the first ones by name.
    pub listed: Vec<Finding>,
    /// Elements of the source that were read, those that were left out included.
    pub read: u64,
    /// What was left out by rule.
    pub excepted: Excepted,
    /// What the cache holds of no kind or without a usable key, counted by what it is. They are findings as well.
    pub foreign: BTreeMap<String, u64>,
}
