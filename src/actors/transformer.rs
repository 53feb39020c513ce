//! The transformer: encodes what the extractor read. Pure work, so it is aborted at will.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, Context, Handler};
use tokio::sync::mpsc;

use super::credit::CreditPool;
use super::loader::Loader;
use super::member::Member;
use super::messages::{Drain, ExtractedBatch, PreparedBatch, Quit};
use super::worker::Worker;
use super::{MAILBOX_CAPACITY, Reports};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::batch::{Content, Generation, SourceContent, SourceRows};
use crate::model::element::ElementIdentity;
use crate::model::prepared::PreparedRows;
use crate::transform::PreparedContent;
use crate::transform::bulk::StageEncoder;
use crate::transform::{Encoded, Transformer as Encoder};

/// The shell around the encoding task.
pub struct Transformer {
    generation: Generation,
    reports: Reports,
    inbound: Option<mpsc::Sender<ExtractedBatch>>,
    worker: Worker,
}

impl Transformer {
    /// Starts the actor and its worker.
    pub fn start(
        generation: Generation,
        encoding: Encoding,
        loader: Addr<Loader>,
        pool: Arc<CreditPool>,
        reports: Reports,
    ) -> Addr<Self> {
        let (inbound, batches) = mpsc::channel(MAILBOX_CAPACITY);
        let worker = Worker::spawn(generation, Member::Transformer, &reports, |_quit| work(encoding, batches, loader, pool));
        Self { generation, reports, inbound: Some(inbound), worker }.start()
    }
}

/// What a transformer makes of rows.
pub enum Encoding {
    /// Parameter text.
    Rows(Arc<Encoder>),
    /// Payloads for a stage.
    Payloads(Box<StageEncoder>),
}

async fn work(
    mut encoding: Encoding,
    mut batches: mpsc::Receiver<ExtractedBatch>,
    loader: Addr<Loader>,
    pool: Arc<CreditPool>,
) -> Result<()> {
    let pace = pool.pace();
    while let Some(ExtractedBatch { generation, content, newest, credit }) = pace.wait(Member::Transformer, batches.recv()).await
    {
        pace.note_queued(Member::Transformer, batches.len());
        let content = encode(&mut encoding, content)?;
        failpoint!("encoded");
        loader
            .try_send(PreparedBatch { generation, content, newest, credit })
            .map_err(|_| Error::new(ErrorKind::ActorStopped, "the loader has stopped and accepts no more batches"))?;
        // Encoding a batch takes milliseconds and no await: let the other tasks of this thread in between.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn encode(encoding: &mut Encoding, content: SourceContent) -> Result<PreparedContent> {
    Ok(match content {
        Content::Begin(pass) => Content::Begin(pass),
        Content::Indexes(indexes) => Content::Indexes(indexes),
        Content::End(end) => Content::End(end),
        Content::Rows { rows, read, cursor, repairs } => {
            let rows = match encoding {
                Encoding::Rows(encoder) => Encoded::Rows(encode_rows(encoder, rows)),
                Encoding::Payloads(stage) => Encoded::Payloads(stage.encode(rows)?),
            };
            Content::Rows { rows, read, cursor, repairs }
        }
    })
}

fn encode_rows(encoder: &Encoder, rows: SourceRows) -> PreparedRows {
    match rows {
        SourceRows::Nodes(kind, rows) => encoder.nodes(kind, rows),
        SourceRows::Relationships(kind, rows) => encoder.relationships(kind, rows),
        SourceRows::Bundle(parts) => {
            let mut all = PreparedRows::default();
            parts.into_iter().for_each(|rows| all.append(encode_rows(encoder, rows)));
            all
        }
        SourceRows::Absent(identities) => deletes(identities),
        SourceRows::Review(review) => PreparedRows { review, ..PreparedRows::default() },
    }
}

fn deletes(identities: Vec<ElementIdentity>) -> PreparedRows {
    let mut rows = PreparedRows::default();
    for identity in identities {
        match identity {
            ElementIdentity::Node(node) => rows.deleted_nodes.push(node),
            ElementIdentity::Relationship(relationship) => rows.deleted_relationships.push(relationship),
        }
    }
    rows
}

impl Actor for Transformer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.worker.abort();
        self.reports.stopped(self.generation, Member::Transformer);
    }
}

impl Handler<ExtractedBatch> for Transformer {
    type Result = ();

    fn handle(&mut self, message: ExtractedBatch, ctx: &mut Self::Context) {
        if message.generation != self.generation {
            return;
        }
        if let Some(inbound) = &self.inbound
            && inbound.try_send(message).is_err()
        {
            ctx.stop();
        }
    }
}

impl Handler<Drain> for Transformer {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.inbound = None;
    }
}

impl Handler<Quit> for Transformer {
    type Result = ();

    fn handle(&mut self, _: Quit, _: &mut Self::Context) {
        self.worker.abort();
    }
}

#[cfg(test)]
impl Handler<super::StopShell> for Transformer {
    type Result = ();

    fn handle(&mut self, _: super::StopShell, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
