//! The steps before a generation's actors start: connect, take the lease, read the checkpoint, decide.
//!
//! The order matters: nothing is written before both servers have answered and the graph's key has been checked.

use std::sync::Arc;

use chrono::Utc;

use super::connection_factory::FittedPipeline;
use super::content_watch::has_usable_nodes;
use super::lease_keeper::KeptLease;
use super::pass_order::PassOrder;
use super::stage_beside::StageBeside;
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::id_map::IdMap;
use crate::model::pass::PassMode;
use crate::model::profile::{Profile, ProfileFingerprint};
use crate::model::quarantined::Quarantined;
use crate::model::source_identity::SourceIdentity;
use crate::model::stage::PayloadState;
use crate::model::vector_dimensions::VectorDimensions;
use crate::sink::{CheckpointStore, GraphState, Sink, StageSink};
use crate::source::change_feed::ChangeFeed;
use crate::source::transaction_log::{LogDirectory, LogFollower, LogStart, LoggedDatabase, reaches};
use crate::source::{Source, expected_elements, missing_indexes};
use crate::sync::CacheView;
use crate::sync::dimensions::dimensions;
use crate::sync::first_pass::{LaunchDecision, LaunchFacts, PassReason, first_pass, newest_known};

/// The most missing indices of the source that the log names: `check` names all of them.
const NAMED_INDEXES: usize = 20;

/// A stage under way.
pub(crate) struct StageInProgress {
    pub stage: Box<dyn StageSink>,
    /// The ids of the nodes in the stage.
    pub ids: IdMap,
}

/// Everything that a generation starts with.
pub(crate) struct Launched {
    pub source: Arc<dyn Source>,
    pub bookmark: Bookmark,
    pub sink: Box<dyn Sink>,
    /// The store beside the graph.
    pub store: Box<dyn CheckpointStore>,
    /// The right to write the graph, held and renewed.
    pub lease: KeptLease,
    /// A reading view of the graph.
    pub view: Box<dyn CacheView>,
    /// The graph and its store, for the prober; absent for a graph that no other client reads.
    pub watched: Option<(Box<dyn Sink>, Box<dyn CheckpointStore>)>,
    /// The source's log, if it is followed.
    pub log: Option<FollowedLog>,
    /// The stage that a full pass fills by payloads.
    pub filling: Option<StageInProgress>,
    pub checkpoint: Checkpoint,
    /// The elements and properties that the graph cannot hold.
    pub quarantine: Vec<Quarantined>,
    /// The names of properties that the graph has.
    pub property_names: Vec<String>,
    /// The dimensions of its vectors.
    pub dimensions: VectorDimensions,
    /// Whether an operator has paused the passes.
    pub paused: bool,
    pub order: PassOrder,
    /// The reason for this order; absent for a pass that resumes.
    pub reason: Option<PassReason>,
    /// The number of elements in the source, if all of them are to be read.
    pub expected: Option<u64>,
    /// Whether full syncs are done beside the graph.
    pub beside: bool,
    /// Whether such a full sync was broken off and can resume.
    pub stage_under_way: bool,
}

/// A log with its follower.
pub(crate) struct FollowedLog {
    pub follower: LogFollower,
    pub feed: Arc<dyn ChangeFeed>,
}

/// Facts that this process knows from its earlier generations.
#[derive(Debug, Clone, Default)]
pub(crate) struct PriorGenerations {
    /// The number of the last checkpoint that this process knows.
    pub last_sequence: u64,
    /// Whether no later checkpoint was stored: this process has stored it as the leader.
    pub is_last: bool,
    /// The last bookmark of the source.
    pub last_bookmark: Option<Bookmark>,
}

/// The purpose of a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaunchRequest {
    /// The pass that was asked for, if any.
    pub wanted: Option<PassMode>,
    /// Whether the graph is a stage, which no other client reads.
    pub stage: bool,
    /// Whether passes read what a transaction log tells.
    pub reads_log: bool,
    /// Whether the lease is taken. If not, the launch ends before that as if another process held the lease, so that this process
    /// stands by; both sides have answered by then.
    pub takes_lease: bool,
}

/// Runs all steps, with the profile that fits the source now. On an error the lease is not held.
pub(crate) async fn launch(
    given: FittedPipeline,
    intent: LaunchRequest,
    known: PriorGenerations,
) -> Result<(FittedPipeline, Launched)> {
    let fitted = given.connector.fitted().await?.unwrap_or(given);
    let launched = launch_fitted(&fitted, intent, known).await?;
    Ok((fitted, launched))
}

