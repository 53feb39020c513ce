//! The indices that every graph of a pipeline should have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connection::CacheConnection;
use super::index_inventory::Wanted;
use super::index_statement::statement;
use super::safety::UnsafeIndexCheck;
use crate::error::Result;
use crate::model::graph_name::GraphName;
use crate::model::index::{IndexDefinition, UnsafeIndexPolicy};
use crate::model::profile::Profile;

/// The indices that the profile and the source define, and the treatment of unsafe indices.
#[derive(Debug)]
pub(super) struct IndexPlan {
    profile: Arc<Profile>,
    /// Indices of the source that the graphs should have as well.
    mirrored: Vec<IndexDefinition>,
    /// If absent, all indices are made.
    safety: Option<UnsafeIndexCheck>,
}

impl IndexPlan {
    pub(super) fn new(profile: Arc<Profile>, safety: Option<UnsafeIndexCheck>) -> Self {
        Self { profile, mirrored: Vec::new(), safety }
    }

    pub(super) fn guarded(self, safety: UnsafeIndexCheck) -> Self {
        Self { safety: Some(safety), ..self }
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The treatment of unsafe indices, if the server answers wrongly with them.
    pub(super) async fn policy(&self, connection: &mut CacheConnection) -> Result<Option<UnsafeIndexPolicy>> {
        match &self.safety {
            Some(safety) => safety.policy(connection).await,
            None => Ok(None),
        }
    }

    /// As [`Self::policy`], as far as known without asking the server.
    pub(super) fn known_policy(&self) -> Option<UnsafeIndexPolicy> {
        self.safety.as_ref().and_then(UnsafeIndexCheck::known_policy)
    }

    pub(super) fn wanted(&self, policy: Option<UnsafeIndexPolicy>) -> Wanted<'_> {
        Wanted { own: &self.profile.indexes, mirrored: &self.mirrored, profile: &self.profile, policy }
    }

    /// Wants these indices of the source from now on, and returns whether this is a change.
    pub(super) fn mirror(&mut self, indexes: &[IndexDefinition]) -> bool {
        let changes = self.mirrored != indexes;
        if changes {
            self.mirrored = indexes.to_vec();
        }
        changes
    }

    /// Stops trying an index of the source that FalkorDB refuses.
    pub(super) fn give_up(&mut self, refused: &[String]) {
        self.mirrored.retain(|definition| !refused.contains(&statement(definition)));
    }

    /// Makes the next pass check the indices of a group's graph again, whichever sink it uses.
    pub(super) fn note_disturbed(&self, graph: GraphName) {
        if let Some(safety) = &self.safety {
            safety.note_disturbed(graph);
        }
    }

    /// The graphs to check again.
    pub(super) fn take_disturbed(&self) -> BTreeSet<GraphName> {
        self.safety.as_ref().map(UnsafeIndexCheck::take_disturbed).unwrap_or_default()
    }
}
