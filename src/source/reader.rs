//! The seam below [`super::GraphSource`]: who sends a query and reads its rows.

use std::time::Duration;

use async_trait::async_trait;

use super::request::Request;
use crate::error::Result;
use crate::model::element::{Properties, SourceNode, SourceRelationship};

/// No query here takes longer on a healthy server: the longest reads one page. It is also the transaction's timeout at the
/// server, because a query given up here would otherwise stay open there.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// A client of Neo4j that only reads. `doing` says for an error what was being read.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// Whether zoned datetimes arrive as instants. Bolt 4 sends the wall clock and the zone, which is ambiguous in the hour
    /// that a clock change repeats; such rows are read again with their instants.
    const TELLS_INSTANTS: bool;

    /// Rows with the columns of nodes.
    async fn nodes(&self, doing: &str, request: Request) -> Result<Vec<SourceNode>>;

    /// Rows with the columns of relationships.
    async fn relationships(&self, doing: &str, request: Request) -> Result<Vec<SourceRelationship>>;

    /// Rows of plain values by column, without those that are null.
    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>>;
}