async fn launch_fitted(fitted: &FittedPipeline, intent: LaunchRequest, known: PriorGenerations) -> Result<Launched> {
    let connector = &fitted.connector;
    let source = connector.source().await?;
    let identity = source.identity().await?;
    let bookmark = source.bookmark().await?;
    let mut sink = connector.sink().await?;
    let run_id = sink.identify().await?.run_id;
    let graph_exists = sink.state().await? == GraphState::Present;
    if !intent.takes_lease {
        return Err(Error::new(ErrorKind::LeaseHeld, "the lease is left to the instance that should take it"));
    }
    let reached = Reached { source, identity, bookmark, sink, run_id, graph_exists };
    let mut lease = KeptLease::acquire(connector.lease().await?).await?;
    let outcome = tokio::select! {
        outcome = prepare(fitted, intent, known, reached) => outcome,
        error = lease.lost() => return Err(error),
    };
    match outcome {
        Ok(prepared) => Ok(prepared.with(lease)),
        Err(error) => {
            // The error at hand matters more than a lease that runs out by itself.
            let _ = lease.release().await;
            Err(error)
        }
    }
}

/// Facts about both sides that are read before the lease is taken.
struct Reached {
    source: Arc<dyn Source>,
    identity: SourceIdentity,
    bookmark: Bookmark,
    sink: Box<dyn Sink>,
    run_id: Option<String>,
    graph_exists: bool,
}

/// A generation without its lease.
struct PreparedLaunch(Box<dyn FnOnce(KeptLease) -> Launched + Send>);

impl PreparedLaunch {
    fn with(self, lease: KeptLease) -> Launched {
        (self.0)(lease)
    }
}

/// Runs all steps that need the lease, however long they take.
async fn prepare(
    FittedPipeline { connector, profile }: &FittedPipeline,
    intent: LaunchRequest,
    known: PriorGenerations,
    reached: Reached,
) -> Result<PreparedLaunch> {
    let Reached { source, identity, bookmark, mut sink, run_id, graph_exists } = reached;
    let fingerprint = &profile.fingerprint();
    let mut store = connector.store().await?;
    let (checkpoint, quarantine, paused) = read(store.as_mut(), profile).await?;
    // A member of a cluster that has just become the leader is behind for a moment, which is no restored backup.
    let bookmark = match newest_known(checkpoint.as_ref(), known.last_bookmark.as_ref()) {
        Some(commit) if !bookmark.can_follow(commit) => source.bookmark_from(commit).await?,
        _ => bookmark,
    };
    // While the master of a cache changes, connections that are made one after the other can lead to different servers.
    if run_id.as_ref().zip(store.run_id().await?.as_ref()).is_some_and(|(one, other)| one != other) {
        return Err(Error::new(ErrorKind::CacheChanged, "the connections to the cache lead to different servers"));
    }
    let log = connector.transaction_log().filter(|_| intent.reads_log);
    let log_reaches = match log.zip(checkpoint.as_ref().and_then(Checkpoint::told_up_to)) {
        Some((log, position)) => reaches(log, position.clone()).await,
        None => false,
    };
    let facts = LaunchFacts {
        checkpoint: checkpoint.as_ref(),
        profile: fingerprint,
        routes: profile.routes.as_ref(),
        source: &identity,
        bookmark: Some(&bookmark),
        last_bookmark: known.last_bookmark.as_ref(),
        cache_run_id: run_id.as_deref(),
        last_sequence: known.last_sequence,
        is_last: known.is_last,
        graph_exists,
        log_reaches,
        now: Utc::now(),
    };
    let mut beside = match connector.stage_access().await? {
        Some(access) => Some(StageBeside::look(access, profile, &identity).await?),
        None => None,
    };
    // A full sync beside the graph requires no pass over the graph.
    let wanted = intent.wanted.filter(|mode| beside.is_none() || *mode != PassMode::Full);
    let mut decision = first_pass(&facts, wanted);
    let mut checkpoint = checkpoint;
    let filling = match connector.stage().await? {
        Some(stage) => filling(stage, profile, &mut decision, &mut checkpoint).await?,
        None => None,
    };
    let stored = checkpoint.is_some();
    let (mut checkpoint, order, reason) = starting_point(decision, checkpoint, fingerprint, identity, beside.is_some());
    let was_emptied = !intent.stage
        && checkpoint.is_filled()
        && sink.has_empty_graph().await?
        && has_usable_nodes(source.as_ref(), profile, quarantine.len()).await?;
    if was_emptied {
        // A client that asks a deleted graph makes it again, empty, and no pass over the log would fill it.
        checkpoint.note_doubt(&bookmark);
    }
    checkpoint.cache_run_id = run_id;
    checkpoint.found_kinds = profile.found_kinds();
    checkpoint.default_graph = profile.routes.as_ref().map(|routes| routes.default_graph().clone());
    // A number is never used twice: a state from before a wipe would pass for a newer one.
    checkpoint.sequence = checkpoint.sequence.max(known.last_sequence);
    let is_given_up = order.mode() == PassMode::Full && (beside.is_some() || !graph_exists);
    if stored && (is_given_up || was_emptied) {
        // From here on nothing relies on the graph any more; it answers queries unchanged until the stage replaces it. A graph that
        // is gone must not fail the generation that fills it, and a pass removes an empty graph, which is the only sign of the doubt.
        checkpoint.sequence += 1;
        store.store(&checkpoint).await?;
    }
    if let Some(beside) = &mut beside {
        beside.drop_what_nobody_owns().await?;
    }
    // A full pass begins with an empty graph.
    let fresh = matches!(order, PassOrder::Begin(PassMode::Full));
    let property_names = if fresh { Vec::new() } else { sink.property_names().await? };
    if fresh {
        checkpoint.dimensions = dimensions(source.as_ref(), profile).await?;
    }
    let dimensions = checkpoint.dimensions.clone().with_those_of(profile);
    let expected = if order.mode() == PassMode::Full { expected(source.as_ref(), profile).await } else { None };
    let log = match connector.transaction_log().filter(|_| intent.reads_log) {
        Some(directory) => followed_log(directory, source.as_ref(), bookmark.clone(), &checkpoint).await?,
        None => None,
    };
    let view = connector.view().await?;
    let watched = if intent.stage { None } else { Some((connector.sink().await?, connector.store().await?)) };
    // A process that stands by comes no further than the lease, and tries again and again, so this is logged after it.
    if !intent.stage {
        tell_missing_indexes(&lacking_indexes(source.as_ref(), profile).await);
    }
    let stage_under_way = beside.as_ref().is_some_and(|beside| beside.under_way);
    let beside = beside.is_some();
    Ok(PreparedLaunch(Box::new(move |lease| Launched {
        source,
        bookmark,
        sink,
        store,
        lease,
        view,
        watched,
        log,
        filling,
        checkpoint,
        quarantine,
        property_names,
        dimensions,
        paused,
        order,
        reason,
        expected,
        beside,
        stage_under_way,
    })))
}

