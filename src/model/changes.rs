//! The changes that a batch made in the cache, by kind: for programs that draw the graph, for the audit log, and for counts.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The most keys of a batch that are listed. All keys of a batch of the default size are listed; for a larger batch, the first
/// keys show what it was, and its key range shows the rest.
pub(crate) const KEYS_TOLD: usize = 1000;

/// The operation on elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheOperation {
    /// The cache now holds the elements as the source has them, whether it did before or not.
    Written,
    /// As [`CacheOperation::Written`], and according to the transaction log they are new.
    Created,
    /// As [`CacheOperation::Written`], and according to the transaction log they existed before.
    Updated,
    /// The cache no longer holds the elements.
    Deleted,
}

impl CacheOperation {
    /// The word for the operation.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            CacheOperation::Written => "written",
            CacheOperation::Created => "created",
            CacheOperation::Updated => "updated",
            CacheOperation::Deleted => "deleted",
        }
    }
}

/// Elements of one kind, and the operation on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KindChange {
    /// The label or the type.
    pub kind: String,
    /// The operation on the elements.
    pub operation: CacheOperation,
    /// The number of elements.
    pub count: u64,
    /// The lowest of their keys, if keys are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The highest of their keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Their keys, as many as are listed.
    pub keys: Vec<String>,
}

/// The changes of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct BatchChanges {
    /// The number of the checkpoint that includes the batch.
    pub sequence: u64,
    /// The time that the cache took for the batch, including its checkpoint.
    #[serde(skip)]
    pub took: Duration,
    /// The rows that were read for the batch, by label or type.
    #[serde(skip)]
    pub read: BTreeMap<String, u64>,
    /// The last transaction in the batch, if the transaction log told its changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<u64>,
    /// The time of that commit, by the source's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<DateTime<Utc>>,
    /// The changes by kind.
    pub kinds: Vec<KindChange>,
    /// Whether there are more keys than the listed ones.
    pub truncated: bool,
}

impl BatchChanges {
    /// Counts rows that were read.
    pub(crate) fn note_read(&mut self, kind: &str, rows: u64) {
        if rows > 0 {
            *self.read.entry(kind.to_owned()).or_default() += rows;
        }
    }

    /// Adds elements of a kind by their keys.
    pub(crate) fn note<'a>(&mut self, kind: &str, operation: CacheOperation, keys: impl IntoIterator<Item = &'a str>) {
        let room = self.kinds.iter().map(|change| change.keys.len()).sum::<usize>();
        let mut room = KEYS_TOLD.saturating_sub(room);
        let mut found: Option<KindChange> = None;
        let (mut first, mut last): (Option<&str>, Option<&str>) = (None, None);
        for key in keys {
            let change = found.get_or_insert_with(|| KindChange::new(kind, operation));
            change.count += 1;
            first = Some(first.map_or(key, |first| first.min(key)));
            last = Some(last.map_or(key, |last| last.max(key)));
            if room > 0 {
                change.keys.push(key.to_owned());
                room -= 1;
            } else {
                self.truncated = true;
            }
        }
        if let Some(mut change) = found {
            change.first = first.map(str::to_owned);
            change.last = last.map(str::to_owned);
            self.kinds.push(change);
        }
    }

    /// Adds elements of a kind if only their number and their last key are known.
    pub(crate) fn note_count(&mut self, kind: &str, count: u64, last: Option<&str>) {
        if count > 0 {
            let change = KindChange::new(kind, CacheOperation::Written);
            self.kinds.push(KindChange { count, last: last.map(str::to_owned), ..change });
        }
    }

    /// Whether nothing was read or changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.read.is_empty() && self.kinds.is_empty()
    }
}

impl KindChange {
    fn new(kind: &str, operation: CacheOperation) -> Self {
        Self { kind: kind.to_owned(), operation, count: 0, first: None, last: None, keys: Vec::new() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_by_kind_with_its_key_range() {
        let mut changes = BatchChanges::default();
        changes.note("Entity", CacheOperation::Written, ["b", "a", "c"]);
        changes.note("MENTIONS", CacheOperation::Deleted, ["m"]);
        changes.note("Saga", CacheOperation::Written, []);
        let told: Vec<_> = changes.kinds.iter().map(|change| (change.kind.as_str(), change.count)).collect();
        assert_eq!(told, [("Entity", 3), ("MENTIONS", 1)]);
        let entity = &changes.kinds[0];
        assert_eq!((entity.first.as_deref(), entity.last.as_deref()), (Some("a"), Some("c")));
        assert!(!changes.truncated);
    }

    #[test]
    fn keys_are_bounded_and_counts_are_not() {
        let keys: Vec<String> = (0..KEYS_TOLD + 5).map(|number| format!("{number:05}")).collect();
        let mut changes = BatchChanges::default();
        changes.note("Entity", CacheOperation::Written, keys.iter().map(String::as_str));
        changes.note("Saga", CacheOperation::Written, ["s"]);
        assert_eq!((changes.kinds[0].count, changes.kinds[0].keys.len()), (1005, KEYS_TOLD));
        assert_eq!((changes.kinds[0].last.as_deref(), changes.kinds[1].keys.len()), (Some("01004"), 0));
        assert!(changes.truncated);
    }
}
