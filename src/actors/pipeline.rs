//! The input and the result of a supervisor.

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use super::connection_factory::{ConnectionFactory, FittedPipeline};
use super::generation_actors::GenerationSettings;
use super::messages::StatusChanged;
use crate::error::Result;
use crate::model::comparison::Verdict;
use crate::model::guard::HeldDeletes;
use crate::model::pass::{PassMode, PassSummary};
use crate::model::profile::Profile;
use crate::retry::Backoff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// One pass of this mode, preceded by any pass that must come before it; then the end.
    Once(PassMode),
    /// Passes of this mode over a stage until it is settled. The full sync decides about further ones.
    Stage(PassMode),
    /// Passes that follow the source until the service stops.
    Continuous {
        /// Whether the first pass is a full one even if the cache is in step.
        full_first: bool,
        /// The longest time between two incremental passes; absent if they are turned off.
        interval: Option<Duration>,
    },
}

impl Schedule {
    /// Whether each commit of the source leads to a pass.
    pub(crate) fn follows(self) -> bool {
        matches!(self, Schedule::Continuous { interval: Some(_), .. })
    }

    /// Whether passes read what a transaction log tells. A stage that it brings up to date lacks nothing at the swap.
    pub(crate) fn reads_log(self) -> bool {
        self.follows() || matches!(self, Schedule::Stage(_))
    }
}

/// Times of supervision; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SupervisionTimeouts {
    pub backoff: Backoff,
    /// The time without a fault after which a generation resets the count of failures.
    pub quiet: Duration,
    /// The pause before another attempt if an operator is needed.
    pub halted: Duration,
    /// The time that an orderly shutdown may take.
    pub shutdown: Duration,
}

impl Default for SupervisionTimeouts {
    fn default() -> Self {
        Self {
            backoff: Backoff::GENERATION,
            quiet: Duration::from_secs(60),
            halted: Duration::from_secs(30),
            // Containers are killed ten seconds after the request to stop.
            shutdown: Duration::from_secs(8),
        }
    }
}

/// Everything that a supervisor needs.
pub(crate) struct Pipeline {
    pub name: String,
    /// The graph that the pipeline keeps equal to the source.
    pub graph: String,
    pub connector: Arc<dyn ConnectionFactory>,
    /// The profile of the elements that are kept in step.
    pub profile: Arc<Profile>,
    /// The settings of its generations.
    pub settings: GenerationSettings,
    pub schedule: Schedule,
    /// Whether an operator has approved all deletes.
    pub allow_deletes: bool,
    pub timing: SupervisionTimeouts,
    /// The recipient of its state.
    pub health: Recipient<StatusChanged>,
}

impl Pipeline {
    /// Returns the connections with the profile as it was given.
    pub(super) fn unfitted(&self) -> FittedPipeline {
        FittedPipeline { connector: Arc::clone(&self.connector), profile: Arc::clone(&self.profile) }
    }
}

/// The result of a pipeline: the last pass, if one ended, or why it failed.
pub(crate) type PipelineOutcome = Result<Option<Box<OneShotResult>>>;

/// The result of a one-shot pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OneShotResult {
    pub pass: PassSummary,
    /// The verdict of a comparison.
    pub verdict: Option<Verdict>,
    /// Deletes that wait for an operator's approval.
    pub held: Vec<HeldDeletes>,
    /// Whether nothing is left to do of what the pass found. So many differences are mended at once that another run may have to
    /// mend the rest.
    pub is_finished: bool,
}

impl OneShotResult {
    /// The result of a pass other than a comparison: no verdict and no held deletes.
    pub(super) fn of(pass: PassSummary) -> Box<Self> {
        Box::new(Self { pass, verdict: None, held: Vec::new(), is_finished: true })
    }
}

/// An operator to a supervisor: continue with this pipeline. The answer is whether this changes anything.
#[derive(Message)]
#[rtype(result = "crate::error::Result<bool>")]
pub(crate) struct Reconfigure {
    /// The pipeline from now on.
    pub pipeline: Box<Pipeline>,
    /// Whether its settings changed. Its profile may have changed in either case.
    pub changed: bool,
}
