//! The reader over our own Bolt client.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::time::timeout;

use super::connection::{AnswerSize, Connection, Row};
use super::fault::Fault;
use super::limits::Limits;
use super::packstream::{DecodeError, Decoded, Decoder};
use super::pool::{Pool, PooledConnection};
use super::probe::QUESTION;
use super::record::{Record, check_columns, read_record};
use super::router::Router;
use super::server::Server;
use super::value::value;
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::element::{Properties, SourceNode, SourceRelationship};
use crate::source::address::SourceAddress;
use crate::source::codes::why_unreachable;
use crate::source::reader::{PartialRows, Reader, tell_if_slow};
use crate::source::request::Request;

/// A reader that uses Bolt 5.
#[derive(Clone)]
pub struct BoltReader {
    pub(super) pool: Arc<Pool>,
}

impl BoltReader {
    /// Connects, and proves with a query that it can read.
    pub async fn connect(address: &SourceAddress, limits: Limits) -> Result<Self> {
        let server = Server::new(address, limits).map_err(|fault| fault.during("cannot use Neo4j as configured"))?;
        Self::connect_by(Arc::new(Router::new(server)), address.pool_size).await
    }

    /// Connects to the members that a router chooses, and proves with a query that it can read.
    pub(in crate::source) async fn connect_by(router: Arc<Router>, pool_size: usize) -> Result<Self> {
        let reader = Self { pool: Arc::new(Pool::new(router, pool_size)) };
        let first = reader.with_connection(Proof).await;
        first.map_err(|fault| unreachable(fault, reader.pool.server()))?;
        Ok(reader)
    }

    /// Runs a query and discards its rows unread: the best speed that a reader can reach.
    pub async fn count(&self, doing: &str, request: Request) -> Result<AnswerSize> {
        self.limited(doing, Count(request)).await
    }

    /// Runs an exchange under the limit for a query.
    async fn limited<E: Exchange>(&self, doing: &str, exchange: E) -> Result<E::Outcome> {
        let limit = self.pool.server().limits.query;
        let begun = Instant::now();
        let answer = timeout(limit, self.with_connection(exchange)).await;
        tell_if_slow(doing, begun);
        match answer {
            Ok(outcome) => outcome.map_err(|fault| fault.during(format!("cannot read {doing} from Neo4j"))),
            Err(_) => Err(Error::new(
                ErrorKind::SourceTimeout,
                format!("reading {doing} from Neo4j took more than {} s", limit.as_secs()),
            )),
        }
    }

    async fn with_connection<E: Exchange>(&self, exchange: E) -> Result<E::Outcome, Fault> {
        let mut lease = self.pool.lease().await?;
        let outcome = exchange.run(&mut lease).await;
        if let Some(told) = lease.connection.told() {
            self.pool.heard(told);
        }
        match &outcome {
            Ok(_) => lease.give_back(),
            Err(fault) => lease.give_back_after(fault).await,
        }
        outcome
    }
}

fn unreachable(fault: Fault, server: &Server) -> Error {
    let sentence = why_unreachable(fault.kind(), server.uri());
    fault.during(sentence)
}

/// Logs on and off again, to obtain the error and its code from a server that refuses a log on.
pub(in crate::source) async fn log_on(address: &SourceAddress, limits: Limits) -> Result<()> {
    let server = Server::new(address, limits).map_err(|fault| fault.during("cannot use Neo4j as configured"))?;
    let connection = Connection::open(&server).await.map_err(|fault| unreachable(fault, &server))?;
    connection.goodbye().await;
    Ok(())
}

/// A request with all its answers.
#[async_trait]
trait Exchange: Send {
    type Outcome: Send;

    async fn run(self, lease: &mut PooledConnection) -> Result<Self::Outcome, Fault>;
}

/// A first query, which fails if the database does not exist or may not be read.
struct Proof;

#[async_trait]
impl Exchange for Proof {
    type Outcome = ();

    async fn run(self, lease: &mut PooledConnection) -> Result<(), Fault> {
        let limit = lease.connection.limits().query;
        lease.connection.run_without_rows(&Request::new("RETURN 1"), limit).await.map(drop)
    }
}

struct Count(Request);

#[async_trait]
impl Exchange for Count {
    type Outcome = AnswerSize;

