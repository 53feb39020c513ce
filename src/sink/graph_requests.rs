//! Sends requests to one graph. Finds the rows that FalkorDB refuses by halving refused writes.
//!
//! Questions are sent in one pipeline: Redis reads a connection's next command only after it answered the previous one, so the
//! answers arrive in order. Writes are sent in transactions, one after another, and each is carried out only while this process
//! owns the graph: after each transaction, the connection watches the fence for the next one.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use super::connection::CacheConnection;
use super::fence::{Ownership, fenced, fenced_command};
use super::graph::{read_failed, read_query, write_query};
use super::parameters::{RowText, TRANSACTION_BYTES, TRANSACTION_ROWS, with_rows, without_rows, write_requests_apart};
use crate::error::{Error, ErrorKind, Result};

/// The time limit of a transaction. One takes some 10 ms; this leaves room for a graph whose other clients keep the server busy.
/// After the limit the outcome is unknown, and the caller repeats the transaction.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limit of a round of reads, including the wait for the writes of others.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A statement and all its rows.
pub(super) struct Write<'a> {
    pub(super) statement: String,
    pub(super) rows: &'a dyn RowText,
}

/// A row that FalkorDB refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedRow {
    /// The index of its write.
    pub(super) write: usize,
    /// The index of the row in this write.
    pub(super) row: usize,
    /// FalkorDB's words, without values.
    pub(super) reason: String,
}

/// The text of a statement with rows that cannot be refused, and their number.
pub(super) struct WriteRequest {
    pub(super) text: Vec<u8>,
    pub(super) rows: usize,
}

/// Neighbouring rows of one write.
struct Piece {
    write: usize,
    range: Range<usize>,
}

/// The graph that requests go to.
pub(super) struct GraphRequests<'a> {
    connection: &'a mut CacheConnection,
    graph: &'a str,
    ownership: &'a Ownership,
}

impl<'a> GraphRequests<'a> {
    /// A graph that this process owns.
    pub(super) fn new(connection: &'a mut CacheConnection, graph: &'a str, ownership: &'a Ownership) -> Self {
        Self { connection, graph, ownership }
    }

    /// Carries out all writes, in order. A refused write is halved until each refused row is alone.
    pub(super) async fn write(&mut self, doing: &str, writes: &[Write<'_>]) -> Result<Vec<RefusedRow>> {
        let mut pending: VecDeque<Piece> = writes.iter().enumerate().flat_map(|(index, write)| pieces(index, write)).collect();
        let mut refusals = Vec::new();
        let mut sound = BTreeSet::new();
        while !pending.is_empty() {
            let size = |piece: &Piece| (piece.range.len(), text_size(&writes[piece.write], piece));
            let round = next_round(&mut pending, size);
            let answers = self.send(doing, writes, &round).await?;
            let mut halves = Vec::new();
            for (piece, answer) in round.into_iter().zip(answers) {
                let Some(error) = refusal(answer)? else { continue };
                if sound.insert(piece.write) {
                    self.require_sound(&writes[piece.write].statement).await?;
                }
                match halve(&piece) {
                    Some(both) => halves.extend(both),
                    None => refusals.push(RefusedRow { write: piece.write, row: piece.range.start, reason: error.to_string() }),
                }
            }
            halves.into_iter().rev().for_each(|half| pending.push_front(half));
        }
        Ok(refusals)
    }

    /// Carries out statements with rows that cannot be refused.
    pub(super) async fn run(&mut self, doing: &str, requests: Vec<WriteRequest>) -> Result<Vec<Value>> {
        let mut pending = VecDeque::from(requests);
        let mut answers = Vec::with_capacity(pending.len());
        while !pending.is_empty() {
            let round = next_round(&mut pending, |request| (request.rows, request.text.len()));
            let graph = self.graph;
            let commands = || round.iter().map(|request| write_query(graph, &request.text)).collect();
            for answer in self.fenced(doing, commands).await? {
                answers.push(answer.map_err(read_failed)?);
            }
        }
        Ok(answers)
    }

    pub(super) async fn read(&mut self, doing: &str, requests: Vec<Vec<u8>>) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::new();
        for request in &requests {
            pipeline.add_command(read_query(self.graph, request));
        }
        self.connection.wake().await;
        let answers = self.connection.pipeline(doing, &pipeline, READ_TIMEOUT).await?;
        answers.into_iter().map(|answer| answer.map_err(read_failed)).collect()
    }

