//! The full pass: everything, kind by kind, in the order of the key, so that it can go on after any batch.

use std::collections::BTreeMap;

use super::bundles::bundled;
use super::reader::{Reader, StepKind};
use crate::error::Result;
use crate::model::detail::Detail;
use crate::model::kind::{ElementKind, NodeKindId, RelationshipKindId, Step};
use crate::model::pass::PassUnderWay;
use crate::model::profile::Profile;
use crate::repeat;
use crate::source::Source;

/// Rows without a usable key that are looked at of each kind: enough to show what is wrong, and bounded.
const UNREACHABLE_LIMIT: usize = 1000;

pub(super) async fn read(reader: &mut Reader<'_>, pass: &PassUnderWay) -> Result<()> {
    reader.begin(pass).await?;
    let steps = reader.steps_left(pass.cursor.as_ref());
    let counts = counts(reader.source, reader.profile).await?;
    let mut place = 0;
    while let Some((step, after)) = steps.get(place) {
        // A kind that is read in part already has a question of its own.
        let untouched = steps[place..].iter().take_while(|(_, after)| after.is_empty());
        let counted = untouched.map(|(step, _)| (step.kind(), counts.get(&step.kind()).copied().unwrap_or(u64::MAX)));
        let number = bundled(reader.profile, counted);
        let together: Vec<StepKind> = steps[place..place + number].iter().map(|(step, _)| step.clone()).collect();
        if number > 0 && reader.read_bundle(&together).await? {
            place += number;
            continue;
        }
        match step {
            StepKind::Nodes(kind, step) => read_nodes(reader, *kind, step, after.clone()).await?,
            StepKind::Relationships(kind, step) => read_relationships(reader, *kind, step, after.clone()).await?,
        }
        place += 1;
    }
    read_unreachable(reader).await
}

/// How many elements of each kind there are, where that decides how they are read.
async fn counts(source: &dyn Source, profile: &Profile) -> Result<BTreeMap<ElementKind, u64>> {
    if !profile.has_many_kinds() {
        return Ok(BTreeMap::new());
    }
    Ok(profile.kinds().into_iter().zip(repeat!(source.counts())?).collect())
}

/// The next page is read while the last one goes out, so that the source is never idle: both have to have room.
async fn read_nodes(reader: &mut Reader<'_>, kind: NodeKindId, step: &Step, after: String) -> Result<()> {
    let (source, limit) = (reader.source, reader.limits.nodes);
    reader.emit.reserve(limit).await?;
    let mut page = repeat!(source.node_page(kind, Detail::Whole, &after, limit))?;
    while let Some(after) = page.next.take() {
        reader.emit.reserve(2 * limit).await?;
        let next = async { repeat!(source.node_page(kind, Detail::Whole, &after, limit)) };
        let emitted = reader.emit_nodes(kind, std::mem::take(&mut page.rows), Some(step));
        (page, ()) = tokio::try_join!(next, emitted)?;
    }
    reader.emit_nodes(kind, page.rows, Some(step)).await
}

/// As [`read_nodes`].
async fn read_relationships(reader: &mut Reader<'_>, kind: RelationshipKindId, step: &Step, after: String) -> Result<()> {
    let (source, limit) = (reader.source, reader.limits.relationships);
    reader.emit.reserve(limit).await?;
    let mut page = repeat!(source.relationship_page(kind, Detail::Whole, &after, limit))?;
    while let Some(after) = page.next.take() {
        reader.emit.reserve(2 * limit).await?;
        let next = async { repeat!(source.relationship_page(kind, Detail::Whole, &after, limit)) };
        let emitted = reader.emit_relationships(kind, std::mem::take(&mut page.rows), Some(step));
        (page, ()) = tokio::try_join!(next, emitted)?;
    }
    reader.emit_relationships(kind, page.rows, Some(step)).await
}

/// Rows that no page reaches go out as they are: the transformer says why each of them cannot be kept.
async fn read_unreachable(reader: &mut Reader<'_>) -> Result<()> {
    let source = reader.source;
    for kind in reader.profile.node_ids() {
        reader.emit.reserve(UNREACHABLE_LIMIT).await?;
        let rows = repeat!(source.nodes_without_key(kind, UNREACHABLE_LIMIT))?;
        reader.emit_nodes(kind, rows, None).await?;
    }
    for kind in reader.profile.relationship_ids() {
        reader.emit.reserve(UNREACHABLE_LIMIT).await?;
        let rows = repeat!(source.relationships_without_key(kind, UNREACHABLE_LIMIT))?;
        reader.emit_relationships(kind, rows, None).await?;
    }
    Ok(())
}
