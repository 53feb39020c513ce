//! The life of a pipeline, against a source and a cache in memory.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, Addr};
use tokio::sync::{oneshot, watch};

use super::credit::CreditLimits;
use super::generation_actors::GenerationSettings;
use super::health::Health;
use super::in_memory::{InMemory, InjectedFault, Place, World, entity};
use super::member::Member;
use super::messages::{
    Acknowledged, ActorStopped, Approve, AwaitApplied, RequestPass, SetPaused, Shutdown, WorkerExit, WorkerExited,
};
use super::pipeline::{Pipeline, PipelineOutcome, Schedule, SupervisionTimeouts};
use super::spreading::{Membership, SpreadTimes};
use super::supervisor::{StopMember, Supervisor};
use crate::error::{Error, ErrorKind};
use crate::model::batch::Generation;
use crate::model::bookmark::Bookmark;
use crate::model::guard::DeleteLimit;
use crate::model::pass::{PassMode, PassSummary, Totals};
use crate::model::pass_outcome::PassOutcome;
use crate::model::scrub_rate::ScrubRate;
use crate::model::spread::InstanceId;
use crate::retry::Backoff;
use crate::sync::{BatchLimits, CheckIntervals};
use crate::telemetry::status::{PassResult, PipelineState, PipelineStatus, Promise, ServiceStatus};

const NODES: u64 = 95;
const BATCH: usize = 10;
const IN_FLIGHT: usize = 30;

/// Nothing here takes longer than milliseconds; a test that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Run {
    supervisor: Addr<Supervisor>,
    outcome: oneshot::Receiver<PipelineOutcome>,
    status: watch::Receiver<ServiceStatus>,
}

pub(super) fn run(process: Arc<InMemory>, schedule: Schedule) -> Run {
    run_compared(process, schedule, None)
}

/// With a comparison in the background.
fn run_compared(process: Arc<InMemory>, schedule: Schedule, scrub_rate: Option<ScrubRate>) -> Run {
    let (health, status) = Health::new();
    let timing = SupervisionTimeouts {
        backoff: Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(5) },
        halted: Duration::from_millis(5),
        ..SupervisionTimeouts::default()
    };
    let (supervisor, outcome) = Supervisor::new(Pipeline {
        name: "p".to_owned(),
        graph: "g".to_owned(),
        profile: Arc::clone(&process.world.profile),
        connector: process,
        settings: GenerationSettings {
            limits: BatchLimits { nodes: BATCH, relationships: BATCH, bytes: 1 << 20 },
            credit: CreditLimits { rows: IN_FLIGHT, bytes: 1 << 20 },
            rhythm: CheckIntervals { overlap: Duration::from_secs(900), late_check: Duration::from_secs(30) },
            probe_interval: None,
            scrub_rate,
            differential_interval: None,
            delete_limit: DeleteLimit::new(0.5),
        },
        schedule,
        allow_deletes: false,
        timing,
        health: health.start().recipient(),
    });
    Run { supervisor: supervisor.start(), outcome, status }
}

impl Run {
    pub(super) async fn ended(self) -> PipelineOutcome {
        tokio::time::timeout(PATIENCE, self.outcome).await.expect("the pipeline ends").unwrap()
    }

    pub(super) async fn until(&mut self, what: &str, condition: impl Fn(&PipelineStatus) -> bool) -> PipelineStatus {
        let reached = self.status.wait_for(|status| status.pipelines.get("p").is_some_and(&condition));
        let status = tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}")).unwrap();
        status.pipelines["p"].clone()
    }
}

pub(super) const CONTINUOUS: Schedule = Schedule::Continuous { full_first: false, interval: None };

pub(super) fn in_step(status: &PipelineStatus) -> bool {
    status.state == PipelineState::Idle
}

#[actix::test]
async fn a_full_pass_brings_everything_over() {
    let world = World::of(NODES);
    let summary = run(InMemory::process(&world), Schedule::Once(PassMode::Full)).ended().await.unwrap().unwrap().pass;
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!((summary.totals.nodes, summary.totals.relationships), (NODES, NODES - 1));
    assert!(!world.is_owned(), "the lease is given back");
    let checkpoint = world.checkpoint.lock().clone().unwrap();
    assert_eq!((checkpoint.watermark, checkpoint.pass), (Some(summary.began_at), None));
}