    async fn send(&mut self, doing: &str, writes: &[Write<'_>], round: &[Piece]) -> Result<Vec<Result<Value>>> {
        let graph = self.graph;
        let command = |piece: &Piece| {
            let write = &writes[piece.write];
            write_query(graph, &with_rows(write.rows, piece.range.clone(), &write.statement))
        };
        self.fenced(doing, || round.iter().map(command).collect()).await
    }

    async fn fenced(&mut self, doing: &str, commands: impl Fn() -> Vec<Cmd>) -> Result<Vec<Result<Value>>> {
        fenced(self.connection, doing, self.ownership, commands, WRITE_TIMEOUT).await
    }

    /// A statement that FalkorDB refuses even without rows is not the rows' fault: without this check, another FalkorDB that
    /// lacks a part of the language would send a whole graph into the quarantine.
    async fn require_sound(&mut self, statement: &str) -> Result<()> {
        let command = write_query(self.graph, &without_rows(statement));
        let doing = "test a statement without rows";
        match fenced_command(self.connection, doing, self.ownership, command, WRITE_TIMEOUT).await {
            Err(error) if error.kind() == ErrorKind::CacheRefused => Err(Error::caused(
                ErrorKind::CacheUnsupported,
                "this FalkorDB does not accept the statements of this program",
                error,
            )),
            other => other.map(|_| ()),
        }
    }
}

/// Only a verdict on the rows justifies halving; any other error ends the batch.
fn refusal(answer: Result<Value>) -> Result<Option<Error>> {
    match answer {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::CacheRefused => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// A row with an identity that occurred before begins a new request: within one request, both rows would find nothing and create.
fn pieces<'a>(write: usize, of: &Write<'a>) -> impl Iterator<Item = Piece> + use<'a> {
    let rows = of.rows;
    let cut =
        write_requests_apart(rows.repeats().into_iter().enumerate().map(|(index, repeats)| (rows.row(index).len(), repeats)));
    cut.into_iter().map(move |range| Piece { write, range })
}

fn text_size(write: &Write<'_>, piece: &Piece) -> usize {
    piece.range.clone().map(|index| write.rows.row(index).len()).sum()
}

/// As many requests as fit into one transaction; at least one. `size` returns the rows of a request and the bytes of its text.
fn next_round<T>(pending: &mut VecDeque<T>, size: impl Fn(&T) -> (usize, usize)) -> Vec<T> {
    let mut round = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    while let Some(next) = pending.pop_front() {
        let (of_rows, of_bytes) = size(&next);
        if !round.is_empty() && (rows + of_rows > TRANSACTION_ROWS || bytes + of_bytes > TRANSACTION_BYTES) {
            pending.push_front(next);
            break;
        }
        rows += of_rows;
        bytes += of_bytes;
        round.push(next);
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
    fn a_transaction_takes_what_fits_and_at_least_one_request() {
        let mut pending = VecDeque::from([(100, 10), (150, 10), (1, 10), (1, 2 * TRANSACTION_BYTES), (1, 1)]);
        let mut rounds = Vec::new();
        while !pending.is_empty() {
            rounds.push(next_round(&mut pending, |size| *size).len());
        }
        assert_eq!(rounds, [2, 1, 1, 1]);
    }

    #[test]
    fn only_a_refusal_is_worth_halving_for() {
        assert!(matches!(refusal(Err(Error::new(ErrorKind::CacheRefused, "no"))), Ok(Some(_))));
        assert!(refusal(Err(Error::new(ErrorKind::CacheBusy, "later"))).is_err());
        assert!(matches!(refusal(Ok(Value::Nil)), Ok(None)));
    }
}
