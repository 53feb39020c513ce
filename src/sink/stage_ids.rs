//! Reads the id of each node, from a stage that was loaded before or written by parameters.

use std::ops::Range;

use redis::Pipeline;

use super::bulk::BulkLoader;
use super::connection::COMMAND_TIMEOUT;
use super::graph::{read_failed, read_query};
use super::reply;
use super::statements::has_none;
use super::vectors::with_range;
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::NodeIdentity;
use crate::model::id_map::IdMap;
use crate::model::key::Key;
use crate::model::kind::NodeKindId;
use crate::model::name::Label;
use crate::model::profile::Profile;

/// The ids of one question: an answer of some hundred kilobytes, and below the result sizes to which operators limit FalkorDB.
const IDS_PER_QUESTION: u64 = 5_000;

/// Returns id and key of the nodes of a kind with ids in `$a..$b`.
pub(super) fn statement(profile: &Profile, kind: NodeKindId) -> String {
    let node = profile.node(kind);
    let labels: Vec<Label> = profile.earlier_labels(kind).cloned().collect();
    let earlier = if labels.is_empty() { String::new() } else { format!(" AND {}", has_none("n", &labels)) };
    format!("MATCH (n:{}) WHERE id(n) >= $a AND id(n) < $b{earlier} RETURN id(n), n.{}", node.label.quoted(), node.key.quoted())
}

impl BulkLoader {
    /// Adds the nodes of these ids to the map, and returns how many there were.
    pub async fn read_ids(&mut self, profile: &Profile, ids: Range<u64>, map: &mut IdMap) -> Result<u64> {
        let mut found = 0;
        let mut start = ids.start;
        while start < ids.end {
            let end = ids.end.min(start + IDS_PER_QUESTION);
            found += self.read_range(profile, start..end, map).await?;
            start = end;
        }
        Ok(found)
    }

    /// Returns the map of the whole stage. Nodes without an identity, or with the same one, are an error.
    pub async fn rebuild_ids(&mut self, profile: &Profile) -> Result<IdMap> {
        let nodes = self.totals().await?.nodes;
        let mut map = IdMap::default();
        self.read_ids(profile, 0..nodes, &mut map).await?;
        if map.len() as u64 == nodes {
            return Ok(map);
        }
        let message = format!("{} holds {nodes} nodes, but only {} of them have a distinct key", self.stage.as_str(), map.len());
        Err(Error::new(ErrorKind::CacheProtocol, message))
    }

    async fn read_range(&mut self, profile: &Profile, ids: Range<u64>, map: &mut IdMap) -> Result<u64> {
        let mut pipeline = Pipeline::new();
        for kind in profile.node_ids() {
            let text = with_range(&ids, &statement(profile, kind));
            pipeline.add_command(read_query(self.stage.as_str(), text.as_bytes()));
        }
        let answers = self.connection.pipeline("read the stage's ids", &pipeline, COMMAND_TIMEOUT).await?;
        let mut found = 0;
        for (kind, answer) in profile.nodes.iter().zip(answers) {
            for row in reply::rows(answer.map_err(read_failed)?)? {
                let id = reply::integer(reply::cell(&row, 0)?)?;
                // A value that is not a key was not loaded: the number of ids shows that something else is there.
                let Some(key) = reply::text(reply::cell(&row, 1)?).ok().and_then(|text| Key::parse(&text).ok()) else { continue };
                let identity = NodeIdentity { label: kind.label.clone(), key };
                let id = u64::try_from(id).map_err(|_| reply::unexpected("an id"))?;
                map.insert(&identity, id).map_err(|error| {
                    Error::caused(ErrorKind::CacheUnsupported, "cannot assign ids to the nodes of the stage", error)
                })?;
                found += 1;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_two_kinds_is_read_as_the_first() {
        let profile = Profile::graphiti().unwrap();
        assert_eq!(
            statement(&profile, NodeKindId(1)),
            "MATCH (n:`Episodic`) WHERE id(n) >= $a AND id(n) < $b AND NOT any(label IN labels(n) WHERE label IN ['Entity']) \
             RETURN id(n), n.`uuid`"
        );
    }
}
