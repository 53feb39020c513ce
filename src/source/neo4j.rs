//! The source trait over a real Neo4j.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use neo4rs::Query;
use serde::Deserialize;

use super::connection::{Connection, SourceAddress};
use super::queries::{self, Queries};
use super::row::{ElementId, Nullable, PropertyList};
use super::{KeyPage, OutsideProfile, Page, Source, SourceIdentity};
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::{ElementNumber, Properties, SourceEndpoint, SourceNode, SourceRelationship, property};
use crate::model::name::PropertyName;
use crate::model::profile::{NodeKindId, Profile, RelationshipKindId};
use crate::model::value::Value;

/// A page of one key alone grows to this many rows before it is an error: a key that a hundred thousand elements share
/// identifies nothing.
const MAX_ROWS_OF_ONE_KEY: usize = 100_000;

/// A Neo4j database.
pub struct Neo4jSource {
    connection: Connection,
    profile: Arc<Profile>,
}

#[derive(Deserialize)]
struct NodeRow {
    id: ElementId,
    labels: Vec<String>,
    properties: PropertyList,
    #[serde(default)]
    instants: Vec<Instants>,
}

#[derive(Deserialize)]
struct RelationshipRow {
    id: ElementId,
    start_labels: Vec<String>,
    start_key: Nullable,
    end_labels: Vec<String>,
    end_key: Nullable,
    properties: PropertyList,
    #[serde(default)]
    instants: Vec<Instants>,
}

#[derive(Deserialize)]
struct Instants {
    name: String,
    seconds: Vec<i64>,
}

impl From<NodeRow> for SourceNode {
    fn from(row: NodeRow) -> Self {
        let properties = with_instants(row.properties.0, row.instants);
        SourceNode { number: row.id.0, labels: row.labels, properties }
    }
}

impl From<RelationshipRow> for SourceRelationship {
    fn from(row: RelationshipRow) -> Self {
        SourceRelationship {
            number: row.id.0,
            start: SourceEndpoint { labels: row.start_labels, key: row.start_key.0 },
            end: SourceEndpoint { labels: row.end_labels, key: row.end_key.0 },
            properties: with_instants(row.properties.0, row.instants),
        }
    }
}

/// Turns wall clocks into instants, by what Neo4j said they are.
fn with_instants(mut properties: Properties, instants: Vec<Instants>) -> Properties {
    let mut seconds: HashMap<String, Vec<i64>> = instants.into_iter().map(|i| (i.name, i.seconds)).collect();
    for (name, value) in &mut properties {
        let Some(seconds) = seconds.remove(name) else { continue };
        match value {
            Value::List(items) if items.len() == seconds.len() => {
                items.iter_mut().zip(seconds).for_each(|(item, seconds)| set_instant(item, seconds));
            }
            value if seconds.len() == 1 => set_instant(value, seconds[0]),
            _ => {}
        }
    }
    properties
}

fn set_instant(value: &mut Value, epoch_seconds: i64) {
    if let Value::WallClock { nanoseconds, .. } = *value {
        *value = Value::DateTime { epoch_seconds, nanoseconds };
    }
}

fn has_wall_clock(properties: &Properties) -> bool {
    let wall = |value: &Value| matches!(value, Value::WallClock { .. });
    properties.iter().any(|(_, value)| wall(value) || matches!(value, Value::List(items) if items.iter().any(wall)))
}

/// A row of either kind, so that paging and the resolution of wall clocks are written once.
trait Row: Send {
    fn properties(&self) -> &Properties;
    fn number(&self) -> ElementNumber;
}

impl Row for SourceNode {
    fn properties(&self) -> &Properties {
        &self.properties
    }
    fn number(&self) -> ElementNumber {
        self.number
    }
}

impl Row for SourceRelationship {
    fn properties(&self) -> &Properties {
        &self.properties
    }
    fn number(&self) -> ElementNumber {
        self.number
    }
}

