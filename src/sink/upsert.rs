//! Applies a batch: deletes, then nodes, then relationships, then the check of the result.
//!
//! Deletes come first: a node that changes its kind is deleted under the old identity and written under the new one, and both may
//! match the same node.

use std::collections::{BTreeMap, BTreeSet};

use super::applied::ApplyResult;
use super::connection::CacheConnection;
use super::fence::Ownership;
use super::graph_requests::{GraphRequests, RefusedRow, Write, WriteRequest};
use super::parameters::{requests, with_identities, with_keys, write_requests};
use super::reply;
use super::statements::{self, NodePattern, RelationshipPattern};
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::{NodeIdentity, RelationshipIdentity};
use crate::model::key::Key;
use crate::model::kind::KindName;
use crate::model::name::Label;
use crate::model::prepared::{NodeWriteSet, PreparedRows, RelationshipWriteSet};
use crate::model::profile::Profile;
use crate::model::quarantined::{QuarantineCause, Quarantined};

/// The reason for a relationship that is missing although both its endpoints exist.
const NOT_KEPT: &str = "FalkorDB accepted the row but did not keep it, although both of its nodes exist";

/// Applies a batch to a graph.
pub(super) async fn apply(
    connection: &mut CacheConnection,
    graph: &str,
    ownership: &Ownership,
    profile: &Profile,
    rows: &PreparedRows,
) -> Result<ApplyResult> {
    let mut batch = Batch { rounds: GraphRequests::new(connection, graph, ownership), profile, applied: ApplyResult::default() };
    batch.delete_relationships(&rows.deleted_relationships).await?;
    batch.delete_nodes(&rows.deleted_nodes).await?;
    batch.write_nodes(&rows.nodes).await?;
    batch.write_relationships(&rows.relationships).await?;
    Ok(batch.applied)
}

struct Batch<'a> {
    rounds: GraphRequests<'a>,
    profile: &'a Profile,
    applied: ApplyResult,
}

