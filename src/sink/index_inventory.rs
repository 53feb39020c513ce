//! The indices that a graph has, and those that it should have.

use std::collections::BTreeSet;

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::graph::{read_failed, read_query};
use super::{reply, safety};
use crate::error::Result;
use crate::model::index::{IndexDefinition, IndexKind, IndexTarget, UnsafeIndexPolicy};
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::profile::Profile;
use crate::sync::is_missing_graph;

/// One row for each indexed property: FalkorDB prints a list of properties as one text, in which a comma may belong to a name.
const LIST: &[u8] = b"CALL db.indexes() YIELD label, entitytype, types, status UNWIND keys(types) AS property \
RETURN label, entitytype, property, types[property], status";

/// One property's index, as it is in the cache or wanted by the profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexedProperty {
    pub(super) on: Target,
    pub(super) property: String,
    pub(super) kind: IndexKind,
}

/// A label or type of the cache, which somebody else may have named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Label(String),
    Type(String),
}

impl Target {
    /// Converts FalkorDB's words for a label or type.
    pub(super) fn read(entity: &str, name: String) -> Self {
        if entity == "NODE" { Target::Label(name) } else { Target::Type(name) }
    }

    /// A pattern that matches its elements as `x`. No name in FalkorDB has a backtick.
    pub(super) fn pattern(&self) -> String {
        match self {
            Target::Label(label) => format!("(x:`{label}`)"),
            Target::Type(name) => format!("()-[x:`{name}`]->()"),
        }
    }

    /// The declaration of an index on it, with `x` for its elements.
    pub(super) fn declared(&self) -> String {
        match self {
            Target::Label(label) => format!("(x:`{label}`)"),
            Target::Type(name) => format!("()-[x:`{name}`]-()"),
        }
    }

    /// Converts the target to the profile's type. `None` if the profile cannot express the name.
    fn named(&self) -> Option<IndexTarget> {
        match self {
            Target::Label(label) => Label::parse(label).ok().map(IndexTarget::Label),
            Target::Type(name) => RelationshipType::parse(name).ok().map(IndexTarget::Type),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Label(label) => write!(f, "(:{label})"),
            Target::Type(name) => write!(f, "[:{name}]"),
        }
    }
}

impl std::fmt::Display for IndexedProperty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            IndexKind::Range => "range",
            IndexKind::Fulltext => "full text",
            IndexKind::Vector => "vector",
        };
        write!(f, "{kind} {}.{}", self.on, self.property)
    }
}

/// The indices of a graph.
pub(super) struct Existing {
    pub(super) properties: BTreeSet<IndexedProperty>,
    /// Whether all of them serve queries.
    pub(super) operational: bool,
}

/// The indices that a graph should have.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The profile's indices: without one of them the cache is useless.
    pub(super) own: &'a [IndexDefinition],
    /// The source's indices, as far as FalkorDB takes them.
    pub(super) mirrored: &'a [IndexDefinition],
    /// The profile of the graph.
    pub(super) profile: &'a Profile,
    /// The treatment of unsafe indices. Absent if the server answers correctly with all of them.
    pub(super) policy: Option<UnsafeIndexPolicy>,
}

impl<'a> Wanted<'a> {
    pub(super) fn definitions(&self) -> impl Iterator<Item = &'a IndexDefinition> + use<'a> {
        self.own.iter().chain(self.mirrored)
    }

    /// Whether none of the profile's indices on keys is there, although the profile has some: a graph that somebody deleted and made
    /// again may have other ones.
    pub(super) fn lacks_all_on_keys(&self, properties: &BTreeSet<IndexedProperty>) -> bool {
        let each =
            |definition: &'a IndexDefinition| definition.properties.iter().map(move |name| wanted(definition, name.as_str()));
        let is_on_key =
            |index: &IndexedProperty| index.on.named().is_some_and(|on| safety::is_key(self.profile, &on, &index.property));
        let on_keys: Vec<IndexedProperty> = self.own.iter().flat_map(each).filter(is_on_key).collect();
        !on_keys.is_empty() && !on_keys.iter().any(|index| properties.contains(index))
    }

    fn each(&self) -> impl Iterator<Item = (&'a IndexDefinition, &'a PropertyName)> + use<'a> {
        self.definitions().flat_map(|definition| definition.properties.iter().map(move |property| (definition, property)))
    }

    /// Indices of the definitions that are unsafe on this server.
    pub(super) fn unsafe_ones(&self) -> BTreeSet<IndexedProperty> {
        let is_unsafe = |(definition, property): &(&IndexDefinition, &PropertyName)| {
            self.policy.is_some() && safety::is_unsafe(self.profile, definition, property)
        };
        self.each().filter(is_unsafe).map(|(definition, property)| wanted(definition, property.as_str())).collect()
    }

    /// Whether an existing index may be unsafe: its property is not a key, and no definition says that the property holds no
    /// text.
    pub(super) fn may_be_unsafe(&self, index: &IndexedProperty) -> bool {
        let is_key = |on| safety::is_key(self.profile, &on, &index.property);
        let holds_no_text = |(definition, property): (&IndexDefinition, &PropertyName)| {
            !definition.text && wanted(definition, property.as_str()) == *index
        };
        self.policy.is_some()
            && index.kind == IndexKind::Range
            && !index.on.named().is_some_and(is_key)
            && !self.each().any(holds_no_text)
    }
}

