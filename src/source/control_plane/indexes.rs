//! The indices of the source.

use super::Questions;
use super::rows::Index;
use crate::error::Result;
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::source::columns::lacking;
use crate::source::{SourceIndex, SourceIndexKind, queries};

impl Questions<'_> {
    /// All indices but those that every database has.
    pub(super) async fn indexes(&self) -> Result<Vec<SourceIndex>> {
        const DOING: &str = "indices";
        let rows: Vec<Index> = self.rows(DOING, queries::INDEXES).await?;
        rows.into_iter().map(|row| row.into_source_index().ok_or_else(|| lacking(DOING))).collect()
    }

    /// The same, each range index with the properties that are text in the cache: by the index itself, so that no element is read.
    pub(in crate::source) async fn indexes_with_texts(&self) -> Result<Vec<SourceIndex>> {
        let mut indexes = self.indexes().await?;
        for index in indexes.iter_mut().filter(|index| index.kind == SourceIndexKind::Range) {
            let mut texts = Vec::new();
            for property in &index.properties {
                if self.is_text(index, property).await? {
                    texts.push(property.clone());
                }
            }
            index.texts = texts;
        }
        Ok(indexes)
    }

    async fn is_text(&self, index: &SourceIndex, property: &str) -> Result<bool> {
        // What the cache cannot name gets no index there.
        let Ok(property) = PropertyName::parse(property) else { return Ok(true) };
        for name in &index.on {
            let pattern = if index.of_nodes {
                Label::parse(name).map(|label| format!("(x:{})", label.quoted()))
            } else {
                RelationshipType::parse(name).map(|rel_type| format!("()-[x:{}]->()", rel_type.quoted()))
            };
            let Ok(pattern) = pattern else { continue };
            if self.exists("texts of an index", &queries::becomes_text(&pattern, &property)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
