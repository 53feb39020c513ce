//! The indices that every graph of a pipeline is to have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::connection::CacheConnection;
use super::index_inventory::Wanted;
use super::index_statement::statement;
use super::safety::{self, Safety};
use crate::error::Result;
use crate::model::graph_name::GraphName;
use crate::model::index::{IndexDefinition, IndexTarget, UnsafeIndexes};
use crate::model::profile::Profile;

/// What the profile and the source ask for, and what is done about unsafe indices.
#[derive(Debug)]
pub(super) struct IndexPlan {
    profile: Arc<Profile>,
    /// Indices of the source that the graphs have as well.
    mirrored: Vec<IndexDefinition>,
    /// All indices are made where it is absent.
    safety: Option<Safety>,
}

impl IndexPlan {
    pub(super) fn new(profile: Arc<Profile>, safety: Option<Safety>) -> Self {
        Self { profile, mirrored: Vec::new(), safety }
    }

    pub(super) fn guarded(self, safety: Safety) -> Self {
        Self { safety: Some(safety), ..self }
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What is done about unsafe indices, where the server answers wrongly by them.
    pub(super) async fn policy(&self, connection: &mut CacheConnection) -> Result<Option<UnsafeIndexes>> {
        match &self.safety {
            Some(safety) => safety.policy(connection).await,
            None => Ok(None),
        }
    }

    /// The same as far as it is known without asking the server.
    pub(super) fn known_policy(&self) -> Option<UnsafeIndexes> {
        self.safety.as_ref().and_then(Safety::known_policy)
    }

    pub(super) fn wanted(&self, policy: Option<UnsafeIndexes>) -> Wanted<'_> {
        Wanted { own: &self.profile.indexes, mirrored: &self.mirrored, profile: &self.profile, policy }
    }

    /// The statements for the profile's indices on some labels and types.
    pub(super) fn statements(&self, on: &[IndexTarget], policy: Option<UnsafeIndexes>) -> Vec<String> {
        let on: BTreeSet<&IndexTarget> = on.iter().collect();
        let wanted = self.profile.indexes.iter().filter(|definition| on.contains(&definition.on));
        wanted.filter_map(|definition| safety::made_of(&self.profile, definition, policy)).map(|made| statement(&made)).collect()
    }

    /// From here on these indices of the source are wanted; says whether others were before.
    pub(super) fn mirror(&mut self, indexes: &[IndexDefinition]) -> bool {
        let changes = self.mirrored != indexes;
        if changes {
            self.mirrored = indexes.to_vec();
        }
        changes
    }

    /// An index of the source that FalkorDB refuses is not tried again with every pass.
    pub(super) fn give_up(&mut self, refused: &[String]) {
        self.mirrored.retain(|definition| !refused.contains(&statement(definition)));
    }

    /// Has the next pass look at the indices of a group's graph again, whichever sink it goes through.
    pub(super) fn note_disturbed(&self, graph: GraphName) {
        if let Some(safety) = &self.safety {
            safety.note_disturbed(graph);
        }
    }

    /// The graphs that are to be looked at again.
    pub(super) fn take_disturbed(&self) -> BTreeSet<GraphName> {
        self.safety.as_ref().map(Safety::take_disturbed).unwrap_or_default()
    }
}
