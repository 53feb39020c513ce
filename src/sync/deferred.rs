//! The end of a pass: relationships that lacked an endpoint in the cache are read again, endpoints first.
//!
//! Each query sees what is committed in Neo4j at that moment, so a pass can read a relationship with an endpoint that was
//! committed after the endpoint's kind had been read.

use std::collections::{BTreeMap, BTreeSet};

use super::PassContext;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::batch::{BatchContent, PassEnd};
use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::kind::ElementKind;
use crate::model::name::Label;
use crate::model::pass::{PassMode, PassUnderWay};
use crate::model::pass_outcome::PassOutcome;
use crate::source::Source;

/// Rounds of reading again. One is enough unless endpoints come and go meanwhile. A relationship that is absent after the last
/// round has an endpoint that the cache cannot hold.
const ROUNDS: usize = 3;

pub(super) async fn finish(
    reader: &mut PassReader<'_>,
    pass: &PassUnderWay,
    mut deferred: BTreeSet<RelationshipIdentity>,
    mut outcome: PassOutcome,
    changes: &mut PassContext<'_>,
) -> Result<PassOutcome> {
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
        PassMode::Full => {
            let source = reader.source;
            Some(source.outside_profile().await?)
        }
        PassMode::Incremental | PassMode::Differential => None,
    };
    reader.note_lacking(&deferred);
    let is_overtaken = is_overtaken(reader.source, pass);
    let unresolved = deferred.into_iter().collect();
    let memory = &mut *changes.memory;
    // A pass that probes finds them by its counts.
    if reader.emit.take_forgotten() && reader.is_told && is_overtaken {
        // It is no longer known which relationships lacked an end that is there by now.
        outcome.look_again_soon = true;
        memory.note_forgotten();
    }
    outcome.is_overtaken = reader.is_told && is_overtaken;
    if reader.has_sent_nodes && (pass.mode == PassMode::Differential || outcome.is_overtaken) {
        // What was mended may be a change that the feed is about to tell: the pass that is told of it must not conclude from the cache
        // that the node has not moved.
        memory.note_forgotten();
    }
    if pass.mode != PassMode::Full {
        memory.note_doubtful(std::mem::take(&mut reader.unkept), pass.mode, is_overtaken);
    }
    memory.note_duplicates(std::mem::take(&mut reader.duplicates));
    let (guard, comparison) = (memory.guard.clone(), memory.comparison().cloned());
    let duplicates = memory.duplicates(reader.profile);
    let position = changes.committed.map(|committed| committed.position.clone());
    let keys_listed = reader.keys_listed;
    let end =
        PassEnd { unresolved, outside_profile, keys_listed, outcome: outcome.clone(), guard, duplicates, comparison, position };
    reader.emit.emit(BatchContent::End(Box::new(end)), 0).await?;
    reader.emit.settle().await?;
    Ok(outcome)
}

/// Whether rows that a pass has read may be of a later commit than the pass was for.
fn is_overtaken(source: &dyn Source, pass: &PassUnderWay) -> bool {
    let newest = source.newest_commit();
    newest.zip(pass.bookmark.as_ref()).is_none_or(|(newest, bookmark)| !bookmark.includes(&newest))
}

impl PassReader<'_> {
    /// Waits until everything is applied, including relationships that came before their endpoints. Relationships that still lack
    /// an endpoint are kept for the end of the pass, which lists them.
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
                self.read_around(ElementKind::Node(kind), keys).await?;
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

    /// Remembers relationships that lacked an end to the last: the end may have been a different one at each reading.
    fn note_lacking(&mut self, deferred: &BTreeSet<RelationshipIdentity>) {
        for identity in deferred {
            if let Some(kind) = self.profile.relationship_kind(&identity.rel_type) {
                let keys = self.unkept.entry(ElementKind::Relationship(kind)).or_default();
                keys.insert(identity.key.as_str().to_owned());
            }
        }
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
