//! Fills a stage by payloads that cannot be repeated: the checkpoint names each of them before it is sent.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;

use super::unconverted::Unconverted;
use super::{Writer, changes};
use crate::actors::messages::Acknowledged;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::model::kind::Step;
use crate::model::pass::{Cursor, PassUnderWay, Totals};
use crate::model::profile::RelationshipKind;
use crate::model::stage::{PendingPayload, StageFill};
use crate::sink::{CONVERTED_AT_ONCE, StageSink, stage_after};
use crate::transform::bulk::BulkBatch;

impl Writer {
    /// Makes an empty stage, then its checkpoint: a stage without a checkpoint has no owner and is dropped.
    pub(super) async fn begin_stage(&mut self, pass: PassUnderWay) -> Result<Acknowledged> {
        self.stage()?.begin().await?;
        self.quarantine_changed |= !self.quarantine.is_empty();
        self.excluded.remove(&self.quarantine);
        self.quarantine.clear();
        self.checkpoint.begin_anew();
        self.checkpoint.stage = Some(StageFill::default());
        self.converts_as_it_loads = true;
        (self.loading_kind, self.unconverted) = (None, Unconverted::default());
        self.checkpoint.pass = Some(PassUnderWay { prepared: true, ..pass });
        self.checkpoint.sequence += 1;
        self.checkpoint.written_at = Utc::now();
        self.store.store_first(&self.checkpoint).await?;
        Ok(self.acknowledged(Vec::new(), None))
    }

    /// Loads a batch. Rows that payloads cannot express and relationships without an end are left to the passes that follow: the
    /// counts of their kinds differ.
    pub(super) async fn load(&mut self, batch: BulkBatch, read: u64, cursor: Option<Cursor>) -> Result<Acknowledged> {
        let mut added = batch.quarantined.clone();
        added.extend(batch.by_parameters.quarantined.iter().cloned());
        self.add_to_quarantine(&added, &[]).await?;
        if let Some(cursor) = &cursor {
            self.enter(&cursor.step)?;
        }
        let mut totals = Totals {
            read,
            quarantined: added.len() as u64 + self.waiting(&batch),
            properties_quarantined: super::properties_of(&added),
            collapsed: batch.collapsed + batch.by_parameters.collapsed,
            conversions: batch.conversions,
            ..Totals::default()
        };
        self.changes = changes::loaded(&batch, read, cursor.as_ref());
        let mut left = batch.payloads.len();
        for payload in &batch.payloads {
            left -= 1;
            totals.nodes += payload.node_count();
            totals.relationships += payload.relationship_count();
            let before = self.fill()?.holds;
            let mut then = self.pass_mut()?.totals;
            then.add(&totals);
            let whole = if left == 0 { cursor.clone() } else { None };
            let loading = PendingPayload { after: stage_after(before, payload), cursor: whole, totals: then };
            self.fill()?.loading = Some(loading);
            self.store_checkpoint().await?;
            failpoint!(if payload.relationship_count() == 0 { "load-nodes" } else { "load-relationships" });
            let holds = self.stage()?.load(payload, before).await?;
            failpoint!(if payload.relationship_count() == 0 { "loaded-nodes" } else { "loaded-relationships" });
            *self.fill()? = StageFill { holds, loading: None };
            self.convert_nodes(before.nodes..holds.nodes).await?;
            self.convert_next().await?;
        }
        let pass = self.pass_mut()?;
        pass.totals.add(&totals);
        if cursor.is_some() {
            pass.cursor = cursor;
        }
        Ok(self.acknowledged(Vec::new(), None))
    }

    /// Counts the relationships of a batch that wait for an end in the quarantine. The passes that follow list them.
    fn waiting(&self, batch: &BulkBatch) -> u64 {
        batch.absent_endpoints.iter().filter(|identity| self.excluded.listed_end(identity).is_some()).count() as u64
    }

    /// Enters a kind. Before its first batch, the previous kind is complete.
    ///
    /// No index exists before everything is loaded and converted. FalkorDB's indexer holds the graph's lock for some 10,000
    /// elements at a time, and each payload or conversion waits for it, on the main thread and with all clients: 150 to 310 ms for
    /// a payload that takes 4 ms without an index.
    fn enter(&mut self, step: &Step) -> Result<()> {
        if self.profile.has_many_kinds() || self.loading_kind.as_ref() == Some(step) {
            return Ok(());
        }
        match self.loading_kind.replace(step.clone()) {
            Some(whole) => self.leave(&whole),
            None => Ok(()),
        }
    }

    /// Leaves a kind whose last batch is loaded: its vectors are converted from now on. A later generation converts all of them at
    /// the end, because it does not know what was loaded and not converted.
    fn leave(&mut self, whole: &Step) -> Result<()> {
        tracing::debug!(kind = whole.name(), "kind loaded");
        if self.converts_as_it_loads {
            self.await_conversion(|kind| *whole == Step::Relationships(kind.rel_type.clone()))
        } else {
            Ok(())
        }
    }

    /// Notes that the vectors of these kinds are to be converted.
    fn await_conversion(&mut self, is_meant: impl Fn(&RelationshipKind) -> bool) -> Result<()> {
        let nodes = self.fill()?.holds.nodes;
        for id in self.profile.relationship_ids() {
            let kind = self.profile.relationship(id);
            if is_meant(kind) && !kind.vectors.is_empty() {
                self.unconverted.add(id, nodes);
            }
        }
        Ok(())
    }

    /// Converts the next piece of relationships, if any is left. Returns whether there was one.
    async fn convert_next(&mut self) -> Result<bool> {
        let Some((kind, ids)) = self.unconverted.take(CONVERTED_AT_ONCE) else { return Ok(false) };
        let profile = Arc::clone(&self.profile);
        self.stage()?.convert_relationships(profile.relationship(kind), ids).await?;
        Ok(true)
    }

    /// Does what is left once everything is loaded: vectors, then indices. If it is broken off, it is repeated.
    pub(super) async fn finish_stage(&mut self) -> Result<()> {
        if self.stage.is_none() {
            return Ok(());
        }
        self.store_checkpoint().await?;
        let holds = self.fill()?.holds;
        if self.stage()?.totals().await? != Some(holds) {
            return Err(Error::new(ErrorKind::CacheChanged, "the stage does not hold the elements that were loaded"));
        }
        if !self.converts_as_it_loads {
            // Nodes that an earlier generation loaded may not be converted.
            self.convert_nodes(0..holds.nodes).await?;
        }
        failpoint!("vectors-begin");
        let begun = Instant::now();
        match self.loading_kind.take().filter(|_| self.converts_as_it_loads) {
            Some(last) => self.leave(&last)?,
            None => self.await_conversion(|_| true)?,
        }
        while self.convert_next().await? {}
        let vectors = begun.elapsed().as_secs_f64();
        failpoint!("vectors-end");
        failpoint!("indices-begin");
        let indices = self.sink.prepare().await?;
        failpoint!("indices-end");
        let seconds = begun.elapsed().as_secs_f64();
        tracing::debug!(
            vectors,
            indices = seconds - vectors,
            made = indices.made.len(),
            "stage filled: vectors and indices are ready"
        );
        self.checkpoint.stage = None;
        Ok(())
    }

    /// Converts nodes right after they were loaded, while the source is still being read: then it costs no time.
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
    Error::new(ErrorKind::ActorStopped, "the loader received a payload for a graph that is not a stage")
}
