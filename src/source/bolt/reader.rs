//! The reader over our own Bolt client, and the source that reads by it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::timeout;

use super::connection::{Counted, Row};
use super::fault::Fault;
use super::limits::Limits;
use super::message::ALL_ROWS;
use super::packstream::{DecodeError, Decoded, Decoder};
use super::pool::{Lease, Pool};
use super::probe::Probe;
use super::record::Record;
use super::rows::{Rows, check_columns, read_record};
use super::server::Server;
use super::value::value;
use crate::error::{Error, ErrorKind, Result};
use crate::model::element::{Properties, SourceNode, SourceRelationship};
use crate::model::profile::Profile;
use crate::source::address::SourceAddress;
use crate::source::graph_source::GraphSource;
use crate::source::reader::Reader;
use crate::source::request::Request;

/// A Neo4j database, read by Bolt 5.
pub type BoltSource = GraphSource<BoltReader>;

/// Reads by Bolt 5.
#[derive(Clone)]
pub struct BoltReader {
    pool: Arc<Pool>,
}

impl BoltSource {
    /// Connects, and proves it with a query.
    pub async fn connect(address: &SourceAddress, profile: Arc<Profile>) -> Result<Self> {
        let reader = BoltReader::connect(address, Limits::default()).await?;
        Ok(Self::new(reader, Probe::new(address, Limits::default())?, profile))
    }
}

impl BoltReader {
    /// Connects, and proves it with a query.
    pub async fn connect(address: &SourceAddress, limits: Limits) -> Result<Self> {
        let server = Server::new(address, limits).map_err(|fault| fault.during("neo4j cannot be used as configured"))?;
        let reader = Self { pool: Arc::new(Pool::new(server, address.pool_size)) };
        let first = reader.with_connection(First).await;
        first.map_err(|fault| unreachable(fault, reader.pool.server()))?;
        Ok(reader)
    }

    /// A stream of rows with the columns of `T`, pulled `fetch` at a time: the server waits with the next until those have
    /// been read.
    pub async fn stream<T: Record>(&self, doing: &str, request: &Request, fetch: u32) -> Result<Rows<T>> {
        Rows::open(&self.pool, doing, request, i64::from(fetch.max(1))).await
    }

    /// Runs a query and throws its rows away unread: what a reader can reach at best.
    pub async fn count(&self, doing: &str, request: Request) -> Result<Counted> {
        self.limited(doing, Count(request)).await
    }

    /// Runs an exchange under the limit for a query.
    async fn limited<E: Exchange>(&self, doing: &str, exchange: E) -> Result<E::Outcome> {
        let limit = self.pool.server().limits.query;
        match timeout(limit, self.with_connection(exchange)).await {
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
        match &outcome {
            Ok(_) => lease.give_back(),
            Err(fault) => lease.give_back_after(fault).await,
        }
        outcome
    }
}

fn unreachable(fault: Fault, server: &Server) -> Error {
    let uri = server.uri();
    let sentence = match fault.kind() {
        ErrorKind::SourceAuthentication => format!("Neo4j at {uri} refuses the user or the password"),
        ErrorKind::SourceRefused => format!("Neo4j at {uri} refuses the request"),
        ErrorKind::SourceTimeout => format!("Neo4j at {uri} does not answer"),
        ErrorKind::Configuration => format!("Neo4j at {uri} cannot be used"),
        _ => format!("cannot reach Neo4j at {uri}"),
    };
    fault.during(sentence)
}

/// A request with all its answers.
#[async_trait]
trait Exchange: Send {
    type Outcome: Send;

    async fn run(self, lease: &mut Lease) -> Result<Self::Outcome, Fault>;
}

/// A first query: it fails if the database is not there or may not be read.
struct First;

#[async_trait]
impl Exchange for First {
    type Outcome = ();

    async fn run(self, lease: &mut Lease) -> Result<(), Fault> {
        let limit = lease.connection.limits().query;
        lease.connection.run_without_rows(&Request::new("RETURN 1"), Some(limit)).await.map(drop)
    }
}

struct Count(Request);

#[async_trait]
impl Exchange for Count {
    type Outcome = Counted;

    async fn run(self, lease: &mut Lease) -> Result<Counted, Fault> {
        let limit = lease.connection.limits().query;
        lease.connection.run_counting(&self.0, Some(limit)).await
    }
}

/// All rows of a query, read by columns that are checked once.
struct All<T> {
    request: Request,
    check: fn(&[String]) -> Result<(), Fault>,
    read: fn(&[String], Decoder<'_>) -> Decoded<T>,
}

impl<T: Record> All<T> {
    fn elements(request: Request) -> Self {
        Self { request, check: check_columns::<T>, read: |_, decoder| read_record(decoder) }
    }
}

impl All<Properties> {
    fn plain(request: Request) -> Self {
        Self { request, check: |_| Ok(()), read: read_by_name }
    }
}

#[async_trait]
impl<T: Send> Exchange for All<T> {
    type Outcome = Vec<T>;

    async fn run(self, lease: &mut Lease) -> Result<Vec<T>, Fault> {
        let limit = lease.connection.limits().query;
        let columns = lease.connection.run(&self.request, Some(limit), ALL_ROWS).await?;
        (self.check)(&columns)?;
        let mut rows = Vec::new();
        while let Row::Record(decoder) = lease.connection.record().await? {
            rows.push((self.read)(&columns, decoder)?);
        }
        Ok(rows)
    }
}

/// A row of plain values, by the names of its columns and without the nulls.
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
    const TELLS_INSTANTS: bool = true;

    async fn nodes(&self, doing: &str, request: Request) -> Result<Vec<SourceNode>> {
        self.limited(doing, All::elements(request)).await
    }

    async fn relationships(&self, doing: &str, request: Request) -> Result<Vec<SourceRelationship>> {
        self.limited(doing, All::elements(request)).await
    }

    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>> {
        self.limited(doing, All::plain(request)).await
    }
}