/// Opens the log at the commit that the cache holds; at the current commit if the cache is to be filled first. Returns nothing if
/// bookmarks do not tell the numbers of transactions.
async fn followed_log(
    directory: LogDirectory,
    source: &dyn Source,
    bookmark: Bookmark,
    checkpoint: &Checkpoint,
) -> Result<Option<FollowedLog>> {
    let under_way = checkpoint.pass.as_ref().filter(|pass| pass.mode == PassMode::Full).and_then(|pass| pass.bookmark.as_ref());
    let applied = checkpoint.bookmark.as_ref().filter(|_| checkpoint.is_filled()).or(under_way).unwrap_or(&bookmark);
    let Some(transaction) = applied.transaction() else { return Ok(None) };
    let start = match &checkpoint.log {
        Some(position) if position.transaction == transaction => LogStart::At(Box::new(position.clone())),
        _ => LogStart::After(transaction),
    };
    let database = LoggedDatabase { bookmark, created_ms: source.created_ms().await? };
    let (follower, feed) = LogFollower::new(directory, start, database);
    Ok(Some(FollowedLog { follower, feed: Arc::new(feed) }))
}

/// Counts the elements that a full pass reads. The count only shows progress: a pass works as well without it.
async fn expected(source: &dyn Source, profile: &Profile) -> Option<u64> {
    match expected_elements(source, profile).await {
        Ok(number) => Some(number),
        Err(error) => {
            tracing::debug!(error = %error.chain(), "cannot count the elements of the source");
            None
        }
    }
}

/// Returns statements for the indices that the source lacks, as a hint for its operator. No pass depends on them.
async fn lacking_indexes(source: &dyn Source, profile: &Profile) -> Vec<String> {
    match source.indexes().await {
        Ok(indexes) => missing_indexes(profile, &indexes),
        Err(error) => {
            tracing::debug!(error = %error.chain(), "cannot list the indices of the source");
            Vec::new()
        }
    }
}

