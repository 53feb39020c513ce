//! The transformer: encodes what the extractor read. It has no effects outside, so it can be aborted at any time.

use std::sync::Arc;

use actix::Addr;
use tokio::sync::mpsc;

use super::credit::CreditPool;
use super::loader::Loader;
use super::member::Member;
use super::messages::{ExtractedBatch, PreparedBatch};
use super::shell::{Quitting, Role, Shell};
use super::{ExitRecipients, MAILBOX_CAPACITY};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::batch::{BatchContent, Generation, SourceContent, SourceRows};
use crate::model::element::ElementIdentity;
use crate::model::prepared::PreparedRows;
use crate::transform::PreparedContent;
use crate::transform::bulk::StageEncoder;
use crate::transform::{Encoded, Encoder};

/// The actor that encodes.
pub(crate) type Transformer = Shell<ExtractedBatch>;

pub(crate) fn start(
    generation: Generation,
    encoding: EncoderMode,
    loader: Addr<Loader>,
    pool: Arc<CreditPool>,
    reports: ExitRecipients,
) -> Addr<Transformer> {
    let role = Role { generation, member: Member::Transformer, quitting: Quitting::AtOnce, capacity: MAILBOX_CAPACITY };
    Shell::start(role, reports, |batches, _| work(encoding, batches, loader, pool))
}

/// The output of a transformer for rows.
pub(crate) enum EncoderMode {
    Rows(Arc<Encoder>),
    /// Payloads for a stage.
    Payloads(Box<StageEncoder>),
}

async fn work(
    mut encoding: EncoderMode,
    mut batches: mpsc::Receiver<ExtractedBatch>,
    loader: Addr<Loader>,
    pool: Arc<CreditPool>,
) -> Result<()> {
    let load = pool.load();
    while let Some(ExtractedBatch { generation, content, newest, credit }) = load.wait(Member::Transformer, batches.recv()).await
    {
        load.note_queued(Member::Transformer, batches.len());
        let content = encode(&mut encoding, content)?;
        failpoint!("encoded");
        loader
            .try_send(PreparedBatch { generation, content, newest, credit })
            .map_err(|_| Error::new(ErrorKind::ActorStopped, "the loader has stopped and accepts no more batches"))?;
        // Encoding a batch takes milliseconds without an await, so this lets the other tasks of the thread run in between.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn encode(encoding: &mut EncoderMode, content: SourceContent) -> Result<PreparedContent> {
    Ok(match content {
        BatchContent::Begin(pass) => BatchContent::Begin(pass),
        BatchContent::Indexes(indexes) => BatchContent::Indexes(indexes),
        BatchContent::End(end) => BatchContent::End(end),
        BatchContent::Rows { rows, read, cursor, repairs, created } => {
            let rows = match encoding {
                EncoderMode::Rows(encoder) => Encoded::Rows(encode_rows(encoder, rows)),
                EncoderMode::Payloads(stage) => Encoded::Payloads(stage.encode(rows)?),
            };
            BatchContent::Rows { rows, read, cursor, repairs, created }
        }
    })
}

fn encode_rows(encoder: &Encoder, rows: SourceRows) -> PreparedRows {
    match rows {
        SourceRows::Kind(rows) => encoder.encode(rows),
        SourceRows::Bundle(parts) => {
            let mut all = PreparedRows::default();
            parts.into_iter().for_each(|rows| all.append(encoder.encode(rows)));
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
