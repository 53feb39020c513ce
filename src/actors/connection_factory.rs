//! The connections of a pipeline, as its actors ask for them.

use std::sync::Arc;

use async_trait::async_trait;

use super::spreading::Participant;
use crate::error::Result;
use crate::model::profile::Profile;
use crate::sink::{CheckpointStore, GraphLease, Sink, StageSink, Swap};
use crate::source::Source;
use crate::source::transaction_log::LogDirectory;
use crate::sync::CacheView;

/// A profile that fits the source in its current state, and the connections for it.
#[derive(Clone)]
pub(crate) struct FittedPipeline {
    pub connector: Arc<dyn ConnectionFactory>,
    pub profile: Arc<Profile>,
}

/// Makes the connections of a generation; each generation gets new ones.
#[async_trait]
pub(crate) trait ConnectionFactory: Send + Sync + 'static {
    /// Returns the pipeline for the kinds that the source has now; absent if the profile names its kinds.
    async fn fitted(&self) -> Result<Option<FittedPipeline>> {
        Ok(None)
    }
    async fn source(&self) -> Result<Arc<dyn Source>>;
    async fn sink(&self) -> Result<Box<dyn Sink>>;
    /// Connects to the data that is kept beside the graph.
    async fn store(&self) -> Result<Box<dyn CheckpointStore>>;
    /// Connects to the graph for reading, separately from its writer.
    async fn view(&self) -> Result<Box<dyn CacheView>>;
    /// Connects to the lease, the right to write.
    async fn lease(&self) -> Result<Box<dyn GraphLease>>;
    /// Returns this process as one of the instances that share the pipelines; absent if the pipeline is not spread over them.
    fn participant(&self) -> Option<Participant> {
        None
    }
    /// Returns what a full sync beside the graph needs; absent if full syncs are done in the graph itself.
    async fn stage_access(&self) -> Result<Option<StageAccess>> {
        Ok(None)
    }
    /// Returns the graph as a stage for GRAPH.BULK; absent for a graph that others read, and if that command cannot be used.
    async fn stage(&self) -> Result<Option<Box<dyn StageSink>>> {
        Ok(None)
    }
    /// Whether an operator allows the service to replace a graph that it did not fill.
    fn takes_over(&self) -> bool {
        false
    }
    /// Returns the directory of the source's transaction log, if this process can read it.
    fn transaction_log(&self) -> Option<LogDirectory> {
        None
    }
}

/// Everything that a full sync beside the live graph needs.
pub(crate) struct StageAccess {
    /// The connections to its stage while payloads fill it.
    pub by_payloads: Arc<dyn ConnectionFactory>,
    /// The connections to its stage as to any other graph.
    pub by_statements: Arc<dyn ConnectionFactory>,
    /// The swap that makes the stage the live graph.
    pub swap: Box<dyn Swap>,
    /// Whether the replaced graph is kept.
    pub keep_previous: bool,
}