impl Batch<'_> {
    async fn delete_relationships(&mut self, deleted: &[RelationshipIdentity]) -> Result<()> {
        let mut groups: BTreeMap<RelationshipPattern, Vec<&RelationshipIdentity>> = BTreeMap::new();
        for identity in deleted {
            let pattern = RelationshipPattern::identified(self.profile, identity).ok_or_else(|| unknown(&identity.rel_type))?;
            groups.entry(pattern).or_default().push(identity);
        }
        let requests = groups.iter().flat_map(|(pattern, identities)| {
            let statement = statements::delete_relationships(pattern);
            write_requests(identity_sizes(identities)).into_iter().map(move |range| {
                let (rows, numbered) = (range.len(), range.clone().zip(identities[range].iter().copied()));
                WriteRequest { text: with_identities(numbered, &statement), rows }
            })
        });
        self.run_deletes("delete relationships", requests.collect()).await
    }

    async fn delete_nodes(&mut self, deleted: &[NodeIdentity]) -> Result<()> {
        let mut groups: BTreeMap<NodePattern, Vec<&Key>> = BTreeMap::new();
        for identity in deleted {
            let pattern = NodePattern::identified(self.profile, identity).ok_or_else(|| unknown(&identity.label))?;
            groups.entry(pattern).or_default().push(&identity.key);
        }
        let requests = groups.iter().flat_map(|(pattern, keys)| key_writes(keys, &statements::delete_nodes(pattern)));
        self.run_deletes("delete nodes", requests.collect()).await
    }

    async fn run_deletes(&mut self, doing: &str, requests: Vec<WriteRequest>) -> Result<()> {
        for answer in self.rounds.run(doing, requests).await? {
            self.applied.nodes_deleted += reply::statistic(&answer, "Nodes deleted");
            self.applied.relationships_deleted += reply::statistic(&answer, "Relationships deleted");
        }
        Ok(())
    }

    async fn write_nodes(&mut self, groups: &[NodeWriteSet]) -> Result<()> {
        let patterns: Vec<NodePattern> =
            groups.iter().map(|group| NodePattern::of(self.profile, &group.label, &group.key)).collect();
        let writes: Vec<Write<'_>> = groups
            .iter()
            .zip(&patterns)
            .map(|(group, pattern)| Write { statement: statements::upsert_nodes(pattern, group), rows: &group.rows })
            .collect();
        let refusals = self.rounds.write("write nodes", &writes).await?;
        self.applied.nodes_written += written(&writes, &refusals);
        for refusal in &refusals {
            let group = &groups[refusal.write];
            self.refuse(KindName::Label(group.label.as_str()), &group.rows.identities()[refusal.row], &refusal.reason);
        }
        let refused = refused_rows(&refusals);
        let kept: Vec<AcceptedNodes<'_>> = groups
            .iter()
            .zip(patterns)
            .enumerate()
            .map(|(write, (group, pattern))| AcceptedNodes {
                group,
                pattern,
                keys: rows_but(group.rows.identities(), write, &refused),
            })
            .collect();
        self.remove_surplus_labels(&kept).await
    }

    /// Removes labels that nodes of the cache carry but the source's no longer do: a write only ever adds labels.
    async fn remove_surplus_labels(&mut self, kept: &[AcceptedNodes<'_>]) -> Result<()> {
        let mut asked = Vec::new();
        let mut texts = Vec::new();
        for (place, group) in kept.iter().enumerate() {
            let statement = statements::surplus_labels(&group.pattern, group.group.extra_labels.len() + 1);
            let requests = key_requests(&group.keys, &statement);
            asked.extend(std::iter::repeat_n(place, requests.len()));
            texts.extend(requests);
        }
        let mut removals = Vec::new();
        for (place, answer) in asked.into_iter().zip(self.rounds.read("find labels to remove", texts).await?) {
            for (label, keys) in kept[place].surplus(reply::rows(answer)?)? {
                removals.extend(key_writes(
                    &keys.iter().collect::<Vec<_>>(),
                    &statements::remove_label(&kept[place].pattern, &label),
                ));
            }
        }
        for answer in self.rounds.run("remove labels", removals).await? {
            self.applied.labels_removed += reply::statistic(&answer, "Labels removed");
        }
        Ok(())
    }

    async fn write_relationships(&mut self, groups: &[RelationshipWriteSet]) -> Result<()> {
        let patterns: Vec<RelationshipPattern> =
            groups.iter().map(|group| RelationshipPattern::of(self.profile, group)).collect();
        let writes: Vec<Write<'_>> = groups
            .iter()
            .zip(&patterns)
            .map(|(group, pattern)| Write { statement: statements::upsert_relationships(pattern, group), rows: &group.rows })
            .collect();
        let refusals = self.rounds.write("write relationships", &writes).await?;
        self.applied.relationships_written += written(&writes, &refusals);
        for refusal in &refusals {
            let group = &groups[refusal.write];
            self.refuse(KindName::Type(group.rel_type.as_str()), &group.rows.identities()[refusal.row].key, &refusal.reason);
        }
        let refused = refused_rows(&refusals);
        for (write, (group, pattern)) in groups.iter().zip(&patterns).enumerate() {
            let identities = rows_but(group.rows.identities(), write, &refused);
            self.account(pattern, &identities).await?;
        }
        Ok(())
    }

    /// Looks for each relationship, and separates those with an absent endpoint from those that exist.
    async fn account(&mut self, pattern: &RelationshipPattern, identities: &[&RelationshipIdentity]) -> Result<()> {
        let missing = self.missing(pattern, identities).await?;
        if missing.is_empty() {
            return Ok(());
        }
        self.applied.relationships_written -= missing.len() as u64;
        let starts: BTreeSet<&Key> = missing.iter().map(|identity| &identity.start.key).collect();
        let ends: BTreeSet<&Key> = missing.iter().map(|identity| &identity.end.key).collect();
        let absent_starts = self.absent_nodes(&pattern.start, starts).await?;
        let absent_ends = self.absent_nodes(&pattern.end, ends).await?;
        for identity in missing {
            if absent_starts.contains(identity.start.key.as_str()) || absent_ends.contains(identity.end.key.as_str()) {
                self.applied.absent_endpoints.push(identity.clone());
            } else {
                self.refuse(KindName::Type(identity.rel_type.as_str()), &identity.key, NOT_KEPT);
            }
        }
        Ok(())
    }

    async fn missing<'i>(
        &mut self,
        pattern: &RelationshipPattern,
        identities: &[&'i RelationshipIdentity],
    ) -> Result<Vec<&'i RelationshipIdentity>> {
        let statement = statements::absent_relationships(pattern);
        let texts = requests(identity_sizes(identities))
            .into_iter()
            .map(|range| with_identities(range.clone().zip(identities[range].iter().copied()), &statement))
            .collect();
        let mut missing = Vec::new();
        for answer in self.rounds.read("find the relationships that were written", texts).await? {
            for row in reply::rows(answer)? {
                let number = reply::integer(reply::cell(&row, 0)?)?;
                let identity = usize::try_from(number).ok().and_then(|index| identities.get(index));
                missing.push(*identity.ok_or_else(|| reply::unexpected("a row's number"))?);
            }
        }
        Ok(missing)
    }

    async fn absent_nodes(&mut self, pattern: &NodePattern, keys: BTreeSet<&Key>) -> Result<BTreeSet<String>> {
        let keys: Vec<&Key> = keys.into_iter().collect();
        let texts = key_requests(&keys, &statements::absent_nodes(pattern));
        let mut absent = BTreeSet::new();
        for answer in self.rounds.read("find the nodes of relationships", texts).await? {
            for row in reply::rows(answer)? {
                absent.insert(reply::text(reply::cell(&row, 0)?)?);
            }
        }
        Ok(absent)
    }

    fn refuse(&mut self, kind: KindName<'_>, key: &Key, reason: &str) {
        self.applied.refused.push(Quarantined::new(kind, key.to_string(), None, reason).because_of(QuarantineCause::Cache));
    }
}