/// Whether the profile itself names an index.
pub(super) fn is_named(profile: &Profile, index: &IndexedProperty) -> bool {
    let each =
        |definition: &IndexDefinition| definition.properties.iter().any(|name| wanted(definition, name.as_str()) == *index);
    profile.indexes.iter().any(each)
}

/// The part of a definition that does not exist yet. FalkorDB silently stops at the first property that is indexed already, so
/// only the missing ones are named.
pub(super) fn missing(definition: &IndexDefinition, existing: &BTreeSet<IndexedProperty>) -> Option<IndexDefinition> {
    let mut rest = definition.clone();
    rest.properties.retain(|name| !existing.contains(&wanted(definition, name.as_str())));
    if rest.properties.is_empty() {
        return None;
    }
    let on = target(&definition.on);
    // Stop words and language belong to a label, not to an index, and cannot be set twice.
    let has_words = rest.stopwords.is_some() || rest.language.is_some();
    if has_words && existing.iter().any(|index| index.on == on && index.kind == IndexKind::Fulltext) {
        rest.stopwords = None;
        rest.language = None;
    }
    Some(rest)
}

pub(super) fn wanted(definition: &IndexDefinition, property: &str) -> IndexedProperty {
    IndexedProperty { on: target(&definition.on), property: property.to_owned(), kind: definition.kind }
}

fn target(on: &IndexTarget) -> Target {
    match on {
        IndexTarget::Label(label) => Target::Label(Label::as_str(label).to_owned()),
        IndexTarget::Type(name) => Target::Type(RelationshipType::as_str(name).to_owned()),
    }
}

/// The indices that no definition names.
pub(super) fn foreign<'a>(
    existing: &BTreeSet<IndexedProperty>,
    definitions: impl Iterator<Item = &'a IndexDefinition>,
) -> Vec<String> {
    let ours: BTreeSet<IndexedProperty> =
        definitions.flat_map(|definition| definition.properties.iter().map(|name| wanted(definition, name.as_str()))).collect();
    existing.difference(&ours).map(ToString::to_string).collect()
}

pub(super) async fn existing(connection: &mut CacheConnection, graph: &str) -> Result<Existing> {
    let answer = connection.command("list the indices", &read_query(graph, LIST), COMMAND_TIMEOUT).await;
    let nothing = || Existing { properties: BTreeSet::new(), operational: true };
    match answer {
        Ok(reply) => parse(reply),
        Err(error) if is_missing_graph(&error) => Ok(nothing()),
        Err(error) => Err(read_failed(error)),
    }
}

fn parse(answer: redis::Value) -> Result<Existing> {
    let mut existing = Existing { properties: BTreeSet::new(), operational: true };
    for row in reply::rows(answer)? {
        let column = |index| reply::text(reply::cell(&row, index)?);
        let (name, entity, property, kinds, status) = (column(0)?, column(1)?, column(2)?, column(3)?, column(4)?);
        let on = Target::read(&entity, name);
        existing.operational &= status == "OPERATIONAL";
        for kind in parse_kinds(&kinds) {
            existing.properties.insert(IndexedProperty { on: on.clone(), property: property.clone(), kind });
        }
    }
    Ok(existing)
}

/// Reads index kinds from FalkorDB's text of a list.
pub(super) fn parse_kinds(words: &str) -> impl Iterator<Item = IndexKind> {
    words.trim_matches(['[', ']']).split(", ").filter_map(parse_kind)
}

fn parse_kind(word: &str) -> Option<IndexKind> {
    match word {
        "RANGE" => Some(IndexKind::Range),
        "FULLTEXT" => Some(IndexKind::Fulltext),
        "VECTOR" => Some(IndexKind::Vector),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::index_statement::statement;
    use super::*;

    fn has(label: &str, property: &str, kind: IndexKind) -> IndexedProperty {
        IndexedProperty { on: Target::Label(label.to_owned()), property: property.to_owned(), kind }
    }

    #[test]
    fn only_what_is_missing_is_made() {
        let profile = Profile::graphiti().unwrap();
        let existing = BTreeSet::from([has("Entity", "uuid", IndexKind::Range), has("Entity", "name", IndexKind::Fulltext)]);
        let range = missing(&profile.indexes[0], &existing).unwrap();
        assert_eq!(statement(&range), "CREATE INDEX FOR (n:Entity) ON (n.group_id, n.name, n.created_at)");
        let fulltext = missing(&profile.indexes[10], &existing).unwrap();
        assert_eq!(statement(&fulltext), "CREATE FULLTEXT INDEX FOR (n:Entity) ON (n.summary, n.group_id)");
        assert_eq!(missing(&profile.indexes[2], &BTreeSet::from([has("Community", "uuid", IndexKind::Range)])), None);
    }

    #[test]
    fn an_index_of_somebody_else_is_named() {
        let profile = Profile::graphiti().unwrap();
        let existing =
            BTreeSet::from([has("Entity", "uuid", IndexKind::Range), has("Entity", "name_embedding", IndexKind::Vector)]);
        assert_eq!(foreign(&existing, profile.indexes.iter()), vec!["vector (:Entity).name_embedding"]);
    }
}
