//! Labels besides those of the kinds: one whose count differs while the kinds' counts agree has the sets of its nodes compared.
//! A label that is put on a node or taken off it by itself leaves no other trace.

use std::collections::{BTreeMap, BTreeSet};

use super::follow::Keys;
use super::memory::Verdict;
use super::reader::Reader;
use super::sweep::{Gaps, find};
use super::{Changes, PassOutcome};
use crate::error::Result;
use crate::model::element::ElementKind;
use crate::model::name::Label;
use crate::repeat;

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
        if reader.profile.node_kind(&label).is_some() {
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

/// Reads those nodes again of which only one side carries the label; whether there are any.
async fn compare(reader: &mut Reader<'_>, changes: &mut Changes<'_>, label: &Label) -> Result<bool> {
    let mut keys = Keys::new();
    for kind in reader.profile.node_ids().map(ElementKind::Node) {
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
