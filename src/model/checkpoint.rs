//! The state from which a new generation starts. It is kept in the cache's own Redis, so a cache that is wiped or restored takes
//! its checkpoint along.
//!
//! During a rolling upgrade, programs of two versions share a checkpoint. An older program ignores fields that it does not know,
//! and drops them when it writes. So the absence of a field means that its fact is unknown, and a newer program must not conclude
//! more from it. Where it would, the layout gets a new [`CHECKPOINT_VERSION`], which an older program refuses by name.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bookmark::Bookmark;
use super::comparison::{ComparisonUnderWay, Verdict};
use super::graph_name::GraphName;
use super::guard::Guard;
use super::kind::Step;
use super::log_position::LogPosition;
use super::pass::{PassSummary, PassUnderWay};
use super::pass_outcome::PassOutcome;
use super::profile::ProfileFingerprint;
use super::shared_keys::SharedKeys;
use super::stage::StageFill;
use super::vector_dimensions::VectorDimensions;
use crate::model::outside_profile::OutsideProfile;
use crate::model::source_identity::SourceIdentity;

/// The version of the layout that this program writes. A program refuses a newer one.
pub(crate) const CHECKPOINT_VERSION: u32 = 1;

/// The state of a cache.
///
/// One watermark serves all kinds: every pass covers all of them, and the watermark moves only when the whole pass is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`CHECKPOINT_VERSION`] of the program that wrote it.
    pub version: u32,
    /// The number of this checkpoint among all of this cache.
    pub sequence: u64,
    /// This machine's clock when the checkpoint was written.
    pub written_at: DateTime<Utc>,
    /// The profile that decided the content of the cache.
    pub profile: ProfileFingerprint,
    /// The database that the cache was filled from.
    pub source: SourceIdentity,
    /// Changes were read up to this time of the source's clock. Absent until a first full pass has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// The source's bookmark before the first query of the pass that set the watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Bookmark>,
    /// No commit in the cache is later than this: passes read what is committed while they run. A source behind this bookmark was
    /// restored from a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_read: Option<Bookmark>,
    /// The place in the change feed after what it told. Absent if the last pass read nothing that a feed told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<LogPosition>,
    /// The feed told everything after this transaction, without a gap, up to `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_since: Option<u64>,
    /// Up to this transaction, a change without a trace may be missing: the log did not tell it, and no comparison that began
    /// later has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_gap: Option<u64>,
    /// The bookmark as of which source and cache were found equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal_as_of: Option<Bookmark>,
    /// The cache holds everything up to this commit, according to passes that read what a feed told. Absent if the last pass read
    /// nothing that a feed told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told_as_of: Option<Bookmark>,
    /// The comparison under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<ComparisonUnderWay>,
    /// This machine's clock at the end of the last comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_at: Option<DateTime<Utc>>,
    /// The recent number of elements of each kind, and the deletes that wait for approval.
    #[serde(default)]
    pub(crate) guard: Guard,
    /// Keys that several elements share.
    #[serde(default, skip_serializing_if = "SharedKeys::is_empty")]
    pub(crate) duplicates: SharedKeys,
    /// The pass under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pass: Option<PassUnderWay>,
    /// The progress of the filling by GRAPH.BULK, while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<StageFill>,
    /// The last pass that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_pass: Option<PassSummary>,
    /// The life of the cache's server in which the checkpoint was written. Absent if the user may not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_run_id: Option<String>,
    /// The content of the source besides the profile's kinds at the last full pass.
    #[serde(default)]
    pub outside_profile: OutsideProfile,
    /// The graph for elements of no particular group, if each group has its own graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_graph: Option<GraphName>,
    /// The kinds that were found in the source, if the profile does not name them. A kind stays after its last element is gone,
    /// so that the profile is the same when the next element comes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found_kinds: Vec<Step>,
    /// The number of values in the vectors of each property, according to the last full pass.
    #[serde(default, skip_serializing_if = "VectorDimensions::is_empty")]
    pub dimensions: VectorDimensions,
    /// Foreign indices and constraints that the last full sync could not make again, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_indexes: Vec<String>,
}

/// The reason why a stored checkpoint cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CheckpointError {
    /// The text is not JSON of this shape.
    #[error("it is malformed")]
    Malformed(#[from] serde_json::Error),
    /// A newer program wrote the checkpoint.
    #[error("a newer program wrote it: it has layout {found}, and this program supports layouts up to {CHECKPOINT_VERSION}")]
    Newer {
        /// The version of its layout.
        found: u32,
    },
}

impl Checkpoint {
    /// The place in the change feed after the commit that the cache holds: a feed that reaches back to it tells everything since.
    pub(crate) fn told_up_to(&self) -> Option<&LogPosition> {
        let applied = self.bookmark.as_ref().filter(|_| self.is_filled()).and_then(Bookmark::transaction);
        self.log.as_ref().filter(|position| applied == Some(position.transaction))
    }

