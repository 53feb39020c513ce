//! Decides which pass a generation begins with. A pure function: facts in, decision and reason out.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::pass::{PassMode, PassUnderWay};
use crate::model::profile::ProfileFingerprint;
use crate::model::routes::Routes;
use crate::model::source_identity::SourceIdentity;

/// A full pass older than this begins anew: changes in the part that was already read have to be found by other means, and there
/// are more of them the longer ago that part was read.
const RESUME_LIMIT: TimeDelta = TimeDelta::hours(24);

/// The facts that are known when a generation starts.
#[derive(Debug, Clone)]
pub(crate) struct LaunchFacts<'a> {
    pub checkpoint: Option<&'a Checkpoint>,
    /// The profile in use.
    pub profile: &'a ProfileFingerprint,
    /// The graph of each group, if each group has one of its own.
    pub routes: Option<&'a Routes>,
    /// The source in use.
    pub source: &'a SourceIdentity,
    /// The source's bookmark now.
    pub bookmark: Option<&'a Bookmark>,
    /// The last bookmark that this process has seen.
    pub last_bookmark: Option<&'a Bookmark>,
    /// The run id of the cache's server, if the user may read it.
    pub cache_run_id: Option<&'a str>,
    /// The number of the last checkpoint that this process knows; 0 if it knows none.
    pub last_sequence: u64,
    /// Whether no later checkpoint was stored than that one.
    pub is_last: bool,
    /// Whether the cache has the graph.
    pub graph_exists: bool,
    /// Whether passes read the source's transaction log, and it reaches back to the place in the checkpoint.
    pub log_reaches: bool,
    pub now: DateTime<Utc>,
}

/// The first step of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LaunchDecision {
    /// Continues the unfinished pass of the checkpoint.
    Resume(Box<PassUnderWay>),
    Begin(PassMode, PassReason),
}

/// The reason why a pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassReason {
    /// An operator asked for it.
    Requested,
    Scheduled,
    /// There is no checkpoint.
    FirstStart,
    /// The checkpoint is gone.
    CheckpointGone,
    /// No full pass is valid: the last one was abandoned, or its graph was replaced.
    NotFilled,
    /// The checkpoint is of a cache filled from another database.
    OtherSource,
    /// The checkpoint is of another profile.
    ChangedProfile,
    /// Elements of no group in particular have another graph than in the checkpoint.
    ChangedRouting,
    /// The source's bookmark is behind the one in the checkpoint.
    SourceRestored,
    /// The checkpoint is older than one that this process has stored.
    CacheRestored,
    /// The cache's server was started again while this service did not watch it, and the source has moved since the checkpoint.
    CacheRestarted,
    /// There is a checkpoint but no graph.
    GraphGone,
    /// A pass under way is too old to continue.
    TooOldToResume,
    /// The content of the stage under way is neither that before the last payload nor that after it.
    StageUnclear,
}

impl fmt::Display for PassReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PassReason::Requested => "requested",
            PassReason::Scheduled => "scheduled",
            PassReason::FirstStart => "the cache has no checkpoint yet",
            PassReason::CheckpointGone => "the cache no longer has the checkpoint",
            PassReason::NotFilled => "no full pass has filled the cache since its graph was created or replaced",
            PassReason::CacheRestarted => {
                "FalkorDB was restarted while the service did not run: the cache may be in an older state"
            }
            PassReason::OtherSource => "the cache was filled from another database",
            PassReason::ChangedProfile => "the profile has changed",
            PassReason::ChangedRouting => "routing.default_graph has changed",
            PassReason::SourceRestored => "the source was restored from a backup",
            PassReason::CacheRestored => "the cache was restored to an older state",
            PassReason::GraphGone => "the cache no longer has the graph",
            PassReason::StageUnclear => "the stage does not match its checkpoint",
            PassReason::TooOldToResume => "the unfinished full pass is too old to resume",
        })
    }
}

