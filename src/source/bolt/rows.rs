//! A stream of rows that are elements.

use std::marker::PhantomData;

use super::connection::Row;
use super::fault::Fault;
use super::packstream::{DecodeError, Decoder};
use super::pool::{Lease, Pool};
use super::record::Record;
use crate::error::Result;
use crate::source::request::Request;

/// Rows of a running query. Dropped before its end, it closes the connection, and the server ends the query.
pub struct Rows<T> {
    lease: Option<Lease>,
    doing: String,
    bookmark: Option<String>,
    rows: PhantomData<fn() -> T>,
}

impl<T: Record> Rows<T> {
    pub(super) async fn open(pool: &Pool, doing: &str, request: &Request, fetch: i64) -> Result<Self> {
        let doing = format!("cannot read {doing} from Neo4j");
        let mut lease = pool.lease().await.map_err(|fault| fault.during(&doing))?;
        match run::<T>(&mut lease, request, fetch).await {
            Ok(()) => Ok(Self { lease: Some(lease), doing, bookmark: None, rows: PhantomData }),
            Err(fault) => {
                lease.give_back_after(&fault).await;
                Err(fault.during(doing))
            }
        }
    }

    /// The next row; none at the end.
    pub async fn next(&mut self) -> Result<Option<T>> {
        let Some(lease) = &mut self.lease else { return Ok(None) };
        let fault = match next(lease).await {
            Ok(Next::Row(row)) => return Ok(Some(row)),
            Ok(Next::End(bookmark)) => {
                self.bookmark = bookmark;
                self.lease.take().into_iter().for_each(Lease::give_back);
                return Ok(None);
            }
            Err(fault) => fault,
        };
        if let Some(lease) = self.lease.take() {
            lease.give_back_after(&fault).await;
        }
        Err(fault.during(&self.doing))
    }

    /// The bookmark of the last commit that the query can have seen, known after the last row.
    pub fn bookmark(&self) -> Option<&str> {
        self.bookmark.as_deref()
    }
}

enum Next<T> {
    Row(T),
    End(Option<String>),
}

async fn run<T: Record>(lease: &mut Lease, request: &Request, fetch: i64) -> Result<(), Fault> {
    // A stream is as long as the graph is large, so the server is given no limit for it.
    let columns = lease.connection.run(request, None, fetch).await?;
    check_columns::<T>(&columns)
}

async fn next<T: Record>(lease: &mut Lease) -> Result<Next<T>, Fault> {
    match lease.connection.record().await? {
        Row::Record(decoder) => Ok(Next::Row(read_record(decoder)?)),
        Row::End(bookmark) => Ok(Next::End(bookmark)),
    }
}

/// That the columns are those that will be read by place.
pub(super) fn check_columns<T: Record>(columns: &[String]) -> Result<(), Fault> {
    if columns == T::COLUMNS { Ok(()) } else { Err(DecodeError::Missing("columns").into()) }
}

/// Reads a row whose columns were checked.
pub(super) fn read_record<T: Record>(mut decoder: Decoder<'_>) -> Result<T, DecodeError> {
    if decoder.list()? != T::COLUMNS.len() {
        return Err(DecodeError::Missing("number of columns"));
    }
    let record = T::read(&mut decoder)?;
    decoder.finish()?;
    Ok(record)
}