/// Or a source that was restored in between would not show.
#[actix::test]
async fn a_checkpoint_tells_the_newest_commit_that_was_read() {
    let world = World::of(NODES);
    world.apply_permits.forget_permits(usize::MAX);
    world.apply_permits.add_permits(2);
    let mut run = run(InMemory::process(&world), Schedule::Once(PassMode::Full));
    run.until("two batches", |status| status.checkpoint_sequence >= 4).await;
    world.nodes.lock().push(entity(NODES));
    world.apply_permits.add_permits(1000);
    let summary = run.ended().await.unwrap().unwrap().pass;
    let checkpoint = world.checkpoint.lock().clone().unwrap();
    let of = |nodes: u64| Some(Bookmark::new(format!("{nodes}/{}", NODES - 1)));
    assert_eq!((summary.bookmark, checkpoint.bookmark, checkpoint.newest_read), (of(NODES), of(NODES), of(NODES + 1)));
}

#[actix::test]
async fn an_incremental_pass_on_an_empty_cache_is_preceded_by_a_full_one() {
    let world = World::of(NODES);
    let summary = run(InMemory::process(&world), Schedule::Once(PassMode::Incremental)).ended().await.unwrap().unwrap().pass;
    assert_eq!(summary.mode, PassMode::Incremental);
    assert_eq!(world.differences(), Vec::<String>::new());
}

/// Every fault ends in a new generation that ends converged, and nothing acknowledged is read twice.
async fn survives(place: Place, after: u64, fault: InjectedFault) {
    let world = World::of(NODES);
    world.strike(place, after, fault);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    let status = run.until("in step", in_step).await;
    let context = format!("{fault:?} at {place:?} after {after}");
    assert!(world.struck(), "{context}: the fault struck");
    assert_eq!((status.generation, status.faults), (2, 1), "{context}");
    assert_eq!(world.differences(), Vec::<String>::new(), "{context}");
    assert_nothing_acknowledged_was_read_twice(&world, &context);
}

/// A page read in vain may be read again, but once a page was read twice, no page before it may be.
fn assert_nothing_acknowledged_was_read_twice(world: &World, context: &str) {
    let pages = world.pages_read.lock();
    let mut times: HashMap<&String, usize> = HashMap::new();
    pages.iter().flatten().for_each(|key| *times.entry(key).or_default() += 1);
    let again = times.values().filter(|times| **times > 1).count();
    assert!(again <= IN_FLIGHT + BATCH, "{context}: {again} rows were read twice, more than were in flight");
    assert!(times.values().all(|times| *times <= 2), "{context}: a row was read three times");
}

#[actix::test]
async fn an_error_leads_to_a_new_generation_that_converges() {
    for place in [Place::ReadPage, Place::BeforeApply, Place::AfterApply, Place::AfterCheckpoint] {
        for after in [0, 3, 12] {
            survives(place, after, InjectedFault::Error(ErrorKind::CacheProtocol)).await;
        }
    }
}

#[actix::test]
async fn a_panic_leads_to_a_new_generation_that_converges() {
    for place in [Place::ReadPage, Place::BeforeApply, Place::AfterApply, Place::AfterCheckpoint] {
        for after in [0, 3, 12] {
            survives(place, after, InjectedFault::Panic).await;
        }
    }
}

#[actix::test]
async fn a_stopped_actor_leads_to_a_new_generation_that_converges() {
    for member in [Member::Extractor, Member::Transformer, Member::Loader, Member::LeaseKeeper] {
        let world = World::of(NODES);
        let permits = world.apply_permits.forget_permits(usize::MAX);
        assert!(permits > 0);
        world.apply_permits.add_permits(3);
        let mut run = run(InMemory::process(&world), CONTINUOUS);
        run.until("three batches", |status| status.checkpoint_sequence >= 5).await;
        run.supervisor.do_send(StopMember(member));
        // The loader finishes the batch that it is in before it ends.
        world.apply_permits.add_permits(1000);
        let status = run.until("in step", |status| in_step(status) && status.generation == 2).await;
        assert_eq!(status.faults, 1, "{member}");
        assert_eq!(world.differences(), Vec::<String>::new(), "{member}");
        assert_nothing_acknowledged_was_read_twice(&world, &member.to_string());
    }
}

