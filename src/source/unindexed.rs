//! The indices that the source lacks for the service's reads, as the statements that create them.
//!
//! The service never writes the source, so a person must create them. Without an index on its key, each page of a kind and each
//! look-up by key reads the whole kind; without an index on a timestamp, so does each search for changes. In a large graph these
//! queries reach their time limit.

use super::{SourceIndex, SourceIndexKind};
use crate::model::kind::ElementKind;
use crate::model::name::{PropertyName, quoted_for_neo4j};
use crate::model::profile::{Identity, Profile};

/// Returns the statements for the indices that the profile's keys and timestamps need and `indexes` lacks, in the order of the
/// kinds.
pub(crate) fn missing_indexes(profile: &Profile, indexes: &[SourceIndex]) -> Vec<String> {
    let needed = profile.kinds().into_iter().flat_map(|kind| {
        let by_key = (profile.identity(kind) == Identity::Property).then(|| profile.key(kind));
        by_key.into_iter().chain(profile.timestamps(kind)).map(move |property| (kind, property))
    });
    let missing = needed.filter(|(kind, property)| !indexes.iter().any(|index| serves(index, profile, *kind, property)));
    missing.map(|(kind, property)| statement(profile, kind, property)).collect()
}

/// Whether an index serves a property of a kind. Neo4j uses an index on several properties only for conditions on all of them,
/// and only a range index for an order.
fn serves(index: &SourceIndex, profile: &Profile, kind: ElementKind, property: &PropertyName) -> bool {
    index.kind == SourceIndexKind::Range
        && index.of_nodes == matches!(kind, ElementKind::Node(_))
        && index.on.iter().any(|name| name == profile.kind_name(kind))
        && matches!(&index.properties[..], [only] if only == property.as_str())
}

fn statement(profile: &Profile, kind: ElementKind, property: &PropertyName) -> String {
    let (name, property) = (quoted_for_neo4j(profile.kind_name(kind)), property.quoted_for_neo4j());
    match kind {
        ElementKind::Node(_) => format!("CREATE INDEX IF NOT EXISTS FOR (n:{name}) ON (n.{property})"),
        ElementKind::Relationship(_) => format!("CREATE INDEX IF NOT EXISTS FOR ()-[e:{name}]-() ON (e.{property})"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::discovery::DiscoveredSchema;

    fn range(of_nodes: bool, on: &str, properties: &[&str]) -> SourceIndex {
        SourceIndex {
            name: "x".to_owned(),
            kind: SourceIndexKind::Range,
            of_nodes,
            on: vec![on.to_owned()],
            properties: properties.iter().map(|name| (*name).to_owned()).collect(),
            texts: Vec::new(),
        }
    }

    #[test]
    fn indices_on_keys_and_timestamps_are_missed() {
        let profile = Profile::graphiti().unwrap();
        let needed = missing_indexes(&profile, &[]);
        assert_eq!(needed.len(), 9 + 4, "nine keys, four timestamps: {needed:?}");
        assert_eq!(needed[0], "CREATE INDEX IF NOT EXISTS FOR (n:`Entity`) ON (n.`uuid`)");
        assert!(needed.contains(&"CREATE INDEX IF NOT EXISTS FOR ()-[e:`RELATES_TO`]-() ON (e.`expired_at`)".to_owned()));
        let there = [range(true, "Entity", &["uuid"]), range(false, "RELATES_TO", &["expired_at"])];
        assert_eq!(missing_indexes(&profile, &there).len(), needed.len() - 2);
    }

    #[test]
    fn only_a_range_index_on_the_property_alone_serves() {
        let profile = Profile::graphiti().unwrap();
        let all = missing_indexes(&profile, &[]).len();
        let text = SourceIndex { kind: SourceIndexKind::Other("TEXT".to_owned()), ..range(true, "Entity", &["uuid"]) };
        let others = [
            range(true, "Entity", &["uuid", "name"]),
            range(true, "Entity", &["name"]),
            range(false, "Entity", &["uuid"]),
            range(true, "MENTIONS", &["uuid"]),
            text,
        ];
        assert_eq!(missing_indexes(&profile, &others).len(), all);
    }

    #[test]
    fn elements_that_their_numbers_identify_need_none() {
        let found = DiscoveredSchema { labels: ["A".to_owned()].into(), ..DiscoveredSchema::default() };
        let profile = Profile::generic().unwrap().discovered(&found).unwrap();
        assert_eq!(missing_indexes(&profile, &[]), Vec::<String>::new());
    }
}