    async fn run(self, lease: &mut PooledConnection) -> Result<AnswerSize, Fault> {
        let limit = lease.connection.limits().query;
        lease.connection.run_counting(&self.0, limit).await
    }
}

/// All rows of a query, read by the names of their columns.
struct All(Request);

#[async_trait]
impl Exchange for All {
    type Outcome = Vec<Properties>;

    async fn run(self, lease: &mut PooledConnection) -> Result<Vec<Properties>, Fault> {
        let limit = lease.connection.limits().query;
        let columns = lease.connection.run(&self.0, limit).await?;
        let mut rows = Vec::new();
        while let Row::Record(decoder) = lease.connection.record().await? {
            rows.push(read_by_name(&columns, decoder)?);
        }
        Ok(rows)
    }
}

/// The most queries that are sent together: their answers must be so short that the server never has to wait until we read one.
const SENT_TOGETHER: usize = 100;

/// All rows of several queries.
struct Each(Vec<Request>);

#[async_trait]
impl Exchange for Each {
    type Outcome = Vec<Vec<Properties>>;

    async fn run(self, lease: &mut PooledConnection) -> Result<Vec<Vec<Properties>>, Fault> {
        let limit = lease.connection.limits().query;
        let mut answers = Vec::with_capacity(self.0.len());
        for requests in self.0.chunks(SENT_TOGETHER) {
            lease.connection.run_together(requests, limit).await?;
            for _ in requests {
                let columns = lease.connection.columns().await?;
                let mut rows = Vec::new();
                while let Row::Record(decoder) = lease.connection.record().await? {
                    rows.push(read_by_name(&columns, decoder)?);
                }
                answers.push(rows);
            }
        }
        Ok(answers)
    }
}

/// The first elements of a query, up to about `most` bytes. Rows that the server has sent beyond them are skipped, and a reset
/// ends the query: in between, the server sends only as much as fits the buffers of both ends.
struct First<T> {
    request: Request,
    most: usize,
    rows: PhantomData<fn() -> T>,
}

impl<T> First<T> {
    fn new(request: Request, most: usize) -> Self {
        Self { request, most, rows: PhantomData }
    }
}

#[async_trait]
impl<T: Record> Exchange for First<T> {
    type Outcome = PartialRows<T>;

    async fn run(self, lease: &mut PooledConnection) -> Result<PartialRows<T>, Fault> {
        let limit = lease.connection.limits().query;
        let columns = lease.connection.run(&self.request, limit).await?;
        check_columns::<T>(&columns)?;
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Row::Record(decoder) = lease.connection.record().await? {
            bytes += decoder.remaining();
            rows.push(read_record(decoder)?);
            if bytes >= self.most && rows.len() > 1 {
                lease.connection.reset().await?;
                // A query that is cut off yields no bookmark.
                lease.connection.run_without_rows(&Request::new(QUESTION), limit).await?;
                return Ok(PartialRows { rows, is_whole: false });
            }
        }
        Ok(PartialRows { rows, is_whole: true })
    }
}

/// Reads a row of plain values by the names of its columns, without the nulls.
fn read_by_name(columns: &[String], mut decoder: Decoder<'_>) -> Decoded<Properties> {
    if decoder.list()? != columns.len() {
        return Err(DecodeError::Missing("number of columns"));
    }
    let mut row = Vec::with_capacity(columns.len());
    for column in columns {
        if let Some(value) = value(&mut decoder)? {
            row.push((column.clone(), value));
        }
    }
    decoder.finish()?;
    Ok(row)
}

#[async_trait]
impl Reader for BoltReader {
    async fn nodes(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceNode>> {
        self.limited(doing, First::new(request, most)).await
    }

    async fn relationships(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceRelationship>> {
        self.limited(doing, First::new(request, most)).await
    }

    async fn typed_relationships(
        &self,
        doing: &str,
        request: Request,
        most: usize,
    ) -> Result<PartialRows<(String, SourceRelationship)>> {
        self.limited(doing, First::new(request, most)).await
    }

    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>> {
        self.limited(doing, All(request)).await
    }

    fn told(&self) -> Option<Bookmark> {
        self.pool.told()
    }

    fn is_of_cluster(&self) -> bool {
        self.pool.is_of_cluster()
    }

    async fn each(&self, doing: &str, requests: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
        self.limited(doing, Each(requests)).await
    }
}
