//! What a supervisor is given, and what it returns.

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use super::generation_actors::Settings;
use super::launch::{Connector, ResolvedPipeline};
use super::messages::StatusChanged;
use crate::error::Result;
use crate::model::comparison::Verdict;
use crate::model::guard::HeldDeletes;
use crate::model::pass::{Mode, PassSummary};
use crate::model::profile::Profile;
use crate::retry::Backoff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// One pass of this mode, and what must come before it; then the end.
    Once(Mode),
    /// Passes of this mode over a stage until it is settled; the full sync decides what follows.
    Stage(Mode),
    /// Passes that follow the source until the service stops.
    Continuous {
        /// Whether the first pass is a full one even if the cache is in step.
        full_first: bool,
        /// The longest time between two incremental passes; absent where they are turned off.
        interval: Option<Duration>,
    },
}

impl Schedule {
    /// Whether each commit of the source leads to a pass.
    pub(crate) fn follows(self) -> bool {
        matches!(self, Schedule::Continuous { interval: Some(_), .. })
    }

    /// Whether passes read what a transaction log tells. A stage that is brought up to date by it lacks nothing when it is swapped in.
    pub(crate) fn reads_log(self) -> bool {
        self.follows() || matches!(self, Schedule::Stage(_))
    }
}

/// Times of supervision; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub backoff: Backoff,
    /// A generation that lived this long without a fault wipes the count of failures.
    pub quiet: Duration,
    /// The pause before something that needs a person is tried again.
    pub halted: Duration,
    /// How long an orderly shutdown may take.
    pub shutdown: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            backoff: Backoff::GENERATION,
            quiet: Duration::from_secs(60),
            halted: Duration::from_secs(30),
            // Containers are killed ten seconds after they are asked to stop.
            shutdown: Duration::from_secs(8),
        }
    }
}

/// All that a supervisor needs.
pub(crate) struct Pipeline {
    pub name: String,
    /// The graph that it keeps.
    pub graph: String,
    pub connector: Arc<dyn Connector>,
    /// What is kept in step.
    pub profile: Arc<Profile>,
    /// What its generations are told.
    pub settings: Settings,
    pub schedule: Schedule,
    /// Whether a person lets all deletes through.
    pub allow_deletes: bool,
    pub timing: Timing,
    /// Where its state goes.
    pub health: Recipient<StatusChanged>,
}

impl Pipeline {
    /// The profile as it was given.
    pub(super) fn unfitted(&self) -> ResolvedPipeline {
        ResolvedPipeline { connector: Arc::clone(&self.connector), profile: Arc::clone(&self.profile) }
    }
}

/// How a pipeline ended: the last pass, if one ended, or why it failed.
pub(crate) type PipelineOutcome = Result<Option<Box<Done>>>;

/// What a one-shot pipeline did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Done {
    pub pass: PassSummary,
    /// What a comparison says.
    pub verdict: Option<Verdict>,
    /// Deletes that wait for a person.
    pub held: Vec<HeldDeletes>,
}

impl Done {
    /// The result of a pass other than a comparison: no verdict and no held deletes.
    pub(super) fn of(pass: PassSummary) -> Box<Self> {
        Box::new(Self { pass, verdict: None, held: Vec::new() })
    }
}

/// An operator to a supervisor: go on as this says. Answered with whether anything changes by it.
#[derive(Message)]
#[rtype(result = "crate::error::Result<bool>")]
pub(crate) struct Reconfigure {
    /// What it is from now on.
    pub pipeline: Box<Pipeline>,
    /// Whether its settings changed; its profile may have all the same.
    pub changed: bool,
}
