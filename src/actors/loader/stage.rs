//! A stage is filled by payloads that cannot be repeated: the checkpoint names each of them before it is sent.

use std::ops::Range;
use std::sync::Arc;

use chrono::Utc;

use super::{Writer, changes};
use crate::actors::messages::Acknowledged;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::pass::{Cursor, PassUnderWay, Totals};
use crate::model::stage::{Loading, StageFill};
use crate::sink::{StageSink, stage_after};
use crate::transform::bulk::BulkBatch;

impl Writer {
    /// Makes an empty stage. Its checkpoint comes after it: a stage without one is nobody's, and is dropped.
    pub(super) async fn begin_stage(&mut self, pass: PassUnderWay) -> Result<Acknowledged> {
        self.stage()?.begin().await?;
        self.quarantine_changed |= !self.quarantine.is_empty();
        self.quarantine.clear();
        self.checkpoint.watermark = None;
        self.checkpoint.bookmark = None;
        self.checkpoint.stage = Some(StageFill::default());
        self.converts_as_it_loads = true;
        self.checkpoint.pass = Some(PassUnderWay { prepared: true, ..pass });
        self.checkpoint.sequence += 1;
        self.checkpoint.written_at = Utc::now();
        self.store.store_first(&self.checkpoint).await?;
        Ok(self.acknowledged(Vec::new(), None))
    }

    /// Loads a batch. Rows that payloads cannot say and relationships without an end are left to the passes that follow: their
    /// kinds' counts differ.
    pub(super) async fn load(&mut self, batch: BulkBatch, read: u64, cursor: Option<Cursor>) -> Result<Acknowledged> {
        let mut added = batch.quarantined;
        added.extend(batch.by_parameters.quarantined.iter().cloned());
        self.add_to_quarantine(&added, &[]).await?;
        let mut totals = Totals {
            read,
            quarantined: added.len() as u64,
            collapsed: batch.collapsed + batch.by_parameters.collapsed,
            conversions: batch.conversions,
            ..Totals::default()
        };
        self.changes = changes::loaded(&batch.payloads, read, cursor.as_ref());
        let mut left = batch.payloads.len();
        for payload in &batch.payloads {
            left -= 1;
            totals.nodes += payload.node_count();
            totals.relationships += payload.relationship_count();
            let before = self.fill()?.holds;
            let mut then = self.pass_mut()?.totals;
            then.add(&totals);
            let whole = if left == 0 { cursor.clone() } else { None };
            let loading = Loading { after: stage_after(before, payload), cursor: whole, totals: then };
            self.fill()?.loading = Some(loading);
            self.store_checkpoint().await?;
            failpoint!(if payload.relationship_count() == 0 { "load-nodes" } else { "load-relationships" });
            let holds = self.stage()?.load(payload, before).await?;
            failpoint!(if payload.relationship_count() == 0 { "loaded-nodes" } else { "loaded-relationships" });
            *self.fill()? = StageFill { holds, loading: None };
            self.convert_nodes(before.nodes..holds.nodes).await?;
        }
        let pass = self.pass_mut()?;
        pass.totals.add(&totals);
        if cursor.is_some() {
            pass.cursor = cursor;
        }
        Ok(self.acknowledged(Vec::new(), None))
    }

    /// Does what is left once everything is loaded: vectors, then indices. Where it is broken off it is done again.
    pub(super) async fn finish_stage(&mut self) -> Result<()> {
        if self.stage.is_none() {
            return Ok(());
        }
        self.store_checkpoint().await?;
        let holds = self.fill()?.holds;
        if self.stage()?.totals().await? != Some(holds) {
            return Err(Error::new(ErrorKind::CacheChanged, "the stage does not hold what was loaded"));
        }
        if !self.converts_as_it_loads {
            // What an earlier life loaded may not be converted.
            self.convert_nodes(0..holds.nodes).await?;
        }
        failpoint!("vectors-begin");
        let profile = Arc::clone(&self.profile);
        for kind in &profile.relationships {
            self.stage()?.convert_relationships(kind).await?;
        }
        failpoint!("vectors-end");
        failpoint!("indices-begin");
        let indices = self.sink.prepare().await?;
        failpoint!("indices-end");
        tracing::debug!(indices = indices.made.len(), "vectors and indices made");
        self.checkpoint.stage = None;
        Ok(())
    }

    /// Right after they were loaded, while the source is still being read: then it costs no time.
    async fn convert_nodes(&mut self, ids: Range<u64>) -> Result<()> {
        let profile = Arc::clone(&self.profile);
        self.stage()?.convert_nodes(&profile, ids).await.map(drop)
    }

    fn stage(&mut self) -> Result<&mut Box<dyn StageSink>> {
        self.stage.as_mut().ok_or_else(not_a_stage)
    }

    fn fill(&mut self) -> Result<&mut StageFill> {
        self.checkpoint.stage.as_mut().ok_or_else(not_a_stage)
    }
}

fn not_a_stage() -> Error {
    Error::new(ErrorKind::ActorStopped, "a payload came for a graph that is no stage")
}
