//! The reader over neo4rs, and the source that reads by it.

use std::sync::Arc;

use async_trait::async_trait;
use neo4rs::{BoltType, DeError, Query, Row};
use serde::Deserialize;

use super::address::SourceAddress;
use super::bolt::{Limits, Probe};
use super::connection::Connection;
use super::graph_source::GraphSource;
use super::instants::{Instants, with_instants};
use super::reader::{Portion, Reader};
use super::request::{Parameter, Request};
use super::row::{ElementId, Nullable, PropertyList};
use crate::error::Result;
use crate::model::element::{Properties, SourceEndpoint, SourceNode, SourceRelationship};
use crate::model::profile::Profile;

/// A Neo4j database, read by neo4rs.
pub type Neo4jSource = GraphSource<DriverReader>;

/// Reads by neo4rs.
pub struct DriverReader {
    connection: Connection,
}

impl Neo4jSource {
    /// Connects, and proves it with a query.
    pub async fn connect(address: &SourceAddress, profile: Arc<Profile>) -> Result<Self> {
        let reader = DriverReader { connection: Connection::open(address).await? };
        Ok(Self::new(reader, Probe::new(address, Limits::default())?, profile))
    }
}

impl DriverReader {
    async fn all<T: Send>(
        &self,
        doing: &str,
        request: Request,
        read: impl Fn(Row) -> std::result::Result<T, DeError> + Send,
    ) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let collect = |row| {
            rows.push(read(row)?);
            Ok(())
        };
        self.connection.each(doing, query(request), collect).await?;
        Ok(rows)
    }
}

#[async_trait]
impl Reader for DriverReader {
    const TELLS_INSTANTS: bool = false;

    // This driver has no way to end a query early and keep the connection.
    async fn nodes(&self, doing: &str, request: Request, _most: usize) -> Result<Portion<SourceNode>> {
        let rows = self.all(doing, request, |row| row.to::<NodeRow>().map(SourceNode::from)).await?;
        Ok(Portion { rows, is_whole: true })
    }

    async fn relationships(&self, doing: &str, request: Request, _most: usize) -> Result<Portion<SourceRelationship>> {
        let rows = self.all(doing, request, |row| row.to::<RelationshipRow>().map(SourceRelationship::from)).await?;
        Ok(Portion { rows, is_whole: true })
    }

    async fn typed_relationships(
        &self,
        doing: &str,
        request: Request,
        _most: usize,
    ) -> Result<Portion<(String, SourceRelationship)>> {
        let read = |row: Row| {
            let Typed { rel_type } = row.to()?;
            Ok((rel_type, SourceRelationship::from(row.to::<RelationshipRow>()?)))
        };
        Ok(Portion { rows: self.all(doing, request, read).await?, is_whole: true })
    }

    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>> {
        self.all(doing, request, |row| row.to::<PropertyList>().map(|list| list.0)).await
    }
}

fn query(request: Request) -> Query {
    let bookmarks: Vec<String> = request.after.iter().map(ToString::to_string).collect();
    let query = Query::new(request.text).extra("bookmarks", bookmarks);
    request.parameters.into_iter().fold(query, |query, (name, value)| query.param(name, bolt_type(value)))
}

fn bolt_type(value: Parameter) -> BoltType {
    match value {
        Parameter::Text(text) => text.into(),
        Parameter::Texts(texts) => texts.into(),
        Parameter::Integer(number) => number.into(),
        Parameter::Integers(numbers) => numbers.into(),
        Parameter::Instant(instant) => instant.fixed_offset().into(),
        Parameter::Local(local) => local.into(),
    }
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
struct Typed {
    #[serde(rename = "type")]
    rel_type: String,
}

#[derive(Deserialize)]
struct RelationshipRow {
    id: ElementId,
    start_labels: Vec<String>,
    start_key: Nullable,
    start_group: Nullable,
    end_labels: Vec<String>,
    end_key: Nullable,
    end_group: Nullable,
    properties: PropertyList,
    #[serde(default)]
    instants: Vec<Instants>,
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
            start: SourceEndpoint { labels: row.start_labels, key: row.start_key.0, group: row.start_group.0 },
            end: SourceEndpoint { labels: row.end_labels, key: row.end_key.0, group: row.end_group.0 },
            properties: with_instants(row.properties.0, row.instants),
        }
    }
}
