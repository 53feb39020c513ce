//! The table of errors, walked: whatever kind of error a pipeline meets, it does what the table says and ends converged, without
//! a new process.
#![allow(clippy::unwrap_used)]

use super::in_memory::{InMemory, InjectedFault, Place, World};
use super::pipeline::Schedule;
use super::pipeline_tests::{CONTINUOUS, in_step, run};
use crate::error::{Directive, ErrorKind};
use crate::model::pass::PassMode;

const NODES: u64 = 95;

/// In the middle of the work: batches were acknowledged before it.
const AFTER: u64 = 3;

fn struck(kind: ErrorKind) -> std::sync::Arc<World> {
    let world = World::of(NODES);
    world.strike(Place::BeforeApply, AFTER, InjectedFault::Error(kind));
    world
}

#[actix::test]
async fn a_service_goes_on_after_every_kind_of_error() {
    for kind in ErrorKind::ALL {
        let world = struck(kind);
        let mut service = run(InMemory::process(&world), CONTINUOUS);
        let status = service.until("in step", in_step).await;
        assert!(world.struck(), "{kind:?}");
        // A new generation: at once, or when a person may have done something. That a source grows is no fault of anybody.
        let faults = u64::from(kind != ErrorKind::SourceOutgrown);
        assert_eq!((status.generation, status.faults), (2, faults), "{kind:?}");
        assert_eq!(world.differences(), Vec::<String>::new(), "{kind:?}");
    }
}

#[actix::test]
async fn a_command_ends_with_what_a_person_has_to_do_and_else_goes_on() {
    for kind in ErrorKind::ALL {
        let world = struck(kind);
        let ended = run(InMemory::process(&world), Schedule::Once(PassMode::Full)).ended().await;
        match ended {
            Err(error) => assert!(error.kind() == kind && kind.directive() == Directive::Halt, "{kind:?}: {}", error.chain()),
            Ok(_) => {
                assert_ne!(kind.directive(), Directive::Halt, "{kind:?}");
                assert_eq!(world.differences(), Vec::<String>::new(), "{kind:?}");
            }
        }
        assert!(!world.is_owned(), "{kind:?}: the lease is given back");
    }
}
