//! The incremental pass by watermark: keys of rows whose timestamps say that they were written since the last pass began, and
//! then those rows as they are now.

use chrono::{DateTime, TimeDelta, Utc};

use super::reader::{Reader, StepKind};
use crate::error::Result;
use crate::model::pass::{PassUnderWay, Step};
use crate::model::profile::{NodeKindId, RelationshipKindId};
use crate::repeat;

/// Clocks of the source's writers and of the source may differ a little.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// Keys read at once: a key is some 40 bytes, so a page of them is small beside a batch of rows.
const KEY_PAGE: usize = 10_000;

pub(super) async fn read(reader: &mut Reader<'_>, pass: &PassUnderWay, watermark: Option<DateTime<Utc>>) -> Result<()> {
    reader.begin(pass).await?;
    let since = watermark.unwrap_or(DateTime::UNIX_EPOCH) - CLOCK_TOLERANCE;
    for (step, after) in reader.steps_left(pass.cursor.as_ref()) {
        match step {
            StepKind::Nodes(kind, step) => read_nodes(reader, kind, &step, since, after).await?,
            StepKind::Relationships(kind, step) => read_relationships(reader, kind, &step, since, after).await?,
        }
    }
    Ok(())
}

async fn read_nodes(reader: &mut Reader<'_>, kind: NodeKindId, step: &Step, since: DateTime<Utc>, after: String) -> Result<()> {
    if reader.profile.node(kind).timestamps.is_empty() {
        return Ok(());
    }
    let mut next = Some(after);
    while let Some(after) = next {
        let source = reader.source;
        let page = repeat!(source.changed_node_keys(kind, since, &after, KEY_PAGE))?;
        reader.fetch_nodes(kind, &page.keys, Some(step)).await?;
        next = page.next;
    }
    Ok(())
}

async fn read_relationships(
    reader: &mut Reader<'_>,
    kind: RelationshipKindId,
    step: &Step,
    since: DateTime<Utc>,
    after: String,
) -> Result<()> {
    if reader.profile.relationship(kind).timestamps.is_empty() {
        return Ok(());
    }
    let mut next = Some(after);
    while let Some(after) = next {
        let source = reader.source;
        let page = repeat!(source.changed_relationship_keys(kind, since, &after, KEY_PAGE))?;
        reader.fetch_relationships(kind, &page.keys, Some(step)).await?;
        next = page.next;
    }
    Ok(())
}