    /// A checkpoint of a cache in which nothing is done yet.
    pub fn new(profile: ProfileFingerprint, source: SourceIdentity) -> Self {
        Self {
            version: CHECKPOINT_VERSION,
            sequence: 0,
            written_at: DateTime::UNIX_EPOCH,
            profile,
            source,
            watermark: None,
            bookmark: None,
            newest_read: None,
            log: None,
            log_since: None,
            log_gap: None,
            equal_as_of: None,
            told_as_of: None,
            comparison: None,
            compared_at: None,
            guard: Guard::default(),
            duplicates: SharedKeys::default(),
            pass: None,
            stage: None,
            last_pass: None,
            cache_run_id: None,
            outside_profile: OutsideProfile::default(),
            default_graph: None,
            found_kinds: Vec::new(),
            dimensions: VectorDimensions::default(),
            lost_indexes: Vec::new(),
        }
    }

    /// The time of the last commit that the cache holds, if the log told it; otherwise the time when this checkpoint was written,
    /// which is later. Absent if the cache holds nothing yet.
    pub(crate) fn last_commit_at(&self) -> Option<DateTime<Utc>> {
        let pass = self.last_pass.as_ref().filter(|_| self.is_filled())?;
        Some(if self.log.is_some() { pass.began_at } else { self.written_at })
    }

    /// Whether the graph was filled completely once, and no full pass has broken it since.
    pub(crate) fn is_filled(&self) -> bool {
        self.watermark.is_some()
    }

    /// Notes the place up to which a pass read what a feed told. If the feed told everything since a comparison that found both
    /// sides equal, and all of it could be applied (`is_sound`), both sides are equal as of the commit up to which the cache holds
    /// everything.
    pub(crate) fn note_told(
        &mut self,
        position: Option<LogPosition>,
        bookmark: Option<&Bookmark>,
        is_sound: bool,
        outcome: &PassOutcome,
    ) {
        self.told_as_of = position.as_ref().and_then(|_| self.told_after(bookmark, outcome));
        let before = self.bookmark.as_ref().and_then(Bookmark::transaction);
        self.log_since = position.as_ref().and(self.log_since.or(before));
        self.log = position;
        if self.log.is_some() && !is_sound {
            // No earlier proof lists the elements that could not be written since.
            self.log_since = bookmark.and_then(Bookmark::transaction);
        }
        if let Some(told) = self.told_as_of.clone().filter(|told| self.is_proven_by_log() && self.is_newer(told)) {
            self.equal_as_of = Some(told);
        }
    }

    /// Whether a commit is no earlier than the last proof.
    fn is_newer(&self, told: &Bookmark) -> bool {
        self.equal_as_of.as_ref().is_none_or(|proven| told.includes(proven))
    }

    /// Whether the feed proves equality: it told everything since a comparison that found both sides equal, and all of it could be
    /// applied.
    pub(crate) fn is_proven_by_log(&self) -> bool {
        let proven = self.equal_as_of.as_ref().and_then(Bookmark::transaction);
        self.log.is_some() && proven.zip(self.log_since).is_some_and(|(proven, since)| proven >= since)
    }

    /// Returns the commit up to which the cache holds everything after a pass over the feed. An overtaken pass shows this only of
    /// the commit of the pass before it: what that one missed because of later commits was told to this one.
    fn told_after(&self, bookmark: Option<&Bookmark>, outcome: &PassOutcome) -> Option<Bookmark> {
        if !outcome.is_settled() {
            return self.told_as_of.clone();
        }
        match (outcome.is_overtaken, self.log.is_some()) {
            (false, _) => bookmark.cloned(),
            (true, true) => self.bookmark.clone(),
            (true, false) => None,
        }
    }

    /// Notes that the graph begins anew: all earlier knowledge about it is void.
    pub(crate) fn begin_anew(&mut self) {
        self.watermark = None;
        self.bookmark = None;
        self.equal_as_of = None;
        self.told_as_of = None;
        self.log = None;
        self.log_since = None;
        self.log_gap = None;
    }

    /// Notes the result of a complete comparison. If it found nothing, both sides are equal: as of its bookmark if nothing was
    /// committed meanwhile, or as of the commit up to which the cache holds everything, if the log has told everything since the
    /// comparison began.
    pub(crate) fn note_compared(&mut self, verdict: &Verdict) {
        let began = verdict.began_at.transaction();
        let is_told = self.log.is_some() && self.log_since.zip(began).is_some_and(|(since, began)| since <= began);
        let is_whole = verdict.begun_with.is_some() && !self.guard.holds_any();
        let told = self.told_as_of.clone().filter(|told| is_told && is_whole && self.is_newer(told));
        let proven = verdict.equal_as_of.clone().or(told);
        match verdict.findings {
            0 => self.equal_as_of = proven.or_else(|| self.equal_as_of.take()),
            _ => self.equal_as_of = None,
        }
    }

