//! The indices of the source, and the types of values that they show.

use std::collections::BTreeSet;

use super::Questions;
use super::rows::{Index, SeekHit};
use crate::error::Result;
use crate::model::name::PropertyName;
use crate::source::columns::lacking;
use crate::source::new_kinds::target;
use crate::source::queries::SeekTarget;
use crate::source::{SourceIndex, SourceIndexKind, queries};

/// The approximate number of properties in one question: a server that has just started plans each question in a second or more.
const PROPERTIES_AT_ONCE: usize = 20;

impl Questions<'_> {
    /// Reads all indices except those that every database has.
    pub(in crate::source) async fn indexes(&self) -> Result<Vec<SourceIndex>> {
        const DOING: &str = "indices";
        let rows: Vec<Index> = self.rows(DOING, queries::server::INDEXES).await?;
        rows.into_iter().map(|row| row.into_source_index().ok_or_else(|| lacking(DOING))).collect()
    }

    /// As [`Self::indexes`], and each range index lists the properties that are text in the cache. The index itself answers, so
    /// no element is read.
    pub(in crate::source) async fn indexes_with_texts(&self) -> Result<Vec<SourceIndex>> {
        let mut indexes = self.indexes().await?;
        let (mut asked, mut of) = (Vec::new(), Vec::new());
        for (number, index) in indexes.iter_mut().enumerate().filter(|(_, index)| index.kind == SourceIndexKind::Range) {
            // A property that the cache cannot name gets no index there.
            index.texts.retain(|name| PropertyName::parse(name).is_err());
            for (property, indexed) in indexed(index) {
                asked.push(indexed);
                of.push((number, property));
            }
        }
        for place in self.having("indexed properties that hold text", &asked, queries::with_texts).await? {
            let Some((number, property)) = of.get(place) else { continue };
            if let Some(index) = indexes.get_mut(*number).filter(|index| !index.texts.contains(property)) {
                index.texts.push(property.clone());
            }
        }
        Ok(indexes)
    }

    /// Returns the places of the targets that have a value of the kind that the text asks for.
    pub(super) async fn having(
        &self,
        doing: &str,
        indexed: &[SeekTarget],
        text: impl Fn(&[SeekTarget]) -> String,
    ) -> Result<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        for (number, part) in indexed.chunks(PROPERTIES_AT_ONCE).enumerate() {
            let rows: Vec<SeekHit> = self.rows(doing, &text(part)).await?;
            found.extend(rows.into_iter().map(|row| number * PROPERTIES_AT_ONCE + row.place));
        }
        Ok(found)
    }
}

/// Pairs each property of an index with each of its labels or types, if the cache can name both.
fn indexed(index: &SourceIndex) -> Vec<(String, SeekTarget)> {
    let targets: Vec<_> = index.on.iter().filter_map(|name| target(index.of_nodes, name)).collect();
    let names = index.properties.iter().filter_map(|name| PropertyName::parse(name).ok());
    let on_each = |name: PropertyName| {
        let one = |on| (name.to_string(), SeekTarget::new(on, &name));
        targets.iter().map(one).collect::<Vec<_>>()
    };
    names.flat_map(on_each).collect()
}