/// The nodes of a group that were not refused.
struct AcceptedNodes<'a> {
    group: &'a NodeWriteSet,
    pattern: NodePattern,
    keys: Vec<&'a Key>,
}

impl AcceptedNodes<'_> {
    /// Surplus labels, each with the keys of its nodes, from rows of key and label.
    fn surplus(&self, rows: Vec<Vec<redis::Value>>) -> Result<BTreeMap<Label, Vec<Key>>> {
        let mut surplus: BTreeMap<Label, Vec<Key>> = BTreeMap::new();
        for row in rows {
            let (key, label) = (reply::text(reply::cell(&row, 0)?)?, reply::text(reply::cell(&row, 1)?)?);
            // A query cannot name what our own types refuse either, and we did not write it.
            let (Ok(key), Ok(label)) = (Key::parse(&key), Label::parse(&label)) else { continue };
            if label != self.group.label && !self.group.extra_labels.contains(&label) {
                surplus.entry(label).or_default().push(key);
            }
        }
        Ok(surplus)
    }
}

fn written(writes: &[Write<'_>], refusals: &[RefusedRow]) -> u64 {
    let rows: usize = writes.iter().map(|write| write.rows.len()).sum();
    (rows - refusals.len()) as u64
}

fn refused_rows(refusals: &[RefusedRow]) -> BTreeSet<(usize, usize)> {
    refusals.iter().map(|refusal| (refusal.write, refusal.row)).collect()
}

fn rows_but<'a, I>(identities: &'a [I], write: usize, refused: &BTreeSet<(usize, usize)>) -> Vec<&'a I> {
    identities.iter().enumerate().filter(|(row, _)| !refused.contains(&(write, *row))).map(|(_, identity)| identity).collect()
}

fn key_requests(keys: &[&Key], statement: &str) -> Vec<Vec<u8>> {
    let ranges = requests(keys.iter().map(|key| key.as_str().len()));
    ranges.into_iter().map(|range| with_keys(keys[range].iter().copied(), statement)).collect()
}

/// As [`key_requests`], for a statement that writes.
fn key_writes(keys: &[&Key], statement: &str) -> Vec<WriteRequest> {
    let ranges = write_requests(keys.iter().map(|key| key.as_str().len()));
    let request = |range: std::ops::Range<usize>| WriteRequest {
        rows: range.len(),
        text: with_keys(keys[range].iter().copied(), statement),
    };
    ranges.into_iter().map(request).collect()
}

fn identity_sizes(identities: &[&RelationshipIdentity]) -> impl Iterator<Item = usize> {
    let size = |key: &Key| key.as_str().len();
    identities.iter().map(move |identity| size(&identity.key) + size(&identity.start.key) + size(&identity.end.key))
}

fn unknown(name: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Configuration, format!("a delete names {name}, which is not in the profile"))
}
