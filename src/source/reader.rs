//! The foundation of [`GraphSource`](super::graph_source::GraphSource): a client that sends a query and reads its rows.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::request::Request;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{Properties, SourceNode, SourceRelationship};

/// The time limit of a query. On a healthy server no query takes longer: the longest reads one page. The limit is also the
/// transaction's timeout at the server, because a query given up here would otherwise stay open there.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// A query that takes this long is logged: changes that are committed meanwhile wait for it.
const SLOW: Duration = Duration::from_millis(200);

/// Logs a query that began at `begun` and has just ended, if it took long.
pub(super) fn tell_if_slow(doing: &str, begun: Instant) {
    if begun.elapsed() >= SLOW {
        tracing::debug!(doing, seconds = begun.elapsed().as_secs_f64(), "slow Neo4j query");
    }
}

/// The first rows of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct PartialRows<T> {
    /// The rows, in the order of the query.
    pub rows: Vec<T>,
    /// Whether these are all rows of the query.
    pub is_whole: bool,
}

/// A client of Neo4j that only reads. `doing` names what is being read, for errors.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// Reads rows with the columns of nodes. The query ends once the rows weigh `most` bytes, but not before two rows: a page
    /// needs the row after its last one.
    async fn nodes(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceNode>>;

    /// As [`Reader::nodes`], for rows with the columns of relationships.
    async fn relationships(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceRelationship>>;

    /// As [`Reader::relationships`], with a column `type` before the others.
    async fn typed_relationships(
        &self,
        doing: &str,
        request: Request,
        most: usize,
    ) -> Result<PartialRows<(String, SourceRelationship)>>;

    /// Reads rows of plain values by column, without null values.
    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>>;

    /// The last bookmark that the server sent at the end of a query: no row that was read is of a later commit.
    fn told(&self) -> Option<Bookmark>;

    /// Whether several servers may answer, of which one may be behind another.
    fn is_of_cluster(&self) -> bool {
        false
    }

    /// As [`Reader::rows`], for several queries that have short answers.
    async fn each(&self, doing: &str, requests: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(self.rows(doing, request).await?);
        }
        Ok(answers)
    }
}
