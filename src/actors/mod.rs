//! The actors. Each is a thin shell around one task that does the work; see [`worker`] for why.
//!
//! ```text
//! Supervisor ──starts──► Extractor ──Extracted──► Transformer ──Prepared──► Loader
//!     ▲                                                                        │
//!     └───────────────────────────── Acknowledged ◄────────────────────────────┘
//! ```
//!
//! A pipeline's actors live and end together, as one generation: half a restart would break the order of the checkpoint.

pub mod credit;
pub mod extractor;
mod full_sync;
pub mod group;
pub mod health;
pub mod ignore_quarantine;
mod index_upkeep;
pub mod launch;
mod lease_keeper;
pub mod loader;
pub mod member;
pub mod messages;
pub mod pace;
pub mod pass_order;
pub mod pipeline;
mod prober;
pub mod rollback;
pub mod supervisor;
pub mod transformer;
pub mod worker;

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

/// Where an actor of a generation reports its end.
#[derive(Clone)]
pub struct Reports {
    /// Its worker's.
    pub exited: Recipient<WorkerExited>,
    /// Its shell's.
    pub stopped: Recipient<ActorStopped>,
    /// The span that its events are in.
    pub span: tracing::Span,
}

impl Reports {
    fn stopped(&self, generation: Generation, member: Member) {
        self.stopped.do_send(ActorStopped { generation, member });
    }
}

/// Stops an actor's shell from outside, as a defect would.
#[cfg(test)]
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct StopShell;