fn key_text<'a>(row: &'a impl Row, key: &PropertyName) -> Option<&'a str> {
    match property(row.properties(), key.as_str()) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Keeps the rows of one key together: of a full page, the last key may have more rows, so it opens the next page. None
/// if all rows are of one key.
fn cut_page<T: Row>(mut rows: Vec<T>, key: &PropertyName, limit: usize) -> Option<Page<T>> {
    if rows.len() < limit {
        return Some(Page { rows, next: None });
    }
    let last = rows.last().and_then(|row| key_text(row, key)).map(str::to_owned)?;
    let whole = rows.partition_point(|row| key_text(row, key) != Some(&last));
    rows.truncate(whole);
    let next = rows.last().and_then(|row| key_text(row, key)).map(str::to_owned)?;
    Some(Page { rows, next: Some(next) })
}

impl Neo4jSource {
    /// Connects, and proves it with a query.
    pub async fn connect(address: &SourceAddress, profile: Arc<Profile>) -> Result<Self> {
        Ok(Self { connection: Connection::open(address).await?, profile })
    }

    fn queries(&self) -> Queries<'_> {
        Queries::new(&self.profile)
    }

    async fn nodes(&self, doing: &str, query: Query) -> Result<Vec<SourceNode>> {
        let mut nodes = Vec::new();
        self.connection
            .each(doing, query, |row| {
                nodes.push(row.to::<NodeRow>()?.into());
                Ok(())
            })
            .await?;
        Ok(nodes)
    }

    async fn relationships(&self, doing: &str, query: Query) -> Result<Vec<SourceRelationship>> {
        let mut relationships = Vec::new();
        self.connection
            .each(doing, query, |row| {
                relationships.push(row.to::<RelationshipRow>()?.into());
                Ok(())
            })
            .await?;
        Ok(relationships)
    }

    /// Reads rows with wall clocks again, with their instants: few graphs hold any, so the common read does not pay for it.
    async fn with_node_instants(&self, id: NodeKindId, mut rows: Vec<SourceNode>) -> Result<Vec<SourceNode>> {
        let kind = self.profile.node(id);
        let keys = keys_with_wall_clocks(&rows, &kind.key);
        if keys.is_empty() {
            return Ok(rows);
        }
        let query = Query::new(self.queries().nodes_with_instants(id)).param("keys", keys);
        let again = self.nodes(&format!("zoned times of {}", kind.label), query).await?;
        replace_by_number(&mut rows, again);
        Ok(rows)
    }

    async fn with_relationship_instants(
        &self,
        id: RelationshipKindId,
        mut rows: Vec<SourceRelationship>,
    ) -> Result<Vec<SourceRelationship>> {
        let kind = self.profile.relationship(id);
        let keys = keys_with_wall_clocks(&rows, &kind.key);
        if keys.is_empty() {
            return Ok(rows);
        }
        let query = Query::new(self.queries().relationships_with_instants(id)).param("keys", keys);
        let again = self.relationships(&format!("zoned times of {}", kind.rel_type), query).await?;
        replace_by_number(&mut rows, again);
        Ok(rows)
    }

    async fn changed_keys(
        &self,
        doing: &str,
        text: Option<String>,
        since: DateTime<Utc>,
        after: &str,
        limit: usize,
    ) -> Result<KeyPage> {
        #[derive(Deserialize)]
        struct KeyRow {
            k: String,
        }
        let Some(text) = text else {
            return Ok(KeyPage { keys: Vec::new(), next: None });
        };
        let query = Query::new(text)
            .param("zoned", since.fixed_offset())
            .param("local", since.naive_utc())
            .param("after", after)
            .param("limit", as_limit(limit));
        let keys: Vec<String> = self.connection.all::<KeyRow>(doing, query).await?.into_iter().map(|row| row.k).collect();
        let next = if keys.len() < limit { None } else { keys.last().cloned() };
        Ok(KeyPage { keys, next })
    }
}

fn keys_with_wall_clocks<T: Row>(rows: &[T], key: &PropertyName) -> Vec<String> {
    rows.iter().filter(|row| has_wall_clock(row.properties())).filter_map(|row| key_text(row, key)).map(str::to_owned).collect()
}