    /// Notes that an unfinished comparison has found a difference: the log's record since the last proof proves nothing.
    pub(crate) fn note_difference(&mut self) {
        self.equal_as_of = None;
    }

    /// Notes that the cache may lack anything that was committed up to now: a comparison has to look past this commit, and one that is
    /// under way looks at everything again.
    pub(crate) fn note_doubt(&mut self, now: &Bookmark) {
        self.equal_as_of = None;
        self.log_gap = self.log_gap.max(now.transaction());
        if let Some(comparison) = &mut self.comparison {
            (comparison.at_vectors, comparison.cursor, comparison.rows) = (false, None, 0);
        }
    }

    /// Reads the text of [`Checkpoint::to_json`]. The version is checked first: a newer layout may have any shape.
    pub(crate) fn from_json(text: &str) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text)?;
        if version > CHECKPOINT_VERSION {
            return Err(CheckpointError::Newer { found: version });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Writes the checkpoint as text.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::pass::PassMode;
    use crate::model::profile::Profile;

    fn bookmark(transaction: u64) -> Bookmark {
        Bookmark::new("FB:kcwQAAECAwQFBgcICQoLDA0ODwGQ").of_transaction(transaction).unwrap()
    }

    fn position(transaction: u64) -> Option<LogPosition> {
        let store = super::super::log_position::StoreId { created_ms: 1, random: 2, format: "aligned".to_owned() };
        Some(LogPosition { store, file: 0, start: None, offset: 128, transaction, checksum: None })
    }

    /// The proof after a pass up to this transaction, told by the log or not.
    fn ended(checkpoint: &mut Checkpoint, transaction: u64, told: bool, is_sound: bool) -> Option<u64> {
        ended_with(checkpoint, transaction, told, is_sound, &PassOutcome::default())
    }

    fn ended_with(
        checkpoint: &mut Checkpoint,
        transaction: u64,
        told: bool,
        is_sound: bool,
        outcome: &PassOutcome,
    ) -> Option<u64> {
        let position = position(transaction).filter(|_| told);
        checkpoint.note_told(position, Some(&bookmark(transaction)), is_sound, outcome);
        checkpoint.bookmark = Some(bookmark(transaction));
        checkpoint.equal_as_of.as_ref().and_then(Bookmark::transaction)
    }

    #[test]
    fn the_log_proves_equality_only_from_a_proof_on_since_which_it_told_everything() {
        let source = SourceIdentity { id: "x".to_owned(), name: "neo4j".to_owned() };
        let mut checkpoint = Checkpoint::new(Profile::graphiti().unwrap().fingerprint(), source);
        assert_eq!(ended(&mut checkpoint, 10, false, true), None);
        assert_eq!(ended(&mut checkpoint, 11, true, true), None, "nothing was proven yet");
        checkpoint.equal_as_of = Some(bookmark(11));
        assert_eq!(ended(&mut checkpoint, 12, true, true), Some(12));
        assert_eq!(ended(&mut checkpoint, 13, false, true), Some(12), "a pass that looked for changes may have missed some");
        assert_eq!(ended(&mut checkpoint, 14, true, true), Some(12));
        checkpoint.equal_as_of = Some(bookmark(14));
        assert_eq!(ended(&mut checkpoint, 15, true, false), Some(14), "something could not be written");
        assert_eq!(ended(&mut checkpoint, 16, true, true), Some(14), "and a comparison has to say what is excepted");
        checkpoint.equal_as_of = Some(bookmark(16));
        assert_eq!(ended(&mut checkpoint, 17, true, true), Some(17));
        let partial = PassOutcome { look_again_soon: true, ..PassOutcome::default() };
        assert_eq!(ended_with(&mut checkpoint, 18, true, true, &partial), Some(17), "something is left for the next pass");
        assert_eq!(ended(&mut checkpoint, 19, true, true), Some(19), "which has done it");
        checkpoint.begin_anew();
        assert_eq!(ended(&mut checkpoint, 20, true, true), None);
    }

    #[test]
    fn a_doubt_ends_a_proof_by_the_log() {
        let source = SourceIdentity { id: "x".to_owned(), name: "neo4j".to_owned() };
        let mut checkpoint = Checkpoint::new(Profile::graphiti().unwrap().fingerprint(), source);
        ended(&mut checkpoint, 10, true, true);
        checkpoint.equal_as_of = Some(bookmark(10));
        assert_eq!(ended(&mut checkpoint, 11, true, true), Some(11));
        checkpoint.note_doubt(&bookmark(12));
        assert_eq!((checkpoint.log_gap, checkpoint.is_proven_by_log()), (Some(12), false));
        assert_eq!(ended(&mut checkpoint, 13, true, true), None);
        checkpoint.note_doubt(&bookmark(9));
        assert_eq!(checkpoint.log_gap, Some(12), "a gap never shrinks");
    }

    #[test]
    fn an_overtaken_pass_proves_what_the_pass_before_it_was_told() {
        let source = SourceIdentity { id: "x".to_owned(), name: "neo4j".to_owned() };
        let mut checkpoint = Checkpoint::new(Profile::graphiti().unwrap().fingerprint(), source);
        let overtaken = PassOutcome { is_overtaken: true, ..PassOutcome::default() };
        let partial = PassOutcome { look_again_soon: true, ..overtaken.clone() };
        ended(&mut checkpoint, 10, false, true);
        checkpoint.equal_as_of = Some(bookmark(10));
        assert_eq!(ended_with(&mut checkpoint, 11, true, true, &overtaken), Some(10), "the pass before it looked for changes");
        assert_eq!(ended_with(&mut checkpoint, 12, true, true, &overtaken), Some(11));
        assert_eq!(ended_with(&mut checkpoint, 13, true, true, &overtaken), Some(12), "a source that is written without a pause");
        assert_eq!(ended_with(&mut checkpoint, 14, true, true, &partial), Some(12), "its commits are told in parts");
        assert_eq!(ended_with(&mut checkpoint, 15, true, true, &overtaken), Some(14));
        assert_eq!(ended_with(&mut checkpoint, 16, true, false, &overtaken), Some(14), "something could not be written");
        assert_eq!(ended_with(&mut checkpoint, 17, true, true, &PassOutcome::default()), Some(14));
        checkpoint.equal_as_of = Some(bookmark(17));
        assert_eq!(ended(&mut checkpoint, 17, true, true), Some(17), "nothing was committed since");
    }

    /// Checkpoints as each released version wrote them, one a line: an early full sync, a stage with a payload on its way, and one
    /// with everything that a checkpoint can have.
    const RELEASED: [&str; 1] = ["0.1.0"];

    fn written_by(version: &str) -> Vec<String> {
        let file = format!("{}/tests/fixtures/checkpoint/{version}.jsonl", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_a_released_version_wrote_is_read_with_all_that_it_says() {
        for line in RELEASED.into_iter().flat_map(written_by) {
            let written: serde_json::Value = serde_json::from_str(&line).unwrap();
            let read = Checkpoint::from_json(&line).unwrap();
            let again: serde_json::Value = serde_json::from_str(&read.to_json().unwrap()).unwrap();
            assert_eq!(again, written);
        }
    }

    #[test]
    fn the_newest_released_version_shows_every_field() {
        let known = written_by(RELEASED[RELEASED.len() - 1]).into_iter().flat_map(|line| {
            let checkpoint: serde_json::Value = serde_json::from_str(&line).unwrap();
            checkpoint.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        });
        let known: std::collections::BTreeSet<String> = known.collect();
        let fields = include_str!("checkpoint.rs").split_once("pub struct Checkpoint {").unwrap().1.split_once("\n}").unwrap().0;
        for line in fields.lines().filter(|line| line.trim_start().starts_with("pub")) {
            let name = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ").split_once(':').unwrap().0;
            assert!(known.contains(name), "no checkpoint of the fixture has {name}");
        }
    }

    /// A newer version may add fields without a new layout.
    #[test]
    fn what_an_older_program_does_not_know_it_drops() {
        let line = written_by(RELEASED[0]).remove(0);
        let newer = line.replacen('{', r#"{"of_the_future": {"any": 1}, "#, 1);
        assert_eq!(Checkpoint::from_json(&newer).unwrap(), Checkpoint::from_json(&line).unwrap());
    }

    #[test]
    fn it_reads_what_it_wrote_and_refuses_a_newer_layout() {
        let source = SourceIdentity { id: "x".to_owned(), name: "neo4j".to_owned() };
        let mut checkpoint = Checkpoint::new(Profile::graphiti().unwrap().fingerprint(), source);
        checkpoint.pass = Some(PassUnderWay::begin(PassMode::Full, Utc::now(), None));
        let text = checkpoint.to_json().unwrap();
        assert_eq!(Checkpoint::from_json(&text).unwrap(), checkpoint);
        let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
        older.as_object_mut().unwrap().remove("guard");
        assert_eq!(Checkpoint::from_json(&older.to_string()).unwrap(), checkpoint, "one of before the guard");
        let newer = r#"{"version": 2, "shape": "unknown"}"#;
        assert!(matches!(Checkpoint::from_json(newer), Err(CheckpointError::Newer { found: 2 })));
    }
}