/// Decides. `wanted` is the pass that was requested, if any.
pub(crate) fn first_pass(facts: &LaunchFacts<'_>, wanted: Option<PassMode>) -> LaunchDecision {
    let begin = |reason| LaunchDecision::Begin(PassMode::Full, reason);
    let Some(checkpoint) = facts.checkpoint else {
        return begin(if facts.last_sequence == 0 { PassReason::FirstStart } else { PassReason::CheckpointGone });
    };
    if checkpoint.source != *facts.source {
        return begin(PassReason::OtherSource);
    }
    if checkpoint.profile != *facts.profile {
        return begin(PassReason::ChangedProfile);
    }
    if is_routed_otherwise(checkpoint, facts.routes) {
        return begin(PassReason::ChangedRouting);
    }
    if source_went_back(facts, checkpoint) {
        return begin(PassReason::SourceRestored);
    }
    // The log tells everything after the checkpoint's place in it, however old the checkpoint is.
    let is_told = facts.log_reaches && checkpoint.told_up_to().is_some();
    if checkpoint.sequence < facts.last_sequence && !is_told {
        return begin(PassReason::CacheRestored);
    }
    if may_be_older(facts, checkpoint) && !is_told {
        return begin(PassReason::CacheRestarted);
    }
    match &checkpoint.pass {
        Some(pass) if pass.mode == PassMode::Full => return resume_full(facts, pass),
        None if checkpoint.watermark.is_none() => return begin(PassReason::NotFilled),
        _ => {}
    }
    if !facts.graph_exists {
        return begin(PassReason::GraphGone);
    }
    match (wanted, &checkpoint.pass) {
        (Some(PassMode::Full), _) => begin(PassReason::Requested),
        // The place of a comparison is kept separately: a single slice is not worth resuming.
        (_, Some(pass)) if pass.mode != PassMode::Differential => LaunchDecision::Resume(Box::new(pass.clone())),
        (Some(mode), _) => LaunchDecision::Begin(mode, PassReason::Requested),
        (None, _) => LaunchDecision::Begin(PassMode::Incremental, PassReason::Scheduled),
    }
}

/// Whether elements of no group in particular have another graph by now. Older checkpoints do not have this information.
pub(crate) fn is_routed_otherwise(checkpoint: &Checkpoint, routes: Option<&Routes>) -> bool {
    checkpoint.default_graph.as_ref().zip(routes).is_some_and(|(before, routes)| before != routes.default_graph())
}

/// Whether the source is behind anything that is known to have been read from it.
fn source_went_back(facts: &LaunchFacts<'_>, checkpoint: &Checkpoint) -> bool {
    let Some(now) = facts.bookmark else { return false };
    known_commits(checkpoint, facts.last_bookmark).any(|before| !now.can_follow(before))
}

/// The newest commit that is known to have been read from the source.
pub(crate) fn newest_known<'k>(checkpoint: Option<&'k Checkpoint>, last: Option<&'k Bookmark>) -> Option<&'k Bookmark> {
    let known = checkpoint.map(|checkpoint| known_commits(checkpoint, None)).into_iter().flatten().chain(last);
    known.reduce(|newest, other| if other.can_follow(newest) { other } else { newest })
}

/// A pass reads on after its bookmark, a pass under way is ahead of the last one, and this process may be ahead of the last
/// checkpoint.
fn known_commits<'k>(checkpoint: &'k Checkpoint, last: Option<&'k Bookmark>) -> impl Iterator<Item = &'k Bookmark> {
    let of_pass = checkpoint.pass.as_ref().and_then(|pass| pass.bookmark.as_ref());
    [checkpoint.bookmark.as_ref(), checkpoint.newest_read.as_ref(), of_pass, last].into_iter().flatten()
}

