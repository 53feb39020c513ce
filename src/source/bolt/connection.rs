//! One connection, which sends requests and receives answers, one query at a time.

use std::ops::Range;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::chunk::Frames;
use super::fault::Fault;
use super::limits::{Limits, within};
use super::members::Members;
use super::message::{Requests, RunSettings, SuccessMetadata, answer_tag, read_failure, read_summary, read_tag};
use super::packstream::{DecodeError, Decoder};
use super::server::{Server, Transport};
use crate::model::host_port::HostPort;
use crate::source::request::Request;
use crate::telemetry::tally::GaugeGuard;

/// The first bytes that a Bolt client sends.
const MAGIC: [u8; 4] = [0x60, 0x60, 0xB0, 0x17];

/// Four offers of versions: 5.0 to 5.8. Each offer has an empty byte, the number of lower minor versions that it includes, the
/// minor and the major version.
const OFFERS: [u8; 16] = [0, 8, 8, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const MAJOR: u8 = 5;
const HIGHEST_MINOR: u8 = 8;

/// A connection that is logged on.
pub struct Connection {
    transport: Box<dyn Transport>,
    frames: Frames,
    limits: Limits,
    requests: Requests,
    database: Option<String>,
    minor: u8,
    server: String,
    peer: HostPort,
    /// The number of answers still to come. Every failure or cancellation in the middle leaves some, so a connection without any
    /// is fit for the next request.
    outstanding: u32,
    /// Whether the server ignores everything until a reset.
    failed: bool,
    told: Option<String>,
    _open: GaugeGuard,
}

impl Connection {
    /// Connects and logs on.
    pub async fn open(server: &Server) -> Result<Self, Fault> {
        let mut transport = server.connect().await?;
        let handshake = async {
            let minor = agree_on_version(&mut transport).await?;
            let mut connection = Self {
                transport,
                frames: Frames::new(server.limits.message_bytes),
                limits: server.limits,
                requests: Requests::default(),
                database: server.database.clone(),
                minor,
                server: String::new(),
                peer: server.uri().server(),
                outstanding: 0,
                failed: false,
                told: None,
                _open: GaugeGuard::neo4j_connection(),
            };
            connection.log_on(server).await?;
            Ok::<_, Fault>(connection)
        };
        within(server.limits.handshake, "handshake", handshake).await
    }

    /// The minor version in use; the major version is 5.
    pub fn minor_version(&self) -> u8 {
        self.minor
    }

    /// The server's name and version, such as `Neo4j/5.26.12`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The place of the server, as it was configured or as the cluster names it.
    pub(super) fn peer(&self) -> &HostPort {
        &self.peer
    }

    /// The time limits of this connection.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The last bookmark that the server sent: no row that was read is of a later commit.
    pub(crate) fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// Whether the next request can be sent.
    pub(crate) fn is_ready(&self) -> bool {
        self.outstanding == 0 && !self.failed
    }

    /// Whether the server still holds its end open, as far as is visible without a request.
    pub(crate) fn is_open(&mut self) -> bool {
        match self.transport.read(self.frames.room()).now_or_never() {
            None => true,
            Some(Ok(bytes)) => {
                self.frames.arrived(bytes);
                // Unrequested bytes can only be a sign of life.
                bytes > 0 && matches!(self.frames.message(), Ok(None))
            }
            Some(Err(_)) => false,
        }
    }

    /// Runs a query in read access mode and returns its columns; [`Self::record`] returns its rows.
    pub(crate) async fn run(&mut self, request: &Request, limit: Duration) -> Result<Vec<String>, Fault> {
        self.begin(request, limit)?;
        self.requests.pull()?;
        self.send().await?;
        Ok(self.summary("the columns").await?.columns)
    }

    /// Sends queries together, each with a pull of all its rows. The answers come in the same order, each with the columns before
    /// the rows.
    pub(crate) async fn run_together(&mut self, requests: &[Request], limit: Duration) -> Result<(), Fault> {
        self.requests.clear();
        let settings = self.settings(limit);
        for request in requests {
            self.requests.run(request, &settings)?;
            self.requests.pull()?;
        }
        self.send().await
    }

    /// Reads the columns of the next of several queries.
    pub(crate) async fn columns(&mut self) -> Result<Vec<String>, Fault> {
        Ok(self.summary("the columns").await?.columns)
    }

    /// Reads the next row up to its list of values; [`Row::End`] after the last row.
    pub(crate) async fn record(&mut self) -> Result<Row<'_>, Fault> {
        let place = self.message().await?;
        if read_tag(&mut Decoder::new(self.frames.bytes(place.clone())))? != answer_tag::RECORD {
            self.read_end(place, "a row")?;
            return Ok(Row::End);
        }
        let mut decoder = Decoder::new(self.frames.bytes(place));
        read_tag(&mut decoder)?;
        Ok(Row::Record(decoder))
    }

    /// Runs a query and discards all its rows.
    pub(crate) async fn run_without_rows(&mut self, request: &Request, limit: Duration) -> Result<SuccessMetadata, Fault> {
        self.begin(request, limit)?;
        self.requests.discard()?;
        self.send().await?;
        self.summary("the columns").await?;
        self.summary("the end of a query").await
    }

    /// Runs a query and counts its rows and their bytes from the headers of chunks alone: no reader can be faster.
    pub(crate) async fn run_counting(&mut self, request: &Request, limit: Duration) -> Result<AnswerSize, Fault> {
        self.run(request, limit).await?;
        let mut counted = AnswerSize::default();
        let mut tag = None;
        loop {
            match self.frames.pass(&mut tag) {
                Some((answer_tag::RECORD, bytes)) => counted.add(bytes),
                Some((answer_tag::SUCCESS, _)) => break,
                Some((tag, _)) => return Err(Fault::OutOfTurn { tag, expected: "a row" }),
                None => self.fill(Instant::now() + self.limits.message).await?,
            }
        }
        self.outstanding -= 1;
        Ok(counted)
    }

    /// Asks which members of the cluster serve the database. `address` is the one under which the server was reached.
    pub(super) async fn members(&mut self, address: &str) -> Result<Members, Fault> {
        self.requests.clear();
        self.requests.route(address, self.database.as_deref())?;
        self.send().await?;
        let limit = self.limits.handshake;
        let summary = within(limit, "description of the cluster", self.summary("the members of the cluster")).await?;
        summary.members.ok_or(Fault::Decode(DecodeError::Missing("members of the cluster")))
    }

    /// Whether the server answers.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let limit = self.limits.sign_of_life;
        within(limit, "sign of life", self.reset()).await.is_ok()
    }

    /// Ends any running query and clears a failure, so that the connection can be used again.
    pub(crate) async fn reset(&mut self) -> Result<(), Fault> {
        self.requests.clear();
        self.requests.reset()?;
        self.send().await?;
        let limit = self.limits.handshake;
        within(limit, "answer to a reset", self.until_reset()).await
    }

    /// Says goodbye to the server. A failure loses nothing, because the server also notices a closed socket.
    pub async fn goodbye(mut self) {
        self.requests.clear();
        if self.requests.goodbye().is_ok() {
            let _ = self.send().await;
        }
        let _ = within(self.limits.connect, "end", self.transport.shutdown()).await;
    }

    async fn until_reset(&mut self) -> Result<(), Fault> {
        while self.outstanding > 0 {
            let place = self.message().await?;
            let mut decoder = Decoder::new(self.frames.bytes(place));
            match (read_tag(&mut decoder)?, self.outstanding) {
                (answer_tag::RECORD, 2..) => continue,
                (answer_tag::SUCCESS, _) | (answer_tag::IGNORED | answer_tag::FAILURE, 2..) => self.outstanding -= 1,
                (tag, _) => return Err(Fault::OutOfTurn { tag, expected: "the answer to a reset" }),
            }
        }
        self.failed = false;
        Ok(())
    }

    async fn log_on(&mut self, server: &Server) -> Result<(), Fault> {
        self.requests.hello(self.minor, server.login())?;
        self.send().await?;
        while self.outstanding > 0 {
            let summary = self.summary("the answer to a login").await?;
            self.server = summary.server.unwrap_or_else(|| std::mem::take(&mut self.server));
        }
        // The password must not stay in a buffer longer than necessary.
        self.requests = Requests::default();
        Ok(())
    }

    fn begin(&mut self, request: &Request, limit: Duration) -> Result<(), Fault> {
        let settings = self.settings(limit);
        self.requests.clear();
        Ok(self.requests.run(request, &settings)?)
    }

    fn settings(&self, limit: Duration) -> RunSettings {
        RunSettings {
            database: self.database.clone(),
            timeout_milliseconds: i64::try_from(limit.as_millis()).unwrap_or(i64::MAX),
        }
    }

    async fn send(&mut self) -> Result<(), Fault> {
        let (stream, count) = self.requests.written();
        self.outstanding += count;
        let transport = &mut self.transport;
        let write = async {
            transport.write_all(stream).await?;
            transport.flush().await
        };
        within(self.limits.message, "room to send", write).await
    }

    /// Reads the answer to a request that has no rows.
    async fn summary(&mut self, expected: &'static str) -> Result<SuccessMetadata, Fault> {
        let place = self.message().await?;
        self.read_end(place, expected)
    }

    /// Reads an answer that ends a request.
    fn read_end(&mut self, place: Range<usize>, expected: &'static str) -> Result<SuccessMetadata, Fault> {
        let mut decoder = Decoder::new(self.frames.bytes(place));
        match read_tag(&mut decoder)? {
            answer_tag::SUCCESS => {
                let mut summary = read_summary(&mut decoder)?;
                self.outstanding = self.outstanding.saturating_sub(1);
                summary.bookmark = summary.bookmark.filter(|text| !text.is_empty());
                if summary.bookmark.is_some() {
                    self.told.clone_from(&summary.bookmark);
                }
                Ok(summary)
            }
            answer_tag::FAILURE => {
                let (code, message) = read_failure(&mut decoder)?;
                self.outstanding = self.outstanding.saturating_sub(1);
                self.failed = true;
                Err(Fault::Server { code, message })
            }
            tag => Err(Fault::OutOfTurn { tag, expected }),
        }
    }

    /// Returns the place of the next message. A timeout runs only if the message has not arrived yet.
    async fn message(&mut self) -> Result<Range<usize>, Fault> {
        if let Some(place) = self.frames.message()? {
            return Ok(place);
        }
        let deadline = Instant::now() + self.limits.message;
        loop {
            self.fill(deadline).await?;
            if let Some(place) = self.frames.message()? {
                return Ok(place);
            }
        }
    }

    async fn fill(&mut self, deadline: Instant) -> Result<(), Fault> {
        let read = timeout_at(deadline, self.transport.read(self.frames.room())).await;
        match read.map_err(|_| Fault::TimedOut { what: "answer", limit: self.limits.message })?? {
            0 => Err(Fault::Closed),
            bytes => {
                self.frames.arrived(bytes);
                Ok(())
            }
        }
    }
}

/// A row, or the end of the rows.
pub(crate) enum Row<'a> {
    /// A row with its list of values still to be read.
    Record(Decoder<'a>),
    /// The end of the rows.
    End,
}

/// The size of an answer that was counted and not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerSize {
    /// The number of rows.
    pub rows: u64,
    /// The bytes of all rows.
    pub bytes: u64,
}

impl AnswerSize {
    fn add(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes as u64;
    }
}

async fn agree_on_version(transport: &mut Box<dyn Transport>) -> Result<u8, Fault> {
    transport.write_all(&[&MAGIC[..], &OFFERS].concat()).await?;
    transport.flush().await?;
    let mut answer = [0; 4];
    match transport.read_exact(&mut answer).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(Fault::Closed),
        outcome => outcome?,
    };
    match answer {
        [0, 0, minor @ 0..=HIGHEST_MINOR, MAJOR] => Ok(minor),
        other => Err(Fault::Version(other)),
    }
}