fn replace_by_number<T: Row>(rows: &mut [T], again: Vec<T>) {
    let mut again: HashMap<ElementNumber, T> = again.into_iter().map(|row| (row.number(), row)).collect();
    for row in rows {
        if let Some(read_again) = again.remove(&row.number()) {
            *row = read_again;
        }
    }
}

fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn too_many(what: &str) -> Error {
    Error::new(ErrorKind::SourceRefused, format!("more than {MAX_ROWS_OF_ONE_KEY} elements of {what} share one key"))
}

#[async_trait]
impl Source for Neo4jSource {
    async fn identity(&self) -> Result<SourceIdentity> {
        self.connection.one("the database's identity", Query::new(queries::IDENTITY.to_owned())).await
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        #[derive(Deserialize)]
        struct Clock {
            now: i64,
        }
        let clock: Clock = self.connection.one("the clock", Query::new(queries::CLOCK.to_owned())).await?;
        DateTime::from_timestamp_millis(clock.now)
            .ok_or_else(|| Error::new(ErrorKind::SourceProtocol, "the clock of Neo4j is out of range"))
    }

    async fn node_page(&self, id: NodeKindId, after: &str, limit: usize) -> Result<Page<SourceNode>> {
        let kind = self.profile.node(id);
        let mut limit = limit;
        while limit <= MAX_ROWS_OF_ONE_KEY {
            let query = Query::new(self.queries().node_page(id)).param("after", after).param("limit", as_limit(limit));
            let rows = self.nodes(kind.label.as_str(), query).await?;
            if let Some(page) = cut_page(rows, &kind.key, limit) {
                return Ok(Page { rows: self.with_node_instants(id, page.rows).await?, next: page.next });
            }
            limit *= 2;
        }
        Err(too_many(kind.label.as_str()))
    }

    async fn relationship_page(&self, id: RelationshipKindId, after: &str, limit: usize) -> Result<Page<SourceRelationship>> {
        let kind = self.profile.relationship(id);
        let mut limit = limit;
        while limit <= MAX_ROWS_OF_ONE_KEY {
            let query = Query::new(self.queries().relationship_page(id)).param("after", after).param("limit", as_limit(limit));
            let rows = self.relationships(kind.rel_type.as_str(), query).await?;
            if let Some(page) = cut_page(rows, &kind.key, limit) {
                return Ok(Page { rows: self.with_relationship_instants(id, page.rows).await?, next: page.next });
            }
            limit *= 2;
        }
        Err(too_many(kind.rel_type.as_str()))
    }

    async fn nodes_by_key(&self, id: NodeKindId, keys: &[String]) -> Result<Vec<SourceNode>> {
        let query = Query::new(self.queries().nodes_by_key(id)).param("keys", keys.to_vec());
        let rows = self.nodes(self.profile.node(id).label.as_str(), query).await?;
        self.with_node_instants(id, rows).await
    }

    async fn relationships_by_key(&self, id: RelationshipKindId, keys: &[String]) -> Result<Vec<SourceRelationship>> {
        let query = Query::new(self.queries().relationships_by_key(id)).param("keys", keys.to_vec());
        let rows = self.relationships(self.profile.relationship(id).rel_type.as_str(), query).await?;
        self.with_relationship_instants(id, rows).await
    }

    async fn changed_node_keys(&self, id: NodeKindId, since: DateTime<Utc>, after: &str, limit: usize) -> Result<KeyPage> {
        let doing = format!("changed keys of {}", self.profile.node(id).label);
        self.changed_keys(&doing, self.queries().changed_node_keys(id), since, after, limit).await
    }

    async fn changed_relationship_keys(
        &self,
        id: RelationshipKindId,
        since: DateTime<Utc>,
        after: &str,
        limit: usize,
    ) -> Result<KeyPage> {
        let doing = format!("changed keys of {}", self.profile.relationship(id).rel_type);
        self.changed_keys(&doing, self.queries().changed_relationship_keys(id), since, after, limit).await
    }

