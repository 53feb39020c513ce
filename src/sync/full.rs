//! The full pass: reads everything, kind by kind, in the order of the key, so that it can resume after any batch.

use std::collections::BTreeMap;

use super::bundles::bundled;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::kind::ElementKind;
use crate::model::pass::PassUnderWay;
use crate::model::profile::Profile;
use crate::model::projection::Projection;
use crate::source::{Page, Source};

/// Rows without a usable key that are read of each kind: enough to show what is wrong, and bounded.
const UNREACHABLE_LIMIT: usize = 1000;

pub(super) async fn read(reader: &mut PassReader<'_>, pass: &PassUnderWay) -> Result<()> {
    reader.begin(pass).await?;
    let kinds = reader.kinds_left(pass.cursor.as_ref());
    let counts = counts(reader.source, reader.profile).await?;
    let mut place = 0;
    while let Some((kind, after)) = kinds.get(place) {
        // A kind that was already read in part has a query of its own.
        let untouched = kinds[place..].iter().take_while(|(_, after)| after.is_empty());
        let counted = untouched.map(|(kind, _)| (*kind, counts.get(kind).copied().unwrap_or(u64::MAX)));
        let number = bundled(reader.profile, counted);
        let together: Vec<ElementKind> = kinds[place..place + number].iter().map(|(kind, _)| *kind).collect();
        if number > 0 && reader.read_bundle(&together).await? {
            place += number;
            continue;
        }
        read_kind(reader, *kind, after.clone()).await?;
        place += 1;
    }
    read_unreachable(reader).await
}

/// Counts the elements of each kind, if the counts decide how they are read.
async fn counts(source: &dyn Source, profile: &Profile) -> Result<BTreeMap<ElementKind, u64>> {
    if !profile.has_many_kinds() {
        return Ok(BTreeMap::new());
    }
    Ok(profile.kinds().into_iter().zip(source.counts().await?).collect())
}

/// Reads the next page while the last one is sent, so that the source is never idle. There must be room for both pages.
async fn read_kind(reader: &mut PassReader<'_>, kind: ElementKind, after: String) -> Result<()> {
    let source = reader.source;
    let limit = if kind.is_node() { reader.limits.nodes } else { reader.limits.relationships };
    reader.emit.reserve(limit).await?;
    let Page { mut rows, mut next } = source.page(kind, Projection::Whole, &after, limit).await?;
    while let Some(after) = next {
        reader.emit.reserve(2 * limit).await?;
        let (page, ()) = tokio::try_join!(source.page(kind, Projection::Whole, &after, limit), reader.emit_page(rows))?;
        Page { rows, next } = page;
    }
    reader.emit_page(rows).await
}

/// Sends rows that no page reaches as they are: the transformer says why each of them cannot be kept.
async fn read_unreachable(reader: &mut PassReader<'_>) -> Result<()> {
    for kind in reader.profile.kinds() {
        reader.emit.reserve(UNREACHABLE_LIMIT).await?;
        let rows = reader.source.without_key(kind, UNREACHABLE_LIMIT).await?;
        reader.emit_rows(rows).await?;
    }
    Ok(())
}