#[actix::test]
async fn a_slow_loader_holds_the_extractor_back() {
    let world = World::of(NODES);
    world.apply_permits.forget_permits(usize::MAX);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    let mut released = 0;
    while world.rows_applied.load(Ordering::SeqCst) < 2 * NODES - 1 {
        // As far as the credits let it: every row in flight, and no batch applied.
        let full = |status: &PipelineStatus| status.in_flight.rows >= IN_FLIGHT - BATCH || in_step(status);
        run.until("the credits are used up", full).await;
        world.apply_permits.add_permits(1);
        released += 1;
        assert!(released < 100, "each permit brings a batch");
        tokio::task::yield_now().await;
    }
    let ahead = world.most_ahead.load(Ordering::SeqCst);
    assert!(ahead <= IN_FLIGHT as u64, "{ahead} rows were in flight, {IN_FLIGHT} allowed");
    assert!(ahead > BATCH as u64, "reading went on while a batch was applied");
    run.until("in step", in_step).await;
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[actix::test]
async fn messages_of_an_earlier_generation_change_nothing() {
    let world = World::of(NODES);
    world.strike(Place::ReadPage, 2, InjectedFault::Panic);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    let before = run.until("in step in a second generation", |status| in_step(status) && status.generation == 2).await;
    let stale = Generation(1);
    let totals = Totals { nodes: 7, ..Totals::default() };
    let began_at = chrono::DateTime::UNIX_EPOCH;
    let ended = Some(PassSummary { mode: PassMode::Full, began_at, bookmark: None, ended_at: began_at, totals });
    let acknowledged = Acknowledged {
        generation: stale,
        sequence: 999,
        totals,
        cursor: None,
        deferred: vec![],
        ended,
        outcome: PassOutcome::default(),
        equal_as_of: None,
        told_as_of: None,
        is_proven_by_log: false,
        quarantined: 9,
        quarantine: None,
        indexes: None,
        held: vec![],
        changes: Arc::default(),
    };
    run.supervisor.do_send(acknowledged);
    let exit = WorkerExit::Failed(Error::new(ErrorKind::Panic, "stale"));
    run.supervisor.do_send(WorkerExited { generation: stale, member: Member::Loader, exit });
    run.supervisor.do_send(ActorStopped { generation: stale, member: Member::Loader });
    run.supervisor.do_send(RequestPass(PassMode::Incremental));
    let after = run.until("one more pass", |status| {
        in_step(status) && status.last_pass.as_ref().is_some_and(|pass| pass.mode == PassMode::Incremental)
    });
    let after = after.await;
    assert_eq!((after.generation, after.faults), (before.generation, before.faults));
    assert!(after.watermark > before.watermark && after.checkpoint_sequence < 999);
}

#[actix::test]
async fn a_relationship_read_before_its_endpoint_arrives_all_the_same() {
    let world = World::of(NODES);
    let late = world.hide_from_first_page(40);
    world.apply_permits.forget_permits(usize::MAX);
    world.apply_permits.add_permits(2);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    // The page that would have held the node has been read by the time that its neighbours are applied.
    run.until("two batches", |status| status.checkpoint_sequence >= 4).await;
    while !world.pages_read.lock().iter().flatten().any(|key| key == "n00041") {
        world.apply_permits.add_permits(1);
        tokio::task::yield_now().await;
    }
    world.nodes.lock().push(late);
    world.apply_permits.add_permits(1000);
    run.until("in step", in_step).await;
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[actix::test]
async fn a_second_process_is_kept_out_until_the_first_has_ended() {
    let world = World::of(NODES);
    let mut first = run(InMemory::process(&world), CONTINUOUS);
    first.until("in step", in_step).await;
    let refused = run(InMemory::process(&world), Schedule::Once(PassMode::Full)).ended().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseHeld);

    let mut waiting = run(InMemory::process(&world), CONTINUOUS);
    let standby = waiting.until("standby", |status| status.leader().is_some()).await;
    assert_eq!((standby.faults, standby.last_fault), (0, None), "a standby is no fault");
    first.supervisor.do_send(Shutdown);
    first.ended().await.unwrap();
    waiting.until("in step", in_step).await;
}

/// A load balancer may send a command to a process that is about to stand by. The process that leads then has not heard of it.
#[actix::test]
async fn a_process_forgets_what_it_was_told_before_it_stood_by() {
    let world = World::of(300);
    let mut first = run(InMemory::process(&world), CONTINUOUS);
    first.until("in step", in_step).await;
    let mut waiting = run(InMemory::process(&world), CONTINUOUS);
    waiting.supervisor.do_send(Approve);
    waiting.until("standby", stands_by).await;
    first.supervisor.do_send(Shutdown);
    first.ended().await.unwrap();
    waiting.until("in step", in_step).await;
    world.facts.lock().retain(|fact| fact.number.0 >= 200);
    waiting.supervisor.do_send(RequestPass(PassMode::Incremental));
    let status = waiting.until("held", |status| !status.held.is_empty()).await;
    assert_eq!(status.held[0].held.number, 199, "{:?}", status.held);
}

/// An instance that shares two pipelines with others. Nothing here waits as long as between processes.
fn instance(id: &str, worlds: &[Arc<World>; 2]) -> [Run; 2] {
    let short = Duration::from_millis(50);
    let times = SpreadTimes { look_around: short, grace: short * 2, settle: short };
    let membership = Arc::new(Membership::of(InstanceId::new(id), times));
    let [p, q] = worlds;
    [(p, "p"), (q, "q")].map(|(world, name)| run(InMemory::instance(world, name, &membership), CONTINUOUS))
}

fn stands_by(status: &PipelineStatus) -> bool {
    status.leader().is_some()
}

#[actix::test]
async fn one_of_two_pipelines_moves_to_an_instance_that_joins_and_back_when_it_ends() {
    let worlds = [World::of(NODES), World::of(NODES)];
    let [mut p, mut q] = instance("a", &worlds);
    p.until("in step", in_step).await;
    q.until("in step", in_step).await;
    let [mut other_p, mut other_q] = instance("b", &worlds);
    let moves_p = tokio::select! {
        _ = other_p.until("in step", in_step) => true,
        _ = other_q.until("in step", in_step) => false,
    };
    let (moved, stayed) = if moves_p { (&mut p, &mut q) } else { (&mut q, &mut p) };
    let status = moved.until("standby", stands_by).await;
    assert_eq!((status.faults, status.last_fault), (0, None), "a handover is no fault");
    let other_stayed = if moves_p { &mut other_q } else { &mut other_p };
    other_stayed.until("standby", stands_by).await;
    stayed.until("in step", in_step).await;
    for other in [other_p, other_q] {
        other.supervisor.do_send(Shutdown);
        other.ended().await.unwrap();
    }
    p.until("in step again", in_step).await;
    q.until("in step again", in_step).await;
    assert!(worlds.iter().all(|world| world.differences().is_empty() && world.is_owned()));
}

#[actix::test]
async fn a_shutdown_applies_what_was_read_and_gives_the_lease_back() {
    let world = World::of(NODES);
    world.apply_permits.forget_permits(usize::MAX);
    world.apply_permits.add_permits(2);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("two batches", |status| status.checkpoint_sequence >= 4).await;
    run.supervisor.do_send(Shutdown);
    run.until("stopping", |status| status.state == PipelineState::Stopping).await;
    world.apply_permits.add_permits(1000);
    assert_eq!(run.ended().await.unwrap(), None);
    assert!(!world.is_owned());
    let applied = world.rows_applied.load(Ordering::SeqCst);
    let checkpoint = world.checkpoint.lock().clone().unwrap();
    let pass = checkpoint.pass.unwrap();
    assert_eq!(pass.totals.nodes + pass.totals.relationships, applied, "the checkpoint is where the cache is");
    assert_eq!(pass.totals.read, applied);
    assert!(applied > 2 * BATCH as u64, "what was in flight was applied");
}

#[actix::test]
async fn a_server_that_refuses_is_tried_again_and_a_one_shot_says_so_at_once() {
    let world = World::of(NODES);
    world.strike(Place::Connect, 0, InjectedFault::Error(ErrorKind::SourceAuthentication));
    let refused = run(InMemory::process(&world), Schedule::Once(PassMode::Full)).ended().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SourceAuthentication);
    assert!(world.checkpoint.lock().is_none() && !world.is_owned(), "nothing was written");

    world.strike(Place::Connect, 0, InjectedFault::Error(ErrorKind::SourceAuthentication));
    let mut service = run(InMemory::process(&world), CONTINUOUS);
    service.until("in step", in_step).await;
}

