//! Changed elements that are in the quarantine.

use super::CommittedPass;
use crate::error::Result;
use crate::model::committed::{ChangeSet, CommittedChanges};
use crate::model::element::ElementNumber;
use crate::model::kind::ElementKind;
use crate::model::quarantined::{id_in_name, name_by_id};
use crate::sync::unusable;

impl CommittedPass<'_, '_, '_> {
    /// Looks again at changed elements that are listed as unusable.
    pub(super) async fn review(&mut self, committed: &CommittedChanges) -> Result<()> {
        if self.reader.excluded.is_empty() {
            return Ok(());
        }
        self.review_nodes(&committed.nodes).await?;
        for (kind, listed) in self.listed(false, &committed.relationships) {
            unusable::recheck(self.reader, kind, listed).await?;
        }
        unusable::follow_freed(self.reader, self.changes.memory).await?;
        self.reader.settle().await
    }

    /// Another node may have a listed key from now on, and no step has looked at its relationships.
    async fn review_nodes(&mut self, changed: &ChangeSet) -> Result<()> {
        let mut before = self.listed(true, changed);
        before.retain(|(_, listed)| !listed.is_empty());
        if before.is_empty() {
            return Ok(());
        }
        for (kind, listed) in &before {
            unusable::recheck(self.reader, *kind, listed.clone()).await?;
        }
        self.reader.settle().await?;
        for (kind, mut freed) in before {
            let name = self.reader.profile.name_of(kind);
            freed.retain(|key| id_in_name(key).is_none() && !self.reader.excluded.contains(name, key));
            self.surrounded.extend(self.reader.numbers_of(kind, &freed).await?);
        }
        self.read_surroundings().await
    }

    /// Returns the listed names among these changed elements and among their old texts.
    fn listed(&self, of_nodes: bool, changed: &ChangeSet) -> Vec<(ElementKind, Vec<String>)> {
        let by_number = changed.elements.iter().map(|(number, _)| name_by_id(ElementNumber(number)));
        let names: Vec<String> = by_number.chain(changed.old_texts.values().flatten().cloned()).collect();
        let of_kind = |kind| {
            let name = self.reader.profile.name_of(kind);
            (kind, names.iter().filter(|text| self.reader.excluded.contains(name, text)).cloned().collect())
        };
        self.kinds(of_nodes).map(of_kind).collect()
    }
}
