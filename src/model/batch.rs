//! The unit that travels through the actors.

use std::collections::BTreeSet;

use super::comparison::ComparisonUnderWay;
use super::duplicates::Duplicates;
use super::element::{ElementIdentity, RelationshipIdentity};
use super::guard::Guard;
use super::index::MirroredIndexes;
use super::kind_rows::KindRows;
use super::log_position::LogPosition;
use super::outside_profile::OutsideProfile;
use super::pass::{Cursor, PassUnderWay};
use super::pass_outcome::PassOutcome;
use super::prepared::Review;

/// One life of a pipeline's actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after it.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a pass found of the source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceRows {
    /// Elements of one kind.
    Kind(KindRows),
    /// Elements of several kinds that have few each, all of nodes or all of relationships.
    Bundle(Vec<KindRows>),
    /// What the source does not have any more, looked for by key just now.
    Absent(Vec<ElementIdentity>),
    /// What was found of elements that stand in the quarantine.
    Review(Review),
}

impl SourceRows {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            SourceRows::Kind(rows) => rows.len(),
            SourceRows::Bundle(parts) => parts.iter().map(KindRows::len).sum(),
            SourceRows::Absent(identities) => identities.len(),
            SourceRows::Review(_) => 0,
        }
    }
}

/// What a batch of a pass carries: its begin, rows, or its end. `R` is [`SourceRows`] before the transformer and
/// what the loader takes after it.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchContent<R> {
    /// The pass begins: a full one has the graph emptied and indexed.
    Begin(PassUnderWay),
    /// Rows to apply.
    Rows {
        /// The rows.
        rows: R,
        /// How many rows were read for them.
        read: u64,
        /// Where the pass stands once they are applied; absent for rows out of the strategy's order.
        cursor: Option<Cursor>,
        /// Whether they mend the cache: then they are written even if they seem to stand there.
        repairs: bool,
        /// Keys of those that are new, where a change feed tells it.
        created: Option<BTreeSet<String>>,
    },
    /// Indices of the source that the cache is to have as well.
    Indexes(MirroredIndexes),
    /// Everything was read: once this is applied, the pass is over.
    End(Box<PassEnd>),
}

/// How a pass ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PassEnd {
    /// Relationships whose endpoint the cache cannot hold, after all was read again.
    pub unresolved: Vec<RelationshipIdentity>,
    /// What the source holds besides the profile's kinds; only a full pass looks.
    pub outside_profile: Option<OutsideProfile>,
    /// How many keys travelled, of both sides, to find what only one of them has.
    pub keys_listed: u64,
    /// What the pass tells the scheduler of the next one.
    pub outcome: PassOutcome,
    /// What the delete guard remembers.
    pub guard: Guard,
    /// Keys that more than one element has.
    pub duplicates: Duplicates,
    /// Where the comparison stands that is under way.
    pub comparison: Option<ComparisonUnderWay>,
    /// The place in the change feed after what it told; absent where none told.
    pub position: Option<LogPosition>,
}

/// Content before the transformer.
pub type SourceContent = BatchContent<SourceRows>;