/// Whether the cache may have been restored to an older state without a sign.
///
/// A cache that is restored takes its checkpoint with it, and nothing outside the cache remembers a newer one: judged by the
/// checkpoint alone, a cache that was restored while the service was down looks like one that was not. An incremental pass from
/// there would find what timestamps and counts show, but no silent change that had been followed before the restore. A restore
/// takes a start of the server, so a checkpoint with another run id of the server is in doubt, unless
///
/// - this process knows the last checkpoint, and it is not older than that; or
/// - the source's bookmark is the one in the checkpoint: then the state is the right one, however old.
///
/// The price is a full pass if the cache's server and the service were both restarted (a reboot of their machine) and the source
/// was written meanwhile. A restart of only one of them costs nothing: after a restart of the service, the server's run id is the
/// same; after a restart of the cache, the service knows its last checkpoint.
fn may_be_older(facts: &LaunchFacts<'_>, checkpoint: &Checkpoint) -> bool {
    let lives = facts.cache_run_id.zip(checkpoint.cache_run_id.as_deref());
    let other_life = lives.is_some_and(|(now, before)| now != before);
    // The part of a full pass that was read is as of its beginning.
    let read_at = match &checkpoint.pass {
        Some(pass) if pass.mode == PassMode::Full => pass.bookmark.as_ref(),
        _ => checkpoint.bookmark.as_ref(),
    };
    other_life && !facts.is_last && read_at != facts.bookmark
}