    async fn nodes_without_key(&self, id: NodeKindId, limit: usize) -> Result<Vec<SourceNode>> {
        let query = Query::new(self.queries().nodes_without_key(id)).param("limit", as_limit(limit));
        self.nodes(self.profile.node(id).label.as_str(), query).await
    }

    async fn relationships_without_key(&self, id: RelationshipKindId, limit: usize) -> Result<Vec<SourceRelationship>> {
        let query = Query::new(self.queries().relationships_without_key(id)).param("limit", as_limit(limit));
        self.relationships(self.profile.relationship(id).rel_type.as_str(), query).await
    }

    async fn outside_profile(&self) -> Result<OutsideProfile> {
        Ok(OutsideProfile { nodes: self.nodes_outside().await?, relationships: self.relationships_outside().await? })
    }
}

impl Neo4jSource {
    async fn nodes_outside(&self) -> Result<BTreeMap<String, u64>> {
        #[derive(Deserialize)]
        struct LabelSet {
            labels: Vec<String>,
            count: u64,
        }
        let query = Query::new(self.queries().nodes_outside_profile());
        let sets: Vec<LabelSet> = self.connection.all("labels outside the profile", query).await?;
        Ok(sets.into_iter().map(|set| (set.labels.join(":"), set.count)).collect())
    }

    async fn relationships_outside(&self) -> Result<BTreeMap<String, u64>> {
        #[derive(Deserialize)]
        struct TypeName {
            name: String,
        }
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        let types: Vec<TypeName> =
            self.connection.all("relationship types", Query::new(queries::RELATIONSHIP_TYPES.to_owned())).await?;
        let known = |name: &str| self.profile.relationships.iter().any(|kind| kind.rel_type.as_str() == name);
        let mut outside = BTreeMap::new();
        for TypeName { name } in types.into_iter().filter(|t| !known(&t.name)) {
            let quoted = format!("`{}`", name.replace('`', "``"));
            let query = Query::new(Queries::relationship_count(&quoted));
            let Count { count } = self.connection.one("a count of relationships", query).await?;
            if count > 0 {
                outside.insert(name, count);
            }
        }
        Ok(outside)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn node(number: u64, key: &str) -> SourceNode {
        let properties = vec![("uuid".to_owned(), Value::String(key.to_owned()))];
        SourceNode { number: ElementNumber(number), labels: vec![], properties }
    }

    fn uuid() -> PropertyName {
        PropertyName::parse("uuid").unwrap()
    }

    #[test]
    fn rows_of_one_key_stay_in_one_page() {
        let page = cut_page(vec![node(1, "a"), node(2, "b"), node(3, "b")], &uuid(), 3).unwrap();
        assert_eq!((page.rows.len(), page.next.as_deref()), (1, Some("a")));
        let last = cut_page(vec![node(2, "b"), node(3, "b")], &uuid(), 3).unwrap();
        assert_eq!((last.rows.len(), last.next), (2, None));
        assert!(cut_page(vec![node(2, "b"), node(3, "b")], &uuid(), 2).is_none(), "one key alone needs a larger page");
    }

    #[test]
    fn wall_clocks_become_instants_in_lists_too() {
        let wall = |s| Value::WallClock { local_seconds: s, nanoseconds: 7, zone: "Europe/Berlin".to_owned() };
        let properties = vec![("a".to_owned(), wall(1)), ("b".to_owned(), Value::List(vec![wall(1), wall(2)]))];
        assert!(has_wall_clock(&properties));
        let instants =
            vec![Instants { name: "a".to_owned(), seconds: vec![10] }, Instants { name: "b".to_owned(), seconds: vec![20, 30] }];
        let resolved = with_instants(properties, instants);
        let instant = |epoch_seconds| Value::DateTime { epoch_seconds, nanoseconds: 7 };
        assert_eq!(resolved[0].1, instant(10));
        assert_eq!(resolved[1].1, Value::List(vec![instant(20), instant(30)]));
    }
}
