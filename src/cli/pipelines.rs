//! Assembles supervised pipelines from the configuration.

use std::sync::Arc;

use actix::Recipient;

use crate::actors::credit::CreditLimits;
use crate::actors::generation_actors::GenerationSettings;
use crate::actors::messages::StatusChanged;
use crate::actors::pipeline::{Pipeline, Schedule, SupervisionTimeouts};
use crate::config::{PipelineConfig, SyncConfig};
use crate::connector::{LocalInstance, ServerConnector};
use crate::error::Result;
use crate::model::guard::DeleteLimit;
use crate::sync::{BatchLimits, CheckIntervals};

/// The most full batches between reading and acknowledgement: one being read, one encoded, one written, and one waiting, so that
/// no stage waits for a pause of another.
const FULL_BATCHES_IN_FLIGHT: usize = 4;

/// Assembles a pipeline of this process for its supervisor.
pub(super) fn assemble(
    config: &PipelineConfig,
    process: &LocalInstance,
    schedule: Schedule,
    health: Recipient<StatusChanged>,
) -> Result<Pipeline> {
    let connector = ServerConnector::of_process(config, process)?;
    let limits = batch_limits(&config.sync);
    Ok(Pipeline {
        name: config.name.to_string(),
        graph: config.falkordb.database.to_string(),
        profile: Arc::clone(connector.profile()),
        connector: Arc::new(connector),
        settings: GenerationSettings {
            limits,
            rhythm: CheckIntervals { overlap: config.sync.overlap, late_check: config.sync.late_check },
            probe_interval: config.sync.probe_interval,
            scrub_rate: config.sync.scrub_rate,
            differential_interval: config.sync.differential_interval,
            delete_limit: DeleteLimit::new(config.sync.max_delete_fraction),
            credit: CreditLimits {
                rows: FULL_BATCHES_IN_FLIGHT * limits.nodes.max(limits.relationships),
                bytes: FULL_BATCHES_IN_FLIGHT * limits.bytes,
            },
        },
        schedule,
        allow_deletes: false,
        timing: SupervisionTimeouts::default(),
        health,
    })
}

fn batch_limits(sync: &SyncConfig) -> BatchLimits {
    BatchLimits {
        nodes: sync.node_batch_size,
        relationships: sync.relationship_batch_size,
        bytes: sync.batch_bytes.bytes() as usize,
    }
}
