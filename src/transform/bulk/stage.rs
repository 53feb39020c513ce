//! Encodes a whole full pass for a stage, and knows the id that each node gets there.

use std::sync::Arc;

use super::BulkBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::SourceRows;
use crate::model::id_map::IdMap;
use crate::model::kind_rows::KindRows;
use crate::transform::Encoder;

/// The encoder of one stage. FalkorDB numbers the nodes of a stage in the order of loading, and all nodes encoded here are loaded
/// in this order, so their ids are known before they are sent.
#[derive(Debug)]
pub struct StageEncoder {
    encoder: Arc<Encoder>,
    ids: IdMap,
}

impl StageEncoder {
    /// Continues a stage that holds these nodes, numbered without gaps.
    pub fn new(encoder: Arc<Encoder>, ids: IdMap) -> Self {
        Self { encoder, ids }
    }

    /// Encodes a batch. A full pass deletes nothing and reviews nothing, so rows for these purposes result in an empty batch.
    pub fn encode(&mut self, rows: SourceRows) -> Result<BulkBatch> {
        match rows {
            SourceRows::Kind(rows) => self.encode_kind(rows),
            SourceRows::Bundle(parts) => {
                let mut all = BulkBatch::default();
                for rows in parts {
                    all.append(self.encode_kind(rows)?);
                }
                Ok(all)
            }
            SourceRows::Absent(_) | SourceRows::Review(_) => Ok(BulkBatch::default()),
        }
    }

    fn encode_kind(&mut self, rows: KindRows) -> Result<BulkBatch> {
        match rows {
            KindRows::Nodes(kind, rows) => {
                let batch = self.encoder.bulk_nodes(kind, rows, |node| self.ids.get(node));
                self.number(&batch)?;
                Ok(batch)
            }
            KindRows::Relationships(kind, rows) => Ok(self.encoder.bulk_relationships(kind, rows, |node| self.ids.get(node))),
        }
    }

    fn number(&mut self, batch: &BulkBatch) -> Result<()> {
        for node in batch.payloads.iter().flat_map(|payload| payload.nodes()) {
            let next = self.ids.len() as u64;
            self.ids.insert(node, next).map_err(|error| {
                Error::caused(ErrorKind::CacheUnsupported, "cannot assign ids to the nodes of the stage", error)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::element::{ElementNumber, NodeIdentity, SourceEndpoint, SourceNode, SourceRelationship};
    use crate::model::key::Key;
    use crate::model::kind::{NodeKindId, RelationshipKindId};
    use crate::model::name::Label;
    use crate::model::profile::Profile;
    use crate::model::value::Value;
    use crate::transform::VectorDimensions;

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn entity(key: &str) -> SourceNode {
        let properties = vec![("uuid".to_owned(), text(key))];
        SourceNode { number: ElementNumber(0), labels: vec!["Entity".to_owned()], properties }
    }

    fn fact(key: &str, start: &str, end: &str) -> SourceRelationship {
        let end_of = |key: &str| SourceEndpoint { labels: vec!["Entity".to_owned()], key: Some(text(key)), group: None };
        let properties = vec![("uuid".to_owned(), text(key))];
        SourceRelationship { number: ElementNumber(0), start: end_of(start), end: end_of(end), properties }
    }

    #[test]
    fn nodes_are_numbered_in_the_order_of_loading_and_only_once() {
        let encoder = Arc::new(Encoder::new(Arc::new(Profile::graphiti().unwrap()), VectorDimensions::default()));
        let mut stage = StageEncoder::new(encoder, IdMap::default());
        let nodes =
            |keys: &[&str]| SourceRows::Kind(KindRows::Nodes(NodeKindId(0), keys.iter().map(|key| entity(key)).collect()));
        let first = stage.encode(nodes(&["a", "b", "a"])).unwrap();
        let again = stage.encode(nodes(&["b", "c"])).unwrap();
        assert_eq!(again.payloads[0].node_count(), 1, "a node that was loaded before is left out");
        let id = |key: &str| {
            let identity = NodeIdentity { label: Label::parse("Entity").unwrap(), key: Key::parse(key).unwrap() };
            stage.ids.get(&identity)
        };
        let loaded = first.payloads[0].nodes().iter().chain(again.payloads[0].nodes()).map(|node| node.key.as_str());
        assert_eq!(loaded.map(id).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        assert_eq!((id("c"), id("d")), (Some(2), None));
        let facts = vec![fact("f", "a", "c"), fact("g", "a", "d")];
        let batch = stage.encode(SourceRows::Kind(KindRows::Relationships(RelationshipKindId(0), facts))).unwrap();
        assert_eq!((batch.payloads[0].relationship_count(), batch.absent_endpoints.len()), (1, 1));
    }
}
