//! Labels besides that of a node's kind. If the counts of such a label differ while the kinds' counts agree, the sets of its
//! nodes are compared: a label that is put on a node or taken off it by itself leaves no other trace.

use std::collections::{BTreeMap, BTreeSet};

use super::PassContext;
use super::cache_view::CacheView;
use super::keys::Keys;
use super::memory::CountVerdict;
use super::reader::PassReader;
use super::sweep::{KeySetDifference, find};
use crate::error::Result;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::name::Label;
use crate::model::pass_outcome::PassOutcome;
use crate::model::profile::Profile;
use crate::source::Source;

/// The most sets of nodes, of one kind and with one label each, that are compared without a look at which of them differ in
/// number.
const FEW_QUESTIONS: usize = 16;

/// Compares the counts of labels, and the nodes of labels that differ at two readings in a row.
pub(super) async fn read(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    late: bool,
    outcome: &mut PassOutcome,
) -> Result<()> {
    let source = reader.source;
    let (here, there) = (source.label_counts().await?, changes.view.label_counts().await?);
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let count = |of: &BTreeMap<String, u64>, name: &String| of.get(name).copied().unwrap_or(0);
    let mut differing = Vec::new();
    for name in names {
        let Ok(label) = Label::parse(name) else { continue };
        if kinds_beside(reader.profile, &label).next().is_none() {
            continue;
        }
        match changes.memory.asks_for_labels(name, count(&here, name), count(&there, name), late) {
            CountVerdict::Sweep => differing.push(label),
            CountVerdict::LookAgain => outcome.look_again_soon = true,
            CountVerdict::Agrees => {}
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    let mut mended = Vec::new();
    for (label, kinds) in to_compare(source, changes.view, reader.profile, differing).await? {
        let name = label.to_string();
        if compare(reader, changes, &label, &kinds).await? {
            mended.push(name);
        } else {
            // This reading explains no difference that comes after it.
            changes.memory.explain_label(&name, count(&here, &name), count(&there, &name), false);
        }
    }
    if mended.is_empty() {
        return Ok(());
    }
    let (here, there) = (source.label_counts().await?, changes.view.label_counts().await?);
    for name in mended {
        changes.memory.explain_label(&name, count(&here, &name), count(&there, &name), true);
    }
    Ok(())
}

/// Returns the kinds of nodes that may carry a label that does not make their kind: the kinds before its own, if it has one.
fn kinds_beside(profile: &Profile, label: &Label) -> impl Iterator<Item = NodeKindId> {
    let own = profile.node_kind(label);
    let before = own.map_or(profile.nodes.len(), |own| if profile.node(own).unlabelled { 0 } else { own.0 });
    profile.node_ids().take(before).filter(|id| !profile.node(*id).unlabelled)
}

/// Returns the node kinds to compare for each label. If that is too many queries, keeps only the kinds of which the two sides count
/// different numbers of nodes with the label: nodes of other programs may carry thousands of labels.
async fn to_compare(
    source: &dyn Source,
    view: &mut dyn CacheView,
    profile: &Profile,
    labels: Vec<Label>,
) -> Result<Vec<(Label, Vec<NodeKindId>)>> {
    let all: Vec<(Label, Vec<NodeKindId>)> = labels
        .into_iter()
        .map(|label| {
            let kinds = kinds_beside(profile, &label).collect();
            (label, kinds)
        })
        .collect();
    if all.iter().map(|(_, kinds)| kinds.len()).sum::<usize>() <= FEW_QUESTIONS {
        return Ok(all);
    }
    let by_kind = profile.nodes.len() < all.len();
    let mut of_kinds = BTreeMap::new();
    if by_kind {
        for id in profile.node_ids().filter(|id| !profile.node(*id).unlabelled) {
            of_kinds.insert(id, differing_beside(source, view, &profile.node(id).label).await?);
        }
    }
    let mut chosen = Vec::with_capacity(all.len());
    for (label, mut kinds) in all {
        if by_kind {
            kinds.retain(|id| of_kinds.get(id).is_some_and(|names| names.contains(label.as_str())));
        } else {
            let names = differing_beside(source, view, &label).await?;
            kinds.retain(|id| names.contains(profile.node(*id).label.as_str()));
        }
        chosen.push((label, kinds));
    }
    Ok(chosen)
}

/// Returns labels with different counts on the two sides, among the nodes that carry this label.
async fn differing_beside(source: &dyn Source, view: &mut dyn CacheView, label: &Label) -> Result<BTreeSet<String>> {
    let (here, there) = (source.labels_beside(label).await?, view.labels_beside(label).await?);
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    Ok(names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect())
}

/// Reads again the nodes that carry the label on one side only. Returns whether there are any.
async fn compare(
    reader: &mut PassReader<'_>,
    changes: &mut PassContext<'_>,
    label: &Label,
    kinds: &[NodeKindId],
) -> Result<bool> {
    let mut keys = Keys::new();
    for kind in kinds.iter().copied().map(ElementKind::Node) {
        let KeySetDifference { missing, orphaned, listed, .. } = find(reader.source, changes.view, kind, Some(label)).await?;
        reader.keys_listed += listed;
        let found = missing.iter().chain(&orphaned).map(|identity| identity.key().as_str().to_owned());
        keys.entry(kind).or_default().extend(found);
    }
    let nodes: usize = keys.values().map(BTreeSet::len).sum();
    if nodes == 0 {
        return Ok(false);
    }
    tracing::info!(label = label.as_str(), nodes, "labels differ");
    reader.repairs = true;
    reader.fetch(&keys).await?;
    reader.repairs = false;
    reader.emit.settle().await?;
    Ok(true)
}
