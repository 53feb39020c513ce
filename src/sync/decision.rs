//! Which pass a generation begins with. Pure: facts in, decision and its reason out.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::bookmark::Bookmark;
use crate::model::checkpoint::Checkpoint;
use crate::model::pass::{Mode, PassUnderWay};
use crate::model::profile::ProfileFingerprint;
use crate::source::SourceIdentity;

/// A full pass older than this begins anew: what changed in the part already read has to be found again by other means, and
/// the longer ago it was read, the more that is.
const RESUME_LIMIT: TimeDelta = TimeDelta::hours(24);

/// What is known when a generation starts.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The stored checkpoint.
    pub checkpoint: Option<&'a Checkpoint>,
    /// The profile in use.
    pub profile: &'a ProfileFingerprint,
    /// The source in use.
    pub source: &'a SourceIdentity,
    /// The source's bookmark now.
    pub bookmark: Option<&'a Bookmark>,
    /// The number of the last checkpoint that this process knows of.
    pub last_sequence: u64,
    /// Whether the cache has the graph.
    pub graph_exists: bool,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What a generation does first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on with the pass that a checkpoint left.
    Resume(Box<PassUnderWay>),
    /// Begin a pass.
    Begin(Mode, Reason),
}

/// Why a pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Requested,
    /// It is time.
    Scheduled,
    /// There is no checkpoint.
    FirstStart,
    /// The checkpoint is of a cache filled from another database.
    OtherSource,
    /// The checkpoint is of another profile.
    ChangedProfile,
    /// The source's bookmark is behind the one in the checkpoint.
    SourceRestored,
    /// The checkpoint is older than one that this process has stored.
    CacheRestored,
    /// There is a checkpoint but no graph.
    GraphGone,
    /// A pass under way is too old to go on with.
    TooOldToResume,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Requested => "requested",
            Reason::Scheduled => "scheduled",
            Reason::FirstStart => "the cache has no checkpoint yet",
            Reason::OtherSource => "the cache was filled from another database",
            Reason::ChangedProfile => "the profile has changed",
            Reason::SourceRestored => "the source was restored from a backup",
            Reason::CacheRestored => "the cache was restored from an older state",
            Reason::GraphGone => "the graph is gone from the cache",
            Reason::TooOldToResume => "the full pass under way is too old to go on with",
        })
    }
}

/// Decides. `wanted` is the pass that was asked for, if any.
pub fn first_pass(facts: &Facts<'_>, wanted: Option<Mode>) -> Decision {
    let begin = |reason| Decision::Begin(Mode::Full, reason);
    let Some(checkpoint) = facts.checkpoint else { return begin(Reason::FirstStart) };
    if checkpoint.source != *facts.source {
        return begin(Reason::OtherSource);
    }
    if checkpoint.profile != *facts.profile {
        return begin(Reason::ChangedProfile);
    }
    if is_behind(facts.bookmark, checkpoint.bookmark.as_ref()) {
        return begin(Reason::SourceRestored);
    }
    if checkpoint.sequence < facts.last_sequence {
        return begin(Reason::CacheRestored);
    }
    match &checkpoint.pass {
        Some(pass) if pass.mode == Mode::Full => return resume_full(facts, pass),
        None if checkpoint.watermark.is_none() => return begin(Reason::FirstStart),
        _ => {}
    }
    if !facts.graph_exists {
        return begin(Reason::GraphGone);
    }
    match (wanted, &checkpoint.pass) {
        (Some(Mode::Full), _) => begin(Reason::Requested),
        // A comparison lives in its generation's memory only.
        (_, Some(pass)) if pass.mode == Mode::Differential => Decision::Begin(Mode::Incremental, Reason::Scheduled),
        (_, Some(pass)) => Decision::Resume(Box::new(pass.clone())),
        (Some(mode), None) => Decision::Begin(mode, Reason::Requested),
        (None, None) => Decision::Begin(Mode::Incremental, Reason::Scheduled),
    }
}

/// Whether a bookmark is of a commit before another one of the same database.
fn is_behind(now: Option<&Bookmark>, before: Option<&Bookmark>) -> bool {
    let transactions = now.and_then(Bookmark::transaction).zip(before.and_then(Bookmark::transaction));
    transactions.is_some_and(|(now, before)| now < before)
}