fn resume_full(facts: &LaunchFacts<'_>, pass: &PassUnderWay) -> LaunchDecision {
    if facts.now - pass.began_at > RESUME_LIMIT {
        return LaunchDecision::Begin(PassMode::Full, PassReason::TooOldToResume);
    }
    if pass.prepared && !facts.graph_exists {
        return LaunchDecision::Begin(PassMode::Full, PassReason::GraphGone);
    }
    LaunchDecision::Resume(Box::new(pass.clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::model::graph_name::GraphName;
    use crate::model::log_position::{LogPosition, StoreId};
    use crate::model::profile::Profile;

    struct World {
        checkpoint: Option<Checkpoint>,
        profile: ProfileFingerprint,
        source: SourceIdentity,
        graph_exists: bool,
        last_sequence: u64,
        is_last: bool,
        routes: Option<Routes>,
        bookmark: Bookmark,
        last_bookmark: Option<Bookmark>,
        cache_run_id: &'static str,
        log_reaches: bool,
    }

    /// Makes a bookmark of one database at this commit.
    fn bookmark(transaction: u8) -> Bookmark {
        let bytes = [&[0x91, 0xCC, 0x10], &[0; 16][..], &[transaction, 0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    impl World {
        fn in_step() -> Self {
            let profile = Profile::graphiti().unwrap().fingerprint();
            let source = SourceIdentity { id: "a".to_owned(), name: "neo4j".to_owned() };
            let mut checkpoint = Checkpoint::new(profile.clone(), source.clone());
            checkpoint.watermark = Some(Utc::now());
            checkpoint.bookmark = Some(bookmark(50));
            checkpoint.cache_run_id = Some("first".to_owned());
            checkpoint.sequence = 7;
            Self {
                checkpoint: Some(checkpoint),
                profile,
                source,
                graph_exists: true,
                last_sequence: 0,
                is_last: false,
                routes: None,
                bookmark: bookmark(50),
                last_bookmark: None,
                cache_run_id: "first",
                log_reaches: false,
            }
        }

        fn with_pass(mode: PassMode, age: TimeDelta) -> Self {
            let mut world = Self::in_step();
            let mut pass = PassUnderWay::begin(mode, Utc::now() - age, None);
            pass.prepared = true;
            world.checkpoint.as_mut().unwrap().pass = Some(pass);
            world
        }

        fn decide(&self, wanted: Option<PassMode>) -> LaunchDecision {
            let facts = LaunchFacts {
                checkpoint: self.checkpoint.as_ref(),
                profile: &self.profile,
                routes: self.routes.as_ref(),
                source: &self.source,
                bookmark: Some(&self.bookmark),
                last_bookmark: self.last_bookmark.as_ref(),
                cache_run_id: Some(self.cache_run_id),
                last_sequence: self.last_sequence,
                is_last: self.is_last,
                graph_exists: self.graph_exists,
                log_reaches: self.log_reaches,
                now: Utc::now(),
            };
            first_pass(&facts, wanted)
        }
    }

    fn full(reason: PassReason) -> LaunchDecision {
        LaunchDecision::Begin(PassMode::Full, reason)
    }

    #[test]
    fn what_cannot_be_trusted_is_filled_anew() {
        assert_eq!(World { checkpoint: None, ..World::in_step() }.decide(None), full(PassReason::FirstStart));
        assert_eq!(World { graph_exists: false, ..World::in_step() }.decide(None), full(PassReason::GraphGone));
        assert_eq!(World { last_sequence: 8, ..World::in_step() }.decide(None), full(PassReason::CacheRestored));
        let wiped = World { checkpoint: None, last_sequence: 8, ..World::in_step() };
        assert_eq!(wiped.decide(None), full(PassReason::CheckpointGone));
        let mut abandoned = World::in_step();
        abandoned.checkpoint.as_mut().unwrap().watermark = None;
        assert_eq!(abandoned.decide(None), full(PassReason::NotFilled));
        let other = SourceIdentity { id: "b".to_owned(), name: "neo4j".to_owned() };
        assert_eq!(World { source: other, ..World::in_step() }.decide(None), full(PassReason::OtherSource));
        let mut changed = Profile::graphiti().unwrap();
        changed.nodes.truncate(1);
        assert_eq!(World { profile: changed.fingerprint(), ..World::in_step() }.decide(None), full(PassReason::ChangedProfile));
    }

    #[test]
    fn what_is_of_no_group_in_particular_moves_by_a_full_pass() {
        let graph = |name: &str| GraphName::new(name).unwrap();
        let world = |before: Option<GraphName>| {
            let mut world = World { routes: Some(Routes::new(graph("d2"))), ..World::in_step() };
            world.checkpoint.as_mut().unwrap().default_graph = before;
            world.decide(None)
        };
        let goes_on = LaunchDecision::Begin(PassMode::Incremental, PassReason::Scheduled);
        assert_eq!(world(Some(graph("d1"))), full(PassReason::ChangedRouting));
        assert_eq!((world(Some(graph("d2"))), world(None)), (goes_on.clone(), goes_on));
    }

    #[test]
    fn a_source_behind_anything_read_from_it_was_restored() {
        assert_eq!(World { bookmark: bookmark(49), ..World::in_step() }.decide(None), full(PassReason::SourceRestored));
        let seen_by_this_process = World { bookmark: bookmark(55), last_bookmark: Some(bookmark(60)), ..World::in_step() };
        assert_eq!(seen_by_this_process.decide(None), full(PassReason::SourceRestored));
        let mut read_on = World { bookmark: bookmark(55), ..World::in_step() };
        read_on.checkpoint.as_mut().unwrap().newest_read = Some(bookmark(56));
        assert_eq!(read_on.decide(None), full(PassReason::SourceRestored), "the last pass read what was committed while it ran");
        let mut under_way = World { bookmark: bookmark(55), ..World::with_pass(PassMode::Incremental, TimeDelta::zero()) };
        under_way.checkpoint.as_mut().unwrap().pass.as_mut().unwrap().bookmark = Some(bookmark(60));
        assert_eq!(under_way.decide(None), full(PassReason::SourceRestored));
        let ahead = World { bookmark: bookmark(60), last_bookmark: Some(bookmark(55)), ..World::in_step() };
        assert_eq!(ahead.decide(None), LaunchDecision::Begin(PassMode::Incremental, PassReason::Scheduled));
    }

    #[test]
    fn a_cache_restarted_unwatched_is_in_doubt_only_if_the_source_moved() {
        let goes_on = LaunchDecision::Begin(PassMode::Incremental, PassReason::Scheduled);
        let restarted = || World { cache_run_id: "second", ..World::in_step() };
        assert_eq!(restarted().decide(None), goes_on);
        assert_eq!(World { bookmark: bookmark(60), ..restarted() }.decide(None), full(PassReason::CacheRestarted));
        assert_eq!(World { bookmark: bookmark(60), ..World::in_step() }.decide(None), goes_on, "the same life");
        let watched = || World { bookmark: bookmark(60), last_sequence: 7, is_last: true, ..restarted() };
        assert_eq!(watched().decide(None), goes_on, "nothing is lost that this process stored");
        let seen_once = World { is_last: false, ..watched() };
        assert_eq!(seen_once.decide(None), full(PassReason::CacheRestarted), "the leader may have stored more since");
    }

    /// What replaced the cache's server may hold an older state: a backup, or a replica that had not received everything.
    #[test]
    fn an_older_cache_goes_on_from_its_place_in_the_log() {
        let goes_on = LaunchDecision::Begin(PassMode::Incremental, PassReason::Scheduled);
        let at = |transaction: Option<u64>, last_sequence| {
            let mut world =
                World { cache_run_id: "second", bookmark: bookmark(60), log_reaches: true, last_sequence, ..World::in_step() };
            let store = StoreId { created_ms: 0, random: 1, format: "aligned".to_owned() };
            let position = |transaction| LogPosition { store, file: 0, start: None, offset: 64, transaction, checksum: None };
            world.checkpoint.as_mut().unwrap().log = transaction.map(position);
            world
        };
        assert_eq!(at(Some(50), 8).decide(None), goes_on, "this process stored more than the cache has");
        assert_eq!(at(Some(50), 0).decide(None), goes_on, "nothing is known of what the cache had");
        assert_eq!(at(Some(49), 8).decide(None), full(PassReason::CacheRestored), "the last pass read past the log's place");
        assert_eq!(at(None, 8).decide(None), full(PassReason::CacheRestored));
        let probes = World { log_reaches: false, ..at(Some(50), 8) };
        assert_eq!(probes.decide(None), full(PassReason::CacheRestored), "nothing tells what leaves no trace");
    }

    #[test]
    fn a_full_pass_under_way_in_a_cache_restarted_unwatched_goes_on_only_if_the_source_stands_where_it_began() {
        let world = |at: u8| {
            let mut world =
                World { cache_run_id: "second", bookmark: bookmark(at), ..World::with_pass(PassMode::Full, TimeDelta::zero()) };
            world.checkpoint.as_mut().unwrap().pass.as_mut().unwrap().bookmark = Some(bookmark(55));
            world
        };
        assert!(matches!(world(55).decide(None), LaunchDecision::Resume(_)));
        assert_eq!(world(60).decide(None), full(PassReason::CacheRestarted));
    }

    #[test]
    fn a_cache_in_step_goes_on_by_what_changed() {
        assert_eq!(World::in_step().decide(None), LaunchDecision::Begin(PassMode::Incremental, PassReason::Scheduled));
        assert_eq!(World::in_step().decide(Some(PassMode::Full)), full(PassReason::Requested));
    }

    #[test]
    fn a_full_pass_under_way_goes_on_whatever_was_asked_for() {
        for wanted in [None, Some(PassMode::Incremental), Some(PassMode::Full)] {
            assert!(
                matches!(World::with_pass(PassMode::Full, TimeDelta::zero()).decide(wanted), LaunchDecision::Resume(_)),
                "{wanted:?}"
            );
        }
        let old = World::with_pass(PassMode::Full, TimeDelta::hours(25));
        assert_eq!(old.decide(None), full(PassReason::TooOldToResume));
        let gone = World { graph_exists: false, ..World::with_pass(PassMode::Full, TimeDelta::zero()) };
        assert_eq!(gone.decide(None), full(PassReason::GraphGone));
    }

    #[test]
    fn an_incremental_pass_under_way_goes_on_unless_everything_was_asked_for() {
        let world = World::with_pass(PassMode::Incremental, TimeDelta::hours(48));
        assert!(matches!(world.decide(None), LaunchDecision::Resume(_)));
        assert_eq!(world.decide(Some(PassMode::Full)), full(PassReason::Requested));
    }
}
