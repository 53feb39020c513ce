//! The actors. Each is a thin shell around one task that does the work; see [`worker`] for why.
//!
//! ```text
//! Supervisor ──starts──► Extractor ──Extracted──► Transformer ──Prepared──► Loader
//!     ▲                                                                        │
//!     └───────────────────────────── Acknowledged ◄────────────────────────────┘
//! ```
//!
//! A pipeline's actors live and end together, as one generation: half a restart would break the order of the checkpoint.

pub(crate) mod connection_factory;
mod content_watch;
pub(crate) mod credit;
pub(crate) mod extractor;
mod feed_reader;
mod full_sync;
pub(crate) mod generation_actors;
pub(crate) mod health;
pub(crate) mod ignore_quarantine;
mod index_upkeep;
pub(crate) mod launch;
mod lease_keeper;
pub(crate) mod loader;
pub(crate) mod member;
pub(crate) mod messages;
pub(crate) mod pass_order;
pub(crate) mod pipeline;
mod prober;
pub(crate) mod rollback;
mod shell;
pub(crate) mod spreading;
mod stage_beside;
mod standby;
pub(crate) mod stream_load;
pub(crate) mod supervisor;
pub(crate) mod transformer;
pub(crate) mod worker;

#[cfg(test)]
mod every_error_tests;
#[cfg(test)]
mod in_memory;
#[cfg(test)]
mod launch_tests;
#[cfg(test)]
mod pipeline_tests;

use actix::Recipient;

use crate::model::batch::Generation;
use member::Member;
use messages::{ActorStopped, WorkerExited};

/// Messages that a mailbox holds. The credits allow fewer batches than this in flight, so a full mailbox is a defect; the
/// rest is room for control messages.
const MAILBOX_CAPACITY: usize = 4 * credit::MAX_BATCHES;

/// The recipients of an actor's reports about its end.
#[derive(Clone)]
pub(crate) struct ExitRecipients {
    pub exited: Recipient<WorkerExited>,
    pub stopped: Recipient<ActorStopped>,
    /// The span of the actor's events.
    pub span: tracing::Span,
}

impl ExitRecipients {
    fn stopped(&self, generation: Generation, member: Member) {
        self.stopped.do_send(ActorStopped { generation, member });
    }
}

/// Stops an actor's shell from outside, as a defect would.
#[cfg(test)]
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct StopShell;