fn resume_full(facts: &Facts<'_>, pass: &PassUnderWay) -> Decision {
    if facts.now - pass.began_at > RESUME_LIMIT {
        return Decision::Begin(Mode::Full, Reason::TooOldToResume);
    }
    if pass.prepared && !facts.graph_exists {
        return Decision::Begin(Mode::Full, Reason::GraphGone);
    }
    Decision::Resume(Box::new(pass.clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::profile::Profile;

    struct World {
        checkpoint: Option<Checkpoint>,
        profile: ProfileFingerprint,
        source: SourceIdentity,
        graph_exists: bool,
        last_sequence: u64,
    }

    impl World {
        fn in_step() -> Self {
            let profile = Profile::graphiti().unwrap().fingerprint();
            let source = SourceIdentity { id: "a".to_owned(), name: "neo4j".to_owned() };
            let mut checkpoint = Checkpoint::new(profile.clone(), source.clone());
            checkpoint.watermark = Some(Utc::now());
            Self { checkpoint: Some(checkpoint), profile, source, graph_exists: true, last_sequence: 0 }
        }

        fn with_pass(mode: Mode, age: TimeDelta) -> Self {
            let mut world = Self::in_step();
            let mut pass = PassUnderWay::begin(mode, Utc::now() - age, None);
            pass.prepared = true;
            world.checkpoint.as_mut().unwrap().pass = Some(pass);
            world
        }

        fn decide(&self, wanted: Option<Mode>) -> Decision {
            let facts = Facts {
                checkpoint: self.checkpoint.as_ref(),
                profile: &self.profile,
                source: &self.source,
                bookmark: None,
                last_sequence: self.last_sequence,
                graph_exists: self.graph_exists,
                now: Utc::now(),
            };
            first_pass(&facts, wanted)
        }
    }

    fn full(reason: Reason) -> Decision {
        Decision::Begin(Mode::Full, reason)
    }

    #[test]
    fn what_cannot_be_trusted_is_filled_anew() {
        assert_eq!(World { checkpoint: None, ..World::in_step() }.decide(None), full(Reason::FirstStart));
        assert_eq!(World { graph_exists: false, ..World::in_step() }.decide(None), full(Reason::GraphGone));
        assert_eq!(World { last_sequence: 1, ..World::in_step() }.decide(None), full(Reason::CacheRestored));
        let other = SourceIdentity { id: "b".to_owned(), name: "neo4j".to_owned() };
        assert_eq!(World { source: other, ..World::in_step() }.decide(None), full(Reason::OtherSource));
        let mut changed = Profile::graphiti().unwrap();
        changed.nodes.truncate(1);
        assert_eq!(World { profile: changed.fingerprint(), ..World::in_step() }.decide(None), full(Reason::ChangedProfile));
    }

    #[test]
    fn a_cache_in_step_goes_on_by_what_changed() {
        assert_eq!(World::in_step().decide(None), Decision::Begin(Mode::Incremental, Reason::Scheduled));
        assert_eq!(World::in_step().decide(Some(Mode::Full)), full(Reason::Requested));
    }

    #[test]
    fn a_full_pass_under_way_goes_on_whatever_was_asked_for() {
        for wanted in [None, Some(Mode::Incremental), Some(Mode::Full)] {
            assert!(matches!(World::with_pass(Mode::Full, TimeDelta::zero()).decide(wanted), Decision::Resume(_)), "{wanted:?}");
        }
        let old = World::with_pass(Mode::Full, TimeDelta::hours(25));
        assert_eq!(old.decide(None), full(Reason::TooOldToResume));
        let gone = World { graph_exists: false, ..World::with_pass(Mode::Full, TimeDelta::zero()) };
        assert_eq!(gone.decide(None), full(Reason::GraphGone));
    }

    #[test]
    fn an_incremental_pass_under_way_goes_on_unless_everything_was_asked_for() {
        let world = World::with_pass(Mode::Incremental, TimeDelta::hours(48));
        assert!(matches!(world.decide(None), Decision::Resume(_)));
        assert_eq!(world.decide(Some(Mode::Full)), full(Reason::Requested));
    }
}
