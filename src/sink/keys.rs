//! The Redis keys of a graph and of what the service keeps beside it.
//!
//! Running installations find their state by the text of these keys, so it must not change. All keys of one name share a hash
//! tag, `{name}`, so that Redis Cluster keeps them in one slot and one transaction can move them together.

use crate::model::graph_name::GraphName;

/// The version of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphRole {
    /// The graph that clients read.
    Live,
    /// The graph that a full sync fills before it replaces the live one.
    Stage,
    /// The graph that the last full sync replaced, kept for a rollback.
    Previous,
    /// The name of the live graph during the moment in which it is exchanged with the previous one.
    Exchange,
}

impl GraphRole {
    /// The word between the hash tag and the name of the content in this role's keys.
    const fn word(self) -> Option<&'static str> {
        match self {
            GraphRole::Live => None,
            GraphRole::Stage => Some("stage"),
            GraphRole::Previous => Some("previous"),
            GraphRole::Exchange => Some("exchange"),
        }
    }
}

/// The keys of a graph, or of a pipeline that keeps a graph for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphKeys(GraphName);

impl GraphKeys {
    /// The keys of this name.
    pub fn of(name: &GraphName) -> Self {
        Self(name.clone())
    }

    /// The graph itself. The live one has the plain name.
    pub fn graph(&self, role: GraphRole) -> String {
        role.word().map_or_else(|| self.0.to_string(), |word| self.key(word))
    }

    /// The checkpoint, from which a new start resumes.
    pub fn checkpoint(&self, role: GraphRole) -> String {
        self.beside(role, "checkpoint")
    }

    /// The elements that could not be stored, each with its reason.
    pub fn quarantine(&self, role: GraphRole) -> String {
        self.beside(role, "quarantine")
    }

    /// The names of the graphs that a pipeline has made for its groups.
    pub(super) fn groups(&self, role: GraphRole) -> String {
        self.beside(role, "graphs")
    }

    /// The lease of the one process that may write the graph.
    pub fn owner(&self) -> String {
        self.key("owner")
    }

    /// The name of the process that took the lease last. Every write watches this key, and renewals of the lease do not change
    /// it.
    pub fn fence(&self) -> String {
        self.key("fence")
    }

    /// The instances of the service that lead the pipeline or could lead it.
    pub(super) fn instances(&self) -> String {
        self.key("instances")
    }

    /// The name of the pipeline that fills the graph.
    pub(super) fn marker(&self) -> String {
        self.key("pipeline")
    }

    /// Set while an operator has paused the pipeline.
    pub fn pause(&self) -> String {
        self.key("pause")
    }

    /// A new key that nobody uses, for trying commands.
    pub(super) fn trial(&self) -> String {
        self.key(&format!("trial:{:032x}", rand::random::<u128>()))
    }

    fn beside(&self, role: GraphRole, what: &str) -> String {
        role.word().map_or_else(|| self.key(what), |word| self.key(&format!("{word}:{what}")))
    }

    fn key(&self, suffix: &str) -> String {
        format!("{{{}}}:{suffix}", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stored_state_is_found_again_under_these_keys() {
        let keys = GraphKeys::of(&GraphName::new("graphiti_cache").unwrap());
        let of_role = |role| [keys.graph(role), keys.checkpoint(role), keys.quarantine(role), keys.groups(role)];
        let live = ["graphiti_cache", "{graphiti_cache}:checkpoint", "{graphiti_cache}:quarantine", "{graphiti_cache}:graphs"];
        assert_eq!(of_role(GraphRole::Live), live);
        for (role, word) in [(GraphRole::Stage, "stage"), (GraphRole::Previous, "previous"), (GraphRole::Exchange, "exchange")] {
            let beside = ["", ":checkpoint", ":quarantine", ":graphs"];
            assert_eq!(of_role(role), beside.map(|what| format!("{{graphiti_cache}}:{word}{what}")));
        }
        assert_eq!(keys.owner(), "{graphiti_cache}:owner");
        assert_eq!(keys.fence(), "{graphiti_cache}:fence");
        assert_eq!(keys.instances(), "{graphiti_cache}:instances");
        assert_eq!(keys.marker(), "{graphiti_cache}:pipeline");
        assert_eq!(keys.pause(), "{graphiti_cache}:pause");
        assert!(keys.trial().starts_with("{graphiti_cache}:trial:"));
        assert_ne!(keys.trial(), keys.trial());
    }
}
