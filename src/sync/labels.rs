//! Labels besides that of a node's kind: one whose count differs while the kinds' counts agree has the sets of its nodes compared.
//! A label that is put on a node or taken off it by itself leaves no other trace.

use std::collections::{BTreeMap, BTreeSet};

use super::bundles::has_many_kinds;
use super::follow::Keys;
use super::memory::Verdict;
use super::reader::Reader;
use super::sweep::{Gaps, find};
use super::{Changes, PassOutcome};
use crate::error::Result;
use crate::model::element::ElementKind;
use crate::model::name::Label;
use crate::model::profile::{NodeKindId, Profile};
use crate::repeat;
use crate::sink::CacheView;
use crate::source::Source;

/// Compares the counts of labels, and the nodes of those that differ at two readings in a row.
pub(super) async fn read(
    reader: &mut Reader<'_>,
    changes: &mut Changes<'_>,
    late: bool,
    outcome: &mut PassOutcome,
) -> Result<()> {
    let source = reader.source;
    let (here, there) = (repeat!(source.label_counts())?, repeat!(changes.view.label_counts())?);
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let count = |of: &BTreeMap<String, u64>, name: &String| of.get(name).copied().unwrap_or(0);
    let mut differing = Vec::new();
    for name in names {
        let Ok(label) = Label::parse(name) else { continue };
        if kinds_beside(reader.profile, &label).next().is_none() {
            continue;
        }
        match changes.memory.asks_for_labels(name, count(&here, name), count(&there, name), late) {
            Verdict::Sweep => differing.push(label),
            Verdict::LookAgain => outcome.look_again_soon = true,
            Verdict::Agrees => {}
        }
    }
    for label in differing {
        let found = compare(reader, changes, &label).await?;
        let (here, there) = (repeat!(source.label_counts())?, repeat!(changes.view.label_counts())?);
        let name = label.to_string();
        changes.memory.explain_label(&name, count(&here, &name), count(&there, &name), found);
    }
    Ok(())
}

/// The kinds whose nodes may carry a label that does not make their kind: those before its own, if it has one.
fn kinds_beside(profile: &Profile, label: &Label) -> impl Iterator<Item = NodeKindId> {
    let own = profile.node_kind(label);
    let before = own.map_or(profile.nodes.len(), |own| if profile.node(own).unlabelled { 0 } else { own.0 });
    profile.node_ids().take(before).filter(|id| !profile.node(*id).unlabelled)
}

/// The kinds whose nodes are compared: of many, those that do not have as many nodes with the label on both sides. Where none
/// differs by its number, all of them are.
async fn differing_kinds(
    source: &dyn Source,
    view: &mut dyn CacheView,
    profile: &Profile,
    label: &Label,
) -> Result<Vec<NodeKindId>> {
    let all: Vec<NodeKindId> = kinds_beside(profile, label).collect();
    if !has_many_kinds(profile) {
        return Ok(all);
    }
    let (here, there) = (repeat!(source.labels_beside(label))?, repeat!(view.labels_beside(label))?);
    let differs = |id: &NodeKindId| {
        let name = profile.node(*id).label.as_str();
        here.get(name).copied().unwrap_or(0) != there.get(name).copied().unwrap_or(0)
    };
    let differing: Vec<NodeKindId> = all.iter().copied().filter(differs).collect();
    Ok(if differing.is_empty() { all } else { differing })
}

/// Reads those nodes again of which only one side carries the label; whether there are any.
async fn compare(reader: &mut Reader<'_>, changes: &mut Changes<'_>, label: &Label) -> Result<bool> {
    let mut keys = Keys::new();
    for kind in differing_kinds(reader.source, changes.view, reader.profile, label).await?.into_iter().map(ElementKind::Node) {
        let Gaps { missing, orphaned, listed } = find(reader.source, changes.view, kind, Some(label)).await?;
        reader.keys_listed += listed;
        let found = missing.iter().chain(&orphaned).map(|identity| identity.key().as_str().to_owned());
        keys.entry(kind).or_default().extend(found);
    }
    let nodes: usize = keys.values().map(BTreeSet::len).sum();
    if nodes > 0 {
        tracing::info!(label = label.as_str(), nodes, "labels differ");
    }
    reader.repairs = true;
    reader.fetch(&keys).await?;
    reader.repairs = false;
    reader.emit.settle().await?;
    Ok(nodes > 0)
}
