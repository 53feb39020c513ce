//! The end of a pass: reads relationships again that lacked an endpoint in the cache, endpoints first.
//!
//! Neo4j shows each query what is committed at that moment, so a relationship can be read whose endpoint was committed after
//! its kind had been read.

use std::collections::{BTreeMap, BTreeSet};

use super::PassContext;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::batch::{BatchContent, PassEnd};
use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::kind::ElementKind;
use crate::model::name::Label;
use crate::model::pass::{Mode, PassUnderWay};
use crate::model::pass_outcome::PassOutcome;

/// Rounds of reading again. One suffices unless endpoints come and go meanwhile; what is absent after the last round has an
/// endpoint that the cache cannot hold.
const ROUNDS: usize = 3;

pub(super) async fn finish(
    reader: &mut PassReader<'_>,
    pass: &PassUnderWay,
    mut deferred: BTreeSet<RelationshipIdentity>,
    outcome: PassOutcome,
    changes: &mut PassContext<'_>,
) -> Result<()> {
    deferred.extend(reader.emit.settle().await?);
    deferred.append(&mut reader.unresolved);
    for _ in 0..ROUNDS {
        if deferred.is_empty() {
            break;
        }
        reader.read_again(&deferred).await?;
        deferred = reader.emit.settle().await?;
    }
    let outside_profile = match pass.mode {
        Mode::Full => {
            let source = reader.source;
            Some(source.outside_profile().await?)
        }
        Mode::Incremental | Mode::Differential => None,
    };
    let unresolved = deferred.into_iter().collect();
    let memory = &mut *changes.memory;
    memory.note_duplicates(std::mem::take(&mut reader.duplicates));
    let (guard, comparison) = (memory.guard.clone(), memory.comparison().cloned());
    let duplicates = memory.duplicates(reader.profile);
    let position = changes.committed.map(|committed| committed.position.clone());
    let keys_listed = reader.keys_listed;
    let end = PassEnd { unresolved, outside_profile, keys_listed, outcome, guard, duplicates, comparison, position };
    reader.emit.emit(BatchContent::End(Box::new(end)), 0).await?;
    reader.emit.settle().await.map(drop)
}

impl PassReader<'_> {
    /// Waits until everything is applied, also relationships with endpoints that came after them. Those that still lack one are kept
    /// for the end of the pass, which lists them.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let deferred = self.emit.settle().await?;
        self.read_again(&deferred).await?;
        let left = self.emit.settle().await?;
        self.unresolved.extend(left);
        Ok(())
    }

    async fn read_again(&mut self, deferred: &BTreeSet<RelationshipIdentity>) -> Result<()> {
        let profile = self.profile;
        let endpoints = endpoints_by_label(deferred);
        for kind in profile.node_ids() {
            if let Some(keys) = endpoints.get(&profile.node(kind).label) {
                self.fetch_kind(ElementKind::Node(kind), keys).await?;
            }
        }
        for kind in profile.relationship_ids() {
            let rel_type = &profile.relationship(kind).rel_type;
            let keys: BTreeSet<&str> = deferred.iter().filter(|d| d.rel_type == *rel_type).map(|d| d.key.as_str()).collect();
            let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
            self.fetch_kind(ElementKind::Relationship(kind), &keys).await?;
        }
        Ok(())
    }
}

fn endpoints_by_label(deferred: &BTreeSet<RelationshipIdentity>) -> BTreeMap<&Label, Vec<String>> {
    let nodes: BTreeSet<&NodeIdentity> = deferred.iter().flat_map(|d| [&d.start, &d.end]).collect();
    let mut by_label: BTreeMap<&Label, Vec<String>> = BTreeMap::new();
    for node in nodes {
        by_label.entry(&node.label).or_default().push(node.key.as_str().to_owned());
    }
    by_label
}