fn tell_missing_indexes(missing: &[String]) {
    if !missing.is_empty() {
        let statements = missing.iter().take(NAMED_INDEXES).cloned().collect::<Vec<_>>().join("; ");
        tracing::warn!(number = missing.len(), statements, "indices missing in neo4j");
    }
}

async fn read(store: &mut dyn CheckpointStore, profile: &Profile) -> Result<(Option<Checkpoint>, Vec<Quarantined>, bool)> {
    let (checkpoint, stored) = (store.load().await?, store.quarantine().await?);
    let (older, mut quarantine): (Vec<_>, Vec<_>) = stored.into_iter().partition(|entry| entry.element.is_none());
    // An entry is taken out by its stored form.
    let told_apart: Vec<Quarantined> = older.iter().map(|entry| entry.clone().told_apart(profile)).collect();
    store.update_quarantine(&told_apart, &older).await?;
    quarantine.extend(told_apart);
    Ok((checkpoint, quarantine, store.is_paused().await?))
}

/// Finds out what became of the last payload, and which id each node has. A stage that cannot be continued is begun anew.
async fn filling(
    mut stage: Box<dyn StageSink>,
    profile: &Profile,
    decision: &mut LaunchDecision,
    checkpoint: &mut Option<Checkpoint>,
) -> Result<Option<StageInProgress>> {
    let LaunchDecision::Resume(pass) = &mut *decision else {
        return Ok(Some(StageInProgress { stage, ids: IdMap::default() }));
    };
    if !pass.prepared {
        return Ok(Some(StageInProgress { stage, ids: IdMap::default() }));
    }
    let found = stage.totals().await?;
    let fill = checkpoint.as_mut().and_then(|checkpoint| checkpoint.stage.as_mut());
    let standing = found.zip(fill.as_deref()).map(|(found, fill)| fill.standing(found));
    match (standing, fill) {
        (Some(PayloadState::NotApplied), Some(fill)) => fill.loading = None,
        (Some(PayloadState::Applied), Some(fill)) => {
            if let Some(loaded) = fill.loading.take() {
                fill.holds = loaded.after;
                pass.cursor = loaded.cursor;
                pass.totals = loaded.totals;
            }
        }
        _ => {
            *decision = LaunchDecision::Begin(PassMode::Full, PassReason::StageUnclear);
            return Ok(Some(StageInProgress { stage, ids: IdMap::default() }));
        }
    }
    if let Some(checkpoint) = checkpoint {
        checkpoint.pass = Some((**pass).clone());
    }
    match stage.ids(profile).await {
        Ok(ids) => Ok(Some(StageInProgress { stage, ids })),
        // Another client wrote in the stage, and no later payload would mend that.
        Err(error) if error.kind() == ErrorKind::CacheProtocol => {
            tracing::warn!(error = %error.chain(), "stage unusable, filling it again from the beginning");
            *decision = LaunchDecision::Begin(PassMode::Full, PassReason::StageUnclear);
            Ok(Some(StageInProgress { stage, ids: IdMap::default() }))
        }
        Err(error) => Err(error),
    }
}

fn starting_point(
    decision: LaunchDecision,
    stored: Option<Checkpoint>,
    profile: &ProfileFingerprint,
    source: SourceIdentity,
    beside: bool,
) -> (Checkpoint, PassOrder, Option<PassReason>) {
    let decision = match decision {
        // A full pass that left the graph incomplete does not resume if the graph can be replaced.
        LaunchDecision::Resume(pass) if beside && pass.mode == PassMode::Full => {
            LaunchDecision::Begin(PassMode::Full, PassReason::NotFilled)
        }
        decision => decision,
    };
    let sequence = stored.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
    let mut checkpoint = stored.unwrap_or_else(|| Checkpoint::new(profile.clone(), source.clone()));
    // A full pass binds the cache to this source and this profile; the numbering continues.
    if matches!(decision, LaunchDecision::Begin(PassMode::Full, _)) {
        let (last_pass, guard) = (checkpoint.last_pass.take(), checkpoint.guard);
        checkpoint = Checkpoint { sequence, last_pass, guard, ..Checkpoint::new(profile.clone(), source) };
    }
    match decision {
        LaunchDecision::Resume(pass) => (checkpoint, PassOrder::Resume(pass), None),
        LaunchDecision::Begin(mode, reason) => (checkpoint, PassOrder::Begin(mode), Some(reason)),
    }
}
