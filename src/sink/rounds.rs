//! Requests to one graph, sent in rounds of pipelined ones; and rows that FalkorDB refuses, found by halving.
//!
//! Redis reads a connection's next command only when the one before is answered, FalkorDB's queries included, so requests of
//! one round are carried out in their order.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::connection::Connection;
use super::graph::{read_failed, read_query, write_query};
use super::parameters::{REQUEST_BYTES, RowText, requests_apart, with_rows, without_rows};
use crate::error::{Error, ErrorKind, Result};

/// How long a round of writes may take. A batch of 1,000 rows takes a tenth of a second; this leaves room for a graph whose
/// other clients keep the server busy. On a longer one the outcome is unknown, and the caller repeats it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a round of reads may take, behind the writes of others.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A statement and all rows that it is to take.
pub(super) struct Write<'a> {
    /// The statement.
    pub(super) statement: String,
    /// Its rows.
    pub(super) rows: &'a dyn RowText,
}

/// A row that FalkorDB does not take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which of the writes it belongs to.
    pub(super) write: usize,
    /// Which of its rows it is.
    pub(super) row: usize,
    /// FalkorDB's words, without values.
    pub(super) reason: String,
}

/// Neighbouring rows of one write.
struct Piece {
    write: usize,
    range: Range<usize>,
}

/// The graph that requests go to.
pub(super) struct Rounds<'a> {
    connection: &'a mut Connection,
    graph: &'a str,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(connection: &'a mut Connection, graph: &'a str) -> Self {
        Self { connection, graph }
    }

    /// Carries out all writes, in order; what FalkorDB refuses is halved until the rows that it refuses stand alone.
    pub(super) async fn write(&mut self, doing: &str, writes: &[Write<'_>]) -> Result<Vec<Refusal>> {
        let mut pending: VecDeque<Piece> = writes.iter().enumerate().flat_map(|(index, write)| pieces(index, write)).collect();
        let mut refusals = Vec::new();
        let mut sound = BTreeSet::new();
        while !pending.is_empty() {
            let round = next_round(&mut pending, writes);
            let answers = self.send(doing, writes, &round).await?;
            let mut halves = Vec::new();
            for (piece, answer) in round.into_iter().zip(answers) {
                let Some(error) = refusal(answer)? else { continue };
                if sound.insert(piece.write) {
                    self.require_sound(&writes[piece.write].statement).await?;
                }
                match halve(&piece) {
                    Some(both) => halves.extend(both),
                    None => refusals.push(Refusal { write: piece.write, row: piece.range.start, reason: error.to_string() }),
                }
            }
            halves.into_iter().rev().for_each(|half| pending.push_front(half));
        }
        Ok(refusals)
    }

    /// Carries out statements whose rows cannot be refused.
    pub(super) async fn run(&mut self, doing: &str, requests: Vec<Vec<u8>>) -> Result<Vec<Value>> {
        self.all(doing, requests, write_query, WRITE_TIMEOUT).await.map_err(read_failed)
    }

    /// Asks questions.
    pub(super) async fn read(&mut self, doing: &str, requests: Vec<Vec<u8>>) -> Result<Vec<Value>> {
        self.all(doing, requests, read_query, READ_TIMEOUT).await.map_err(read_failed)
    }

    async fn all(
        &mut self,
        doing: &str,
        requests: Vec<Vec<u8>>,
        command: fn(&str, &[u8]) -> redis::Cmd,
        within: Duration,
    ) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::new();
        for request in &requests {
            pipeline.add_command(command(self.graph, request));
        }
        self.connection.wake().await;
        self.connection.pipeline(doing, &pipeline, within).await?.into_iter().collect()
    }

    async fn send(&mut self, doing: &str, writes: &[Write<'_>], round: &[Piece]) -> Result<Vec<Result<Value>>> {
        let mut pipeline = Pipeline::new();
        for piece in round {
            let write = &writes[piece.write];
            let text = with_rows(write.rows, piece.range.clone(), &write.statement);
            pipeline.add_command(write_query(self.graph, &text));
        }
        self.connection.wake().await;
        self.connection.pipeline(doing, &pipeline, WRITE_TIMEOUT).await
    }

    /// A statement that FalkorDB refuses without any row is not the rows' fault: without this look, another FalkorDB that
    /// lacks a part of the language would send a whole graph into the quarantine.
    async fn require_sound(&mut self, statement: &str) -> Result<()> {
        let command = write_query(self.graph, &without_rows(statement));
        match self.connection.command("try a statement without rows", &command, WRITE_TIMEOUT).await {
            Err(error) if error.kind() == ErrorKind::CacheRefused => Err(Error::caused(
                ErrorKind::CacheUnsupported,
                "this FalkorDB does not take the statements of this program",
                error,
            )),
            other => other.map(|_| ()),
        }
    }
}

/// Only a verdict on the rows is worth halving for; anything else ends the batch.
fn refusal(answer: Result<Value>) -> Result<Option<Error>> {
    match answer {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::CacheRefused => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// A row whose identity came before begins a request of its own: within one, both would find nothing and create.
fn pieces<'a>(write: usize, of: &Write<'a>) -> impl Iterator<Item = Piece> + use<'a> {
    let rows = of.rows;
    let cut = requests_apart(rows.repeats().into_iter().enumerate().map(|(index, repeats)| (rows.row(index).len(), repeats)));
    cut.into_iter().map(move |range| Piece { write, range })
}

/// As many pieces as one request's worth of text; at least one.
fn next_round(pending: &mut VecDeque<Piece>, writes: &[Write<'_>]) -> Vec<Piece> {
    let mut round = Vec::new();
    let mut bytes = 0;
    while let Some(piece) = pending.pop_front() {
        let rows = writes[piece.write].rows;
        let size: usize = piece.range.clone().map(|index| rows.row(index).len()).sum();
        if !round.is_empty() && bytes + size > REQUEST_BYTES {
            pending.push_front(piece);
            break;
        }
        bytes += size;
        round.push(piece);
    }
    round
}

/// Both halves of a piece that can be halved.
fn halve(piece: &Piece) -> Option<[Piece; 2]> {
    let Range { start, end } = piece.range;
    let middle = start + (end - start) / 2;
    (middle > start)
        .then_some([Piece { write: piece.write, range: start..middle }, Piece { write: piece.write, range: middle..end }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_halved_down_to_single_rows() {
        let ranges = |range| halve(&Piece { write: 0, range }).map(|both| both.map(|piece| piece.range));
        assert_eq!(ranges(0..5), Some([0..2, 2..5]));
        assert_eq!(ranges(3..5), Some([3..4, 4..5]));
        assert_eq!(ranges(4..5), None);
    }

    #[test]
    fn only_a_refusal_is_worth_halving_for() {
        assert!(matches!(refusal(Err(Error::new(ErrorKind::CacheRefused, "no"))), Ok(Some(_))));
        assert!(refusal(Err(Error::new(ErrorKind::CacheBusy, "later"))).is_err());
        assert!(matches!(refusal(Ok(Value::Nil)), Ok(None)));
    }
}