#[actix::test]
async fn a_new_node_arrives_with_a_requested_pass() {
    let world = World::of(NODES);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("in step", in_step).await;
    world.nodes.lock().push(entity(NODES));
    run.supervisor.do_send(RequestPass(PassMode::Incremental));
    let incremental = |status: &PipelineStatus| status.last_pass.as_ref().is_some_and(|pass| pass.mode == PassMode::Incremental);
    run.until("incremental pass", incremental).await;
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[actix::test]
async fn a_graph_deleted_just_before_a_change_is_filled_again() {
    let world = World::of(NODES);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("in step", in_step).await;
    world.delete_graph();
    run.supervisor.do_send(RequestPass(PassMode::Incremental));
    let status = run.until("filled by another generation", |status| in_step(status) && status.generation == 2).await;
    assert_eq!(status.last_pass.unwrap().mode, PassMode::Full);
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[actix::test]
async fn deleted_elements_go_with_an_incremental_pass() {
    let world = World::of(NODES);
    let mut run = run(InMemory::process(&world), Schedule::Continuous { full_first: false, interval: Some(PATIENCE) });
    run.until("in step", in_step).await;
    world.facts.lock().retain(|fact| fact.number.0 != 7 && fact.number.0 != 50 && fact.number.0 != 51);
    world.nodes.lock().retain(|node| node.number.0 != 50);
    run.supervisor.do_send(RequestPass(PassMode::Incremental));
    // A node takes its relationships with it: what is left over goes with the second pass, which follows by itself.
    run.until("all deleted", |status| in_step(status) && world.differences().is_empty()).await;
}

/// A comparison that was held back begins at the end of a pass: it must not take the place of the next one.
#[actix::test]
async fn passes_follow_one_another_although_a_comparison_begins_between_them() {
    let world = World::of(NODES);
    let schedule = Schedule::Continuous { full_first: false, interval: Some(Duration::from_millis(20)) };
    let mut run = run_compared(InMemory::process(&world), schedule, Some(ScrubRate::Unlimited));
    run.until("some passes", |status| status.passes_ended >= 4).await;
}

#[actix::test]
async fn a_comparison_under_way_shows_how_far_it_is() {
    let world = World::of(NODES);
    let mut run = run_compared(InMemory::process(&world), CONTINUOUS, Some(ScrubRate::RowsPerSecond(100)));
    let is_under_way = |status: &PipelineStatus| status.comparison.as_ref().is_some_and(|comparison| comparison.rows > 0);
    let comparison = run.until("under way", is_under_way).await.comparison.unwrap();
    assert!(comparison.expected.is_some_and(|expected| expected >= NODES && comparison.rows < expected), "{comparison:?}");
    run.until("over", |status| status.comparison.is_none() && status.compared_at.is_some()).await;
}

/// The pass that covers all that is there now.
async fn covering(run: &Run) -> Promise {
    run.supervisor.send(AwaitApplied(Bookmark::new("now"))).await.unwrap().unwrap()
}

#[actix::test]
async fn a_pass_that_begins_after_the_question_covers_it() {
    let world = World::of(NODES);
    world.apply_permits.forget_permits(usize::MAX);
    world.apply_permits.add_permits(2);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("two batches", |status| status.checkpoint_sequence >= 4).await;
    // The full pass under way may have read too early.
    let pass = covering(&run).await;
    assert_eq!(pass.number, 2);
    world.apply_permits.add_permits(1000);
    let status = run.until("covered", |status| status.has_ended(pass)).await;
    assert_eq!((status.passes_begun, status.passes_ended, status.statistics.passes[&PassMode::Full].ended), (2, 2, 1));
    let idle = run.until("in step", in_step).await;
    let pass = covering(&run).await;
    assert_eq!(pass.number, idle.passes_begun + 1);
    run.until("covered by a pass of its own", |status| status.has_ended(pass)).await;
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[actix::test]
async fn what_is_covered_was_looked_at_thoroughly_although_the_covering_pass_broke_off() {
    let world = World::of(NODES);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("in step", in_step).await;
    world.strike(Place::ReadPage, 0, InjectedFault::Error(ErrorKind::CacheProtocol));
    let pass = covering(&run).await;
    let status = run.until("covered", |status| status.passes_ended >= pass.number).await;
    assert!(world.struck() && status.generation == 2, "{status:?}");
    assert!(status.assured.is_some() && !status.has_ended(pass), "the client asks the new generation: {status:?}");
}

#[actix::test]
async fn a_pass_that_goes_on_has_no_number() {
    let world = World::of(NODES);
    world.strike(Place::AfterCheckpoint, 12, InjectedFault::Error(ErrorKind::CacheProtocol));
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    let status = run.until("in step in a second generation", |status| in_step(status) && status.generation == 2).await;
    // The first one was broken off and went on; what came after it is the second one.
    assert_eq!((status.passes_begun, status.passes_ended), (2, 2));
    let full = status.statistics.passes[&PassMode::Full];
    assert_eq!((full.ended, full.failed), (1, 1));
    // Newest first, the one that was broken off among them.
    let results: Vec<PassResult> = status.history.iter().map(|pass| pass.result).collect();
    assert_eq!(results, [PassResult::Ended, PassResult::Ended, PassResult::Failed]);
}

#[actix::test]
async fn a_pause_holds_passes_back_over_a_restart() {
    let world = World::of(NODES);
    let mut first = run(InMemory::process(&world), CONTINUOUS);
    first.until("in step", in_step).await;
    first.supervisor.send(SetPaused(true)).await.unwrap().unwrap();
    let paused = first.until("paused", |status| status.state == PipelineState::Paused && status.paused).await;
    world.nodes.lock().push(entity(NODES));
    first.supervisor.do_send(RequestPass(PassMode::Incremental));
    assert!(world.is_owned(), "the lease is kept");
    first.supervisor.do_send(Shutdown);
    let last = first.until("stopped", |status| status.state == PipelineState::Stopped).await;
    assert_eq!(last.passes_begun, paused.passes_begun);
    first.ended().await.unwrap();

    let mut second = run(InMemory::process(&world), CONTINUOUS);
    let paused = second.until("still paused", |status| status.state == PipelineState::Paused).await;
    assert_eq!((paused.passes_begun, world.differences().len()), (0, 1));
    second.supervisor.send(SetPaused(false)).await.unwrap().unwrap();
    second.until("in step", in_step).await;
    assert_eq!(world.differences(), Vec::<String>::new());
    assert!(!*world.paused.lock());
}

#[actix::test]
async fn a_full_pass_that_is_asked_for_in_a_pause_comes_after_it() {
    let world = World::of(NODES);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("in step", in_step).await;
    run.supervisor.send(SetPaused(true)).await.unwrap().unwrap();
    run.supervisor.do_send(RequestPass(PassMode::Full));
    run.supervisor.do_send(RequestPass(PassMode::Incremental));
    run.supervisor.send(SetPaused(false)).await.unwrap().unwrap();
    let status =
        run.until("a second full pass", |status| in_step(status) && status.statistics.passes[&PassMode::Full].ended == 2);
    assert!(!status.await.paused);
}

#[actix::test]
async fn a_wait_for_a_delete_ends_with_the_pass_that_carries_it_out() {
    let world = World::of(NODES);
    let mut run = run(InMemory::process(&world), CONTINUOUS);
    run.until("in step", in_step).await;
    world.facts.lock().retain(|fact| fact.number.0 != 7);
    let pass = covering(&run).await;
    let status = run.until("covered", |status| status.has_ended(pass)).await;
    assert_eq!(world.differences(), Vec::<String>::new());
    assert_eq!(status.passes_begun, pass.number, "nothing was committed meanwhile, so one reading says it");
}
